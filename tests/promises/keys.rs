//! The keys in the manuals' tables are those that the readers know, in both directions. A reader has its keys in a constant list of texts.

use std::collections::BTreeSet;

use super::read;

/// Lists of keys in a source, and where the manual explains them.
struct Reader {
    /// The sources, each with the name of a list.
    lists: &'static [(&'static str, &'static str)],
    manual: &'static str,
    /// The section, from the line that begins so to the next heading of the same or a higher level.
    heading: &'static str,
    /// Keys in a table of the section that another reader has: the CNI library's, or the runtime's.
    of_others: &'static [&'static str],
    /// Keys that the section does not have to name, because they need no explanation there.
    elsewhere: &'static [&'static str],
}

const ATTACH: (&str, &str) = ("netlink/attach/src/conf.rs", "KEYS");

const READERS: &[Reader] = &[
    Reader {
        lists: &[("macvlan/src/conf.rs", "KEYS"), ATTACH],
        manual: "docs/macvlan.md",
        heading: "## Keys",
        of_others: &["ipam", "dns"],
        elsewhere: &[],
    },
    Reader {
        lists: &[("ipvlan/src/conf.rs", "KEYS"), ATTACH],
        manual: "docs/ipvlan.md",
        heading: "# ipvlan",
        of_others: &["ipam", "dns"],
        elsewhere: &[],
    },
    Reader {
        lists: &[("whereabouts/src/conf/raw.rs", "KEYS")],
        manual: "docs/whereabouts.md",
        heading: "## Keys of `ipam`",
        of_others: &["kubernetes.kubeconfig"],
        // `type` chooses the plugin, and the lease's keys are named together.
        elsewhere: &[
            "type",
            "kubernetes",
            "leader_lease_duration",
            "leader_renew_deadline",
            "leader_retry_period",
        ],
    },
    Reader {
        lists: &[("multus/src/conf.rs", "KNOWN"), ("multus/src/conf/log.rs", "KEYS")],
        manual: "docs/multus.md",
        heading: "## Configuration",
        of_others: &["cniVersion", "name", "runtimeConfig", "capabilities"],
        elsewhere: &[],
    },
    Reader {
        lists: &[("multus/src/request/selection/json_form.rs", "KNOWN")],
        manual: "docs/multus.md",
        heading: "## Annotations of a pod",
        of_others: &[
            "k8s.v1.cni.cncf.io/networks",
            "v1.multus-cni.io/default-network",
            "k8s.v1.cni.cncf.io/network-status",
        ],
        elsewhere: &[],
    },
    Reader {
        lists: &[
            ("multus/daemon/src/config.rs", "DAEMON_KEYS"),
            ("multus/daemon/src/config.rs", "INSTALL_KEYS"),
            ("multus/daemon/src/config.rs", "CONF_KEYS"),
        ],
        manual: "docs/multus.md",
        heading: "### Configuration of the daemon",
        of_others: &[],
        // Explained under "Configuration": they are keys of the plugin's own file.
        elsewhere: &["delegates", "logOptions"],
    },
];

/// The texts of a constant list.
fn known(source: &str, name: &str) -> BTreeSet<String> {
    let text = read(source);
    let begin = format!("const {name}: &[&str] = &[");
    let (_, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{source} has no list {name}"));
    let list = rest.split("];").next().unwrap();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A section of a manual: from its heading to the next one that is not below it.
fn section<'a>(manual: &'a str, heading: &str) -> Vec<&'a str> {
    let level = heading.split(' ').next().unwrap().len();
    let is_end = |line: &&str| {
        let hashes = line.len() - line.trim_start_matches('#').len();
        (1..=level).contains(&hashes) && line.chars().nth(hashes) == Some(' ')
    };
    let mut lines = manual.lines().skip_while(|line| *line != heading);
    assert!(lines.next().is_some(), "no heading {heading}");
    lines.take_while(|line| !is_end(line)).collect()
}

/// Everything in backticks.
fn code(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The keys in the first column of the tables, metrics left out.
fn keys_of_tables(section: &[&str]) -> BTreeSet<String> {
    let cells = section.iter().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let keys = cells.flat_map(|cell| code(&format!("`{cell}")));
    keys.filter(|key| !key.starts_with("multus_") && !key.starts_with("whereabouts_")).collect()
}

#[test]
fn the_manuals_explain_every_key_that_a_reader_knows_and_no_other() {
    let mut wrong = Vec::new();
    for reader in READERS {
        let Reader { manual, heading, .. } = reader;
        let text = read(manual);
        let section = section(&text, heading);
        let known: BTreeSet<String> =
            reader.lists.iter().flat_map(|(source, name)| known(source, name)).collect();
        assert!(known.len() > 5, "{manual}: {known:?}");
        let named = code(&section.join("\n"));
        let is_named = |key: &str| {
            named.iter().any(|text| {
                text == key || text.contains(&format!("\"{key}\"")) || text.starts_with(&format!("{key}:"))
            })
        };
        for key in known.iter().filter(|key| !reader.elsewhere.contains(&key.as_str())) {
            if !is_named(key) {
                wrong.push(format!("{manual}, {heading}: does not explain {key}"));
            }
        }
        for key in keys_of_tables(&section) {
            if !known.contains(&key) && !reader.of_others.contains(&key.as_str()) {
                wrong.push(format!("{manual}, {heading}: explains {key}, which no reader knows"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_section_ends_at_the_next_heading_that_is_not_below_it() {
    let manual = "# A\n## B\n| `k`, `l` | x |\n### C\n| `m` | y `z` |\n## D\n| `n` | x |\n";
    assert_eq!(keys_of_tables(&section(manual, "## B")), ["k", "l", "m"].map(str::to_owned).into());
    assert_eq!(keys_of_tables(&section(manual, "### C")), ["m".to_owned()].into());
}
