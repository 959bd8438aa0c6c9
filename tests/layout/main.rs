//! Which crate may use which (the arrows of ARCHITECTURE.md), and within a crate which folder may use which.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod graph;
mod modules;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use graph::{cycle, upward};
use modules::{file_uses, module_uses};

const ALLOWED: &[(&str, &[&str])] = &[
    ("files", &[]),
    ("cni", &["files"]),
    ("netlink", &[]),
    ("node", &["files"]),
    ("nad", &["node"]),
    ("netlink/attach", &["cni", "netlink"]),
    ("macvlan", &["cni", "netlink", "netlink/attach"]),
    ("ipvlan", &["cni", "netlink", "netlink/attach"]),
    ("whereabouts", &["cni", "nad", "node"]),
    ("multus", &["cni", "nad", "netlink", "node"]),
    ("multus/daemon", &["cni", "nad", "node"]),
    ("multus/kubectl", &["cni", "nad", "node", "macvlan", "ipvlan", "whereabouts", "multus"]),
    ("tests/fake-api", &[]),
    (
        "tests",
        &[
            "cni",
            "nad",
            "netlink",
            "node",
            "macvlan",
            "ipvlan",
            "whereabouts",
            "multus",
            "multus/daemon",
            "multus/kubectl",
            "tests/fake-api",
        ],
    ),
];

/// The modules at the top of a crate, from the lowest to the highest. Each may use those before it. A crate that is added here needs a
/// test `folders_of_<crate>_use_only_those_below`.
const FOLDERS: &[(&str, &[&str])] = &[
    (
        "multus",
        &[
            "network", "conf", "log", "request", "device", "plan", "record", "report", "explain", "kubelet",
            "source", "error", "run", "plugin", "hotplug",
        ],
    ),
    (
        "multus/daemon",
        &[
            "csr",
            "approver",
            "kubeconfig",
            "certificate",
            "primary",
            "install",
            "config",
            "options",
            "rights",
            "metrics",
            "cache",
            "changes",
            "removal",
            "events",
            "status",
            "serve",
            "run",
        ],
    ),
    (
        "whereabouts",
        &[
            "addr",
            "conf",
            "crd",
            "pool",
            "node_state",
            "claims",
            "rpc",
            "plugin",
            "metrics",
            "leader",
            "daemon",
        ],
    ),
    (
        "multus/kubectl",
        &[
            "options",
            "failure",
            "finding",
            "cluster",
            "definition",
            "overlap",
            "check",
            "age",
            "pools",
            "explain",
            "migrate",
            "write",
            "run",
        ],
    ),
];

/// The crates in which no modules use each other in a cycle.
const WITHOUT_CYCLES: &[&str] = &[
    "files",
    "cni",
    "netlink",
    "netlink/attach",
    "node",
    "nad",
    "macvlan",
    "ipvlan",
    "whereabouts",
    "multus",
    "multus/daemon",
    "multus/kubectl",
    "tests/fake-api",
];

/// The members of the workspace, by folder, and, for each, the members that its manifest names.
fn uses() -> BTreeMap<String, Vec<String>> {
    let manifest =
        |folder: &str| std::fs::read_to_string(tests::place::root().join(folder).join("Cargo.toml")).unwrap();
    let root = manifest("");
    let members =
        root.lines().find(|line| line.starts_with("members")).unwrap().split('"').skip(1).step_by(2);
    let members: Vec<String> = members.map(str::to_owned).collect();
    for member in &members {
        let name = format!("name = \"{}\"", package(member));
        assert!(manifest(member).contains(&name), "{member}/Cargo.toml should say {name}");
    }
    let is_use = |line: &str, member: &str| {
        let member = package(member);
        line.starts_with(&format!("{member}.workspace")) || line.starts_with(&format!("{member} = "))
    };
    let named =
        |text: &str| members.iter().filter(|m| text.lines().any(|line| is_use(line, m))).cloned().collect();
    members.iter().map(|m| (m.clone(), named(&without_dev(&manifest(m))))).collect()
}

/// A crate's package has the name of its folder.
fn package(member: &str) -> &str {
    member.rsplit('/').next().unwrap()
}

/// A crate's tests may use its own test support.
fn without_dev(manifest: &str) -> String {
    manifest.split("[dev-dependencies]").next().unwrap().to_owned()
}

#[test]
fn crates_use_only_what_the_architecture_allows() {
    let uses = uses();
    assert!(uses.len() >= 8, "the manifests were not understood: {uses:?}");
    for (member, used) in uses {
        let allowed = ALLOWED
            .iter()
            .find(|(name, _)| *name == member)
            .unwrap_or_else(|| panic!("{member} has no arrows yet"))
            .1;
        for name in used {
            assert!(allowed.contains(&name.as_str()), "{member} must not use {name}");
        }
    }
}

#[test]
fn only_netlink_has_unsafe_code() {
    for (member, _) in ALLOWED {
        let folder = tests::place::root().join(member).join("src");
        if *member != "netlink" && folder.exists() {
            for file in sources(&folder) {
                let text = std::fs::read_to_string(&file).unwrap();
                assert!(!text.contains("allow(unsafe_code)"), "{} allows unsafe code", file.display());
            }
        }
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

fn source_folder(member: &str) -> PathBuf {
    tests::place::root().join(member).join("src")
}

fn check_folders(member: &str) {
    let (_, order) = FOLDERS.iter().find(|(name, _)| *name == member).expect("it has an order in FOLDERS");
    let uses = module_uses(&source_folder(member));
    assert!(uses.len() > order.len(), "the modules of {member} were not found: {uses:?}");
    let wrong = upward(&uses, order);
    assert!(wrong.is_empty(), "{member}: {}", wrong.join("; "));
}

#[test]
fn folders_of_multus_use_only_those_below() {
    check_folders("multus");
}

#[test]
fn folders_of_multus_daemon_use_only_those_below() {
    check_folders("multus/daemon");
}

#[test]
fn folders_of_whereabouts_use_only_those_below() {
    check_folders("whereabouts");
}

#[test]
fn folders_of_kubectl_use_only_those_below() {
    check_folders("multus/kubectl");
}

#[test]
fn no_modules_use_each_other_in_a_cycle() {
    for member in WITHOUT_CYCLES {
        let uses = file_uses(&source_folder(member));
        assert!(uses.values().any(|used| !used.is_empty()), "the uses in {member} were not found");
        if let Some(cycle) = cycle(&uses) {
            panic!("{member}: {} use each other", cycle.join(", "));
        }
    }
}
