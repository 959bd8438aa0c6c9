//! What is there, what would change and what blocks, as text and for programs.

use std::collections::BTreeMap;

use multus::explain::Page;
use serde::Serialize;
use whereabouts::conf::OverlappingRanges;

use super::accounts::Account;
use super::addresses::{Addresses, by_namespace};
use super::blocks::{Block, Code};
use super::facts::{CustomResource, Facts, LeaseFacts};
use super::image::version;
use super::plan::{Await, Direction, ImageStep, Plan, Step};
use super::workload::{Pods, Workload};
use crate::definition::Definition;
use crate::finding::Severity;

/// A report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The workloads of Multus and Whereabouts.
    pub workloads: Vec<Row>,
    /// The custom resources.
    pub resources: Vec<CustomResource>,
    /// The networks.
    pub networks: Networks,
    /// Pools, entries and reservations by namespace.
    pub addresses: BTreeMap<String, Addresses>,
    /// The NodeSlicePools.
    pub slices: Vec<String>,
    /// The leases.
    pub leases: Vec<LeaseFacts>,
    /// The accounts.
    pub accounts: Vec<Account>,
    /// What blocks, and what should be known.
    pub blocks: Vec<Block>,
    /// What would change, or what is left to change.
    pub plan: Plan,
    /// What `--back` would change.
    pub back: Plan,
    /// What was done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<String>,
    /// Why it stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// One workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// `<namespace>/<kind>/<name>`.
    pub workload: String,
    /// What it runs.
    pub program: &'static str,
    /// The version, by the tag of its image.
    pub version: String,
    /// Its image.
    pub image: String,
    /// Its pods.
    pub pods: Pods,
    /// The images before the change over, by container.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub previous: BTreeMap<String, String>,
}

/// The networks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Networks {
    /// All definitions.
    pub definitions: usize,
    /// Those with whereabouts.
    pub whereabouts: usize,
    /// Those with `enable_overlapping_ranges: false`.
    pub separate: Vec<String>,
    /// Those with `node_slice_size`.
    pub sliced: Vec<String>,
}

impl Report {
    /// The report on these facts.
    pub fn of(facts: &Facts, plan: Plan, back: Plan, blocks: Vec<Block>) -> Self {
        Report {
            workloads: facts.workloads.iter().map(row).collect(),
            resources: facts.resources.clone(),
            networks: networks(&facts.definitions),
            addresses: by_namespace(&facts.pools, &facts.claims),
            slices: facts.slices.clone(),
            leases: facts.leases.clone(),
            accounts: facts.accounts(),
            blocks,
            plan,
            back,
            done: Vec::new(),
            fault: None,
        }
    }

    /// What blocks and is not accepted.
    pub fn blocking(&self, accepted: &[Code]) -> Vec<&Block> {
        let blocks = self.blocks.iter().filter(|block| block.severity == Severity::Error);
        blocks.filter(|block| !accepted.contains(&block.code)).collect()
    }
}

fn row(workload: &Workload) -> Row {
    let previous = workload.previous.as_ref().and_then(|previous| previous.as_ref().ok());
    Row {
        workload: workload.shown(),
        program: workload.program.shown(),
        version: version(workload.image()),
        image: workload.image().to_owned(),
        pods: workload.pods,
        previous: previous.cloned().unwrap_or_default(),
    }
}

fn networks(definitions: &[Definition]) -> Networks {
    let with = |is_meant: fn(&crate::definition::DefinedPool) -> bool| -> Vec<String> {
        let meant = definitions.iter().filter(|definition| definition.pools.iter().any(is_meant));
        meant.map(|definition| definition.name.clone()).collect()
    };
    Networks {
        definitions: definitions.len(),
        whereabouts: with(|_| true).len(),
        separate: with(|pool| pool.overlapping == OverlappingRanges::Separate),
        sliced: with(|pool| pool.slice_size.is_some()),
    }
}

/// The text for a person.
pub fn render(report: &Report) -> String {
    let mut page = Page::default();
    found(&mut page, report);
    for block in &report.blocks {
        page.space();
        let (severity, code) = match block.severity {
            Severity::Error => ("blocks", format!(" [{}]", block.code)),
            Severity::Warning => ("warning", String::new()),
            Severity::Note => ("note", String::new()),
        };
        let about = if block.about.is_empty() { String::new() } else { format!(": {}", block.about) };
        page.line(&format!("{severity}{code}{about}"));
        page.paragraph("    ", &block.message);
        if !block.remedy.is_empty() {
            page.paragraph("    to do: ", &block.remedy);
        }
    }
    page.space();
    match (report.plan.direction, report.done.is_empty(), &report.fault) {
        (_, _, Some(fault)) => stopped(&mut page, report, fault),
        (direction, false, None) => {
            page.line(match direction {
                Direction::Apply => "done: all workloads run our image",
                Direction::Back => "done: all workloads run their earlier images",
            });
        }
        (_, true, None) => planned(&mut page, report),
    }
    page.into_text()
}

fn found(page: &mut Page, report: &Report) {
    if report.workloads.is_empty() {
        page.line("neither Multus nor Whereabouts was found in this cluster");
        return;
    }
    let rows: Vec<[String; 5]> = report
        .workloads
        .iter()
        .map(|row| {
            let pods = format!("{} of {} ready", row.pods.ready, row.pods.wanted);
            let pods = if row.pods == Pods::default() { String::new() } else { pods };
            [row.workload.clone(), row.program.to_owned(), row.version.clone(), pods, row.image.clone()]
        })
        .collect();
    page.table(["WORKLOAD", "PROGRAM", "VERSION", "PODS", "IMAGE"], &rows);
    page.space();
    let networks = &report.networks;
    page.paragraph(
        "networks: ",
        &format!("definitions {}, with whereabouts {}", networks.definitions, networks.whereabouts),
    );
    for (what, names) in [
        ("enable_overlapping_ranges is false: ", &networks.separate),
        ("node slices: ", &networks.sliced),
        ("node slice pools: ", &report.slices),
    ] {
        if !names.is_empty() {
            page.paragraph(what, &names.join(", "));
        }
    }
    for (namespace, Addresses { pools, entries, reservations }) in &report.addresses {
        page.paragraph(
            "addresses: ",
            &format!("{namespace}: IPPools {pools}, entries {entries}, reservations {reservations}"),
        );
    }
    for resource in &report.resources {
        page.paragraph("custom resource: ", &format!("{} {}", resource.name, resource.versions.join(", ")));
    }
    for lease in report.leases.iter().filter(|lease| !lease.holder.is_empty()) {
        page.paragraph("lease: ", &format!("{} held by {}", lease.lease, lease.holder));
    }
    for account in &report.accounts {
        page.paragraph("account: ", &format!("{}: {}", account.account, account.roles.join(", ")));
    }
}

fn planned(page: &mut Page, report: &Report) {
    if report.plan.steps.is_empty() {
        page.line(match report.plan.direction {
            Direction::Apply => "nothing to change",
            Direction::Back => {
                "nothing to go back to: no workload has the annotation multus-rs/previous-image"
            }
        });
    } else {
        let (what, flag) = match report.plan.direction {
            Direction::Apply => ("what would change", "--apply"),
            Direction::Back => ("the way back", "--back"),
        };
        page.line(&format!("{what} (kubectl multus migrate {flag} does it):"));
        steps(page, &report.plan);
        let blocking = report.blocking(&[]).len();
        if blocking > 0 {
            page.space();
            page.line(&format!("{blocking} of the above block it"));
        }
    }
    if report.plan.direction == Direction::Apply && !report.back.steps.is_empty() {
        page.space();
        page.line("the way back (kubectl multus migrate --back does it):");
        steps(page, &report.back);
    }
}

fn steps(page: &mut Page, plan: &Plan) {
    for (at, step) in plan.steps.iter().enumerate() {
        page.line(&format!("{}. {}", at + 1, step.shown()));
        if let Step::Images(step) = step {
            step.commands().iter().for_each(|command| page.line(&format!("     {command}")));
        }
    }
}

fn stopped(page: &mut Page, report: &Report, fault: &str) {
    page.paragraph("stopped: ", fault);
    let (on, other, back) = match report.plan.direction {
        Direction::Apply => ("--apply", "to go back:                 ", "--back"),
        Direction::Back => ("--back", "to our image again:         ", "--apply"),
    };
    page.line(&format!("to go on, when it is mended: kubectl multus migrate {on}"));
    // Before the first change there is nothing to go back to.
    if !report.back.steps.is_empty() {
        page.line(&format!("{other} kubectl multus migrate {back}"));
    }
}

impl Step {
    /// What the step does, in a line.
    pub fn shown(&self) -> String {
        match self {
            Step::Images(step) => step.line(),
            Step::Await(Await::Claims) => "wait until every entry of an IPPool has its claim".to_owned(),
            Step::Await(Await::Entries) => "wait until every claim has its entry in an IPPool".to_owned(),
        }
    }
}

impl ImageStep {
    fn line(&self) -> String {
        let what = match (self.changes.len(), self.changes.first()) {
            (_, Some(first)) => format!("{} to {}", version_or_image(&first.from), first.to),
            (_, None) => "wait for its pods".to_owned(),
        };
        format!("{} ({}): {what}", self.shown(), self.program.shown())
    }
}

fn version_or_image(image: &str) -> String {
    let version = version(image);
    if version.is_empty() { image.to_owned() } else { version }
}
