//! What stands in the way of a change over, or should be known before it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};
use whereabouts::crd::ip_pool::{entry_bytes, fit_into_object};

use super::addresses::{by_namespace, clashes};
use super::facts::Facts;
use super::image::is_ours;
use super::plan::{Direction, Plan, Step};
use super::program::{Program, Started};
use super::rollout::{Progress, progress};
use super::workload::{Replaces, Workload};
use crate::finding::Severity;

/// A reason. `--accept` takes its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// `kapp`, Helm and others would change the images back.
    Managed,
    /// A workload is not ready before the change.
    NotReady,
    /// A workload does not replace its pods by itself.
    ByHand,
    /// A container starts what its image starts by default.
    DefaultCommand,
    /// A setting of the daemon's configuration that ours refuses.
    DaemonConfig,
    /// An account lacks rights.
    Rights,
    /// There is Multus or Whereabouts twice.
    Twice,
    /// Addresses lie in another namespace than the one that is used.
    Namespace,
    /// Two pods have one address.
    Clash,
    /// Networks that ADD would refuse.
    Definitions,
    /// A pool that has no view.
    TooLarge,
    /// The annotation with the earlier images cannot be read.
    Annotation,
    /// What should be known.
    Note,
}

/// Each code with its text.
const CODES: [(Code, &str); 13] = [
    (Code::Managed, "managed"),
    (Code::NotReady, "not-ready"),
    (Code::ByHand, "by-hand"),
    (Code::DefaultCommand, "default-command"),
    (Code::DaemonConfig, "daemon-config"),
    (Code::Rights, "rights"),
    (Code::Twice, "twice"),
    (Code::Namespace, "namespace"),
    (Code::Clash, "clash"),
    (Code::Definitions, "definitions"),
    (Code::TooLarge, "too-large"),
    (Code::Annotation, "annotation"),
    (Code::Note, "note"),
];

impl Code {
    /// The code of a text.
    pub fn of(text: &str) -> Option<Self> {
        CODES.into_iter().find_map(|(code, shown)| (shown == text && code != Code::Note).then_some(code))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CODES.iter().find(|(code, _)| code == self).map_or("", |(_, text)| text))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Something that blocks ([`Severity::Error`]), or that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Block {
    /// How bad it is.
    pub severity: Severity,
    /// The reason.
    pub code: Code,
    /// The object.
    pub about: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

fn error(code: Code, about: impl Into<String>, message: impl Into<String>, remedy: &str) -> Block {
    Block {
        severity: Severity::Error,
        code,
        about: about.into(),
        message: message.into(),
        remedy: remedy.to_owned(),
    }
}

fn note(about: impl Into<String>, message: impl Into<String>, remedy: &str) -> Block {
    Block { severity: Severity::Note, ..error(Code::Note, about, message, remedy) }
}

/// What stands in the way of this plan, the worst first.
pub fn blocks(facts: &Facts, plan: &Plan, image: &str) -> Vec<Block> {
    let changed: Vec<&Workload> =
        facts.workloads.iter().filter(|workload| is_changed(workload, plan)).collect();
    let mut all: Vec<Block> =
        changed.iter().flat_map(|workload| about_workload(workload, plan.direction)).collect();
    all.extend(facts.workloads.iter().filter_map(unreadable_annotation));
    match plan.direction {
        Direction::Apply if !plan.steps.is_empty() => {
            all.extend(changed.iter().flat_map(|workload| about_programs(workload)));
            all.extend(daemon_config(facts));
            all.extend(rights(facts));
            all.extend(twice(facts, image));
            all.extend(namespace(facts));
            all.extend(clash(facts));
            all.extend(definitions(facts));
            all.extend(notes(facts, &changed));
        }
        Direction::Back if !plan.steps.is_empty() => all.extend(too_large(facts)),
        Direction::Apply | Direction::Back => {}
    }
    all.extend(facts.unread.iter().map(|what| note("", format!("not looked at: {what}"), "")));
    all.sort_by_key(|block| (block.severity, block.code));
    all
}

fn is_changed(workload: &Workload, plan: &Plan) -> bool {
    plan.steps.iter().any(|step| match step {
        Step::Images(step) => step.shown() == workload.shown() && !step.changes.is_empty(),
        Step::Await(_) => false,
    })
}

fn about_workload(workload: &Workload, direction: Direction) -> Vec<Block> {
    let mut all = Vec::new();
    if let Some(manager) = &workload.managed_by {
        all.push(error(
            Code::Managed,
            workload.shown(),
            format!("it is managed by {manager}, which would change the images back"),
            "change the image there, in its values or its package; or let it leave the object alone",
        ));
    }
    if let Replaces::OnlyByHand(why) = workload.replaces {
        let remedy = "let it replace its pods by itself (RollingUpdate, not paused), or change the image and delete its pods by hand";
        all.push(error(
            Code::ByHand,
            workload.shown(),
            format!("its pods are not replaced after a change ({why})"),
            remedy,
        ));
    }
    // On the way back, a change that failed is what is undone.
    if direction == Direction::Apply && workload.previous.is_none() && progress(workload) == Progress::Going {
        let pods = workload.pods;
        all.push(error(
            Code::NotReady,
            workload.shown(),
            format!(
                "{} of {} pods are ready, {} have the newest template",
                pods.ready, pods.wanted, pods.updated
            ),
            "mend it first: afterwards nobody could tell what the change over has broken",
        ));
    }
    all
}

fn about_programs(workload: &Workload) -> Vec<Block> {
    let mut all = Vec::new();
    for container in &workload.containers {
        match container.started {
            Started::ByDefault(Program::MultusThick | Program::MultusThin) => all.push(error(
                Code::DefaultCommand,
                workload.shown(),
                format!("container {} has no command, and our image starts another program than Multus' by default", container.name),
                "set its command: /usr/src/multus-cni/bin/multus-daemon for thick, /thin_entrypoint for thin",
            )),
            Started::Upstream(_) | Started::ByDefault(_) | Started::OwnManifest(_) => {}
        }
    }
    all
}

fn unreadable_annotation(workload: &Workload) -> Option<Block> {
    let Some(Err(why)) = &workload.previous else { return None };
    let message = format!("the annotation multus-rs/previous-image is no JSON object of images: {why}");
    Some(error(Code::Annotation, workload.shown(), message, "correct it: {\"<container>\": \"<image>\"}"))
}

fn daemon_config(facts: &Facts) -> Vec<Block> {
    let refused = |(namespace, text): (&String, &String)| {
        let config: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        let forced = config.get("forceCNIVersion") == Some(&true.into());
        let about = format!("{namespace}/configmap/multus-daemon-config");
        let of = |key: &str, why: &str| {
            let message = format!("daemon-config.json has {key}, which our daemon refuses: {why}");
            error(Code::DaemonConfig, about.clone(), message, "remove the key")
        };
        let forced = forced.then(|| of("forceCNIVersion", "it would change the primary network's own file"));
        forced.into_iter().collect::<Vec<_>>()
    };
    facts.daemon_configs.iter().flat_map(refused).collect()
}

fn rights(facts: &Facts) -> Vec<Block> {
    let lacking = facts.accounts().into_iter().filter(|account| !account.lacks.is_empty());
    let shown = |account: super::accounts::Account| {
        let message = format!("the account may not: {}", account.lacks.join(", "));
        error(
            Code::Rights,
            account.account,
            message,
            "grant these rights, as deploy/rbac and upstream's manifests do",
        )
    };
    lacking.map(shown).collect()
}

fn twice(facts: &Facts, image: &str) -> Vec<Block> {
    let sets = |is_kind: fn(Program) -> bool| -> Vec<&Workload> {
        facts.workloads.iter().filter(|workload| is_kind(workload.program)).collect()
    };
    let mut all = Vec::new();
    for (name, found) in [
        ("Multus", sets(|program| matches!(program, Program::MultusThin | Program::MultusThick))),
        ("Whereabouts", sets(|program| program == Program::Whereabouts)),
    ] {
        // Upstream has one DaemonSet for each architecture in old releases: all of one namespace.
        let namespaces: Vec<&str> = found.iter().map(|workload| workload.namespace.as_str()).collect();
        let mixed = found.iter().any(|workload| workload.is_own_manifest())
            && found.iter().any(|workload| !workload.is_own_manifest());
        let differs = namespaces.windows(2).any(|pair| pair.first() != pair.last());
        if found.len() > 1 && (mixed || differs) {
            let names: Vec<String> = found.iter().map(|workload| workload.shown()).collect();
            let ours = if found.iter().any(|workload| is_ours(workload.image(), image)) {
                ", one of them ours"
            } else {
                ""
            };
            all.push(error(
                Code::Twice,
                names.join(", "),
                format!(
                    "{name} is installed {} times{ours}: each would write the same files on the nodes",
                    found.len()
                ),
                "remove all but one",
            ));
        }
    }
    all
}

fn namespace(facts: &Facts) -> Vec<Block> {
    let nodes: Vec<&Workload> =
        facts.workloads.iter().filter(|workload| workload.program == Program::Whereabouts).collect();
    let used: Vec<&str> =
        nodes.iter().map(|set| set.address_namespace.as_deref().unwrap_or(set.namespace.as_str())).collect();
    if used.is_empty() {
        return Vec::new();
    }
    let elsewhere = by_namespace(&facts.pools, &facts.claims).into_iter().filter(|(namespace, addresses)| {
        !used.contains(&namespace.as_str()) && (addresses.entries > 0 || addresses.reservations > 0)
    });
    let shown = |(namespace, addresses): (String, super::addresses::Addresses)| {
        let message = format!(
            "{} entries of pools and {} reservations are in this namespace, but Whereabouts runs with {}: neither it nor ours sees them, and their addresses may be given again",
            addresses.entries,
            addresses.reservations,
            used.join(", ")
        );
        error(
            Code::Namespace,
            namespace,
            message,
            "delete them if their pods are gone; else make these pods again first",
        )
    };
    elsewhere.map(shown).collect()
}

fn clash(facts: &Facts) -> Vec<Block> {
    let shown = |clash: super::addresses::Clash| {
        let message = format!("two pods have this address: {}", clash.holders.join(", "));
        error(
            Code::Clash,
            clash.address.to_string(),
            message,
            "delete one of the pods: only one of them can get the claim",
        )
    };
    clashes(&facts.pools, &facts.claims, &facts.definitions).into_iter().map(shown).collect()
}

fn definitions(facts: &Facts) -> Vec<Block> {
    let wrong = facts.findings.iter().filter(|finding| finding.severity == Severity::Error);
    let shown = |finding: &crate::finding::Finding| {
        error(
            Code::Definitions,
            finding.definitions.join(", "),
            format!("an ADD would refuse it: {}", finding.message),
            "correct it, or see that no pod uses it; --accept definitions if the nodes' flat file completes it",
        )
    };
    wrong.map(shown).collect()
}

fn notes(facts: &Facts, changed: &[&Workload]) -> Vec<Block> {
    let mut all = Vec::new();
    for workload in changed {
        if workload.program == Program::MultusThick {
            all.push(note(
                workload.shown(),
                "Multus' daemon removes 00-multus.conf when it ends: a pod that starts on that node before the next daemon is there gets the primary network only",
                "make no pods meanwhile, or look at the list of pods without network-status afterwards",
            ));
        }
        if !workload.privileges.is_empty() {
            let message =
                format!("its pods keep {}, of which ours uses nothing", workload.privileges.join(" and "));
            all.push(note(workload.shown(), message, "to be rid of it, apply our own manifests afterwards"));
        }
    }
    for resource in facts.resources.iter().filter(|resource| !resource.without.is_empty()) {
        let message = format!("its schema is older than ours and has no {}", resource.without.join(", "));
        let remedy =
            "ours works without them, as upstream's programs do; kubectl apply -k deploy/crds adds them";
        all.push(note(resource.name.as_str(), message, remedy));
    }
    if !facts.without_status.is_empty() {
        let names: Vec<&str> = facts.without_status.iter().take(5).map(String::as_str).collect();
        let more = facts.without_status.len().saturating_sub(names.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let message = format!("request networks and have no network-status: {}{more}", names.join(", "));
        all.push(note("pods", message, "kubectl multus explain says why"));
    }
    all
}

fn too_large(facts: &Facts) -> Vec<Block> {
    let mut by_pool: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for claim in &facts.claims {
        if let Some(pool) = claim.pool() {
            let name = format!("{}/{pool}", claim.metadata.namespace.as_deref().unwrap_or_default());
            let size = entry_bytes(claim.container().len(), &claim.spec.podref);
            by_pool.entry(name).or_default().push(size);
        }
    }
    let large = by_pool.into_iter().filter(|(_, sizes)| !fit_into_object(sizes.iter().copied()));
    let shown = |(pool, sizes): (String, Vec<usize>)| {
        let claims = sizes.len();
        let message = format!(
            "it has {claims} claims, more than entries fit into one IPPool, so it has none to go back with"
        );
        error(Code::TooLarge, pool, message, "delete pods of this range first")
    };
    large.map(shown).collect()
}
