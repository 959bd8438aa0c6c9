//! The figures as a section of a page.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use crate::cases::{Found, Level, Measured, Side, Way};
use crate::usage::{milliseconds, quantile};
use crate::{Programs, Scale, aims, plot};

/// The section's first line.
pub const TITLE: &str = "## Addresses";

/// Everything the section is made of.
pub struct Run<'a> {
    /// The date, from the command line.
    pub date: &'a str,
    /// The machine, from the command line.
    pub machine: &'a str,
    /// What was measured.
    pub programs: &'a Programs,
    /// The size of each case.
    pub scale: &'a Scale,
    /// The figures.
    pub found: &'a Found,
}

/// The section.
pub fn markdown(run: &Run<'_>) -> String {
    let mut page = String::new();
    introduction(&mut page, run);
    single(&mut page, run);
    at_once(&mut page, run);
    rate(&mut page, run);
    many(&mut page, run);
    growth(&mut page, run);
    sizes(&mut page, run);
    aims::table(&mut page, run);
    page
}

fn introduction(page: &mut String, run: &Run<'_>) {
    let Run { date, machine, .. } = run;
    let _ = write!(
        page,
        "{TITLE}\n\n\
         Written by `make bench` on {date}: {machine}. `whereabouts` and `whereabouts-daemon` as processes, with the rights of their service\n\
         account, with a real API server and etcd with fsync; everything runs on that machine. A node is a mount namespace with its own records (in\n\
         memory unless the row says otherwise), hints, socket and configuration. `direct`: no daemon on the node. `daemon`: a daemon on each node,\n\
         one of which leads. Requests: those for claims and pools that the API server counted for each ADD or DEL.\n"
    );
    if run.programs.against.is_some() {
        page.push_str("`other`: another plugin without a daemon, in the same run. Ratio: ours / other's.\n");
    }
    let _ = writeln!(page, "Claims left after all DELs: {}.\n", run.found.left);
}

/// A row of a case, if it was measured.
pub fn of(all: &[Measured], way: Way) -> Option<&Measured> {
    all.iter().find(|measured| measured.way == way)
}

/// The median time of a call, in milliseconds.
pub fn median(side: &Side) -> f64 {
    side.done.times.first().map_or(f64::NAN, |_| milliseconds(quantile(&side.done.times, 500)))
}

/// The 99th percentile, in milliseconds.
pub fn p99(side: &Side) -> f64 {
    side.done.times.first().map_or(f64::NAN, |_| milliseconds(quantile(&side.done.times, 990)))
}

/// A total divided by the successful calls, in milliseconds.
pub fn each(side: &Side, time: Duration) -> f64 {
    milliseconds(time) / side.done.times.len() as f64
}

fn requests(side: &Side) -> f64 {
    side.requests.total() as f64 / side.done.times.len() as f64
}

/// The last cell of a row, if another plugin is measured: ours / other's.
fn ratio(run: &Run<'_>, ours: f64, others: Option<f64>) -> String {
    match others {
        Some(others) => format!(" {:.3} |", ours / others),
        None if run.programs.against.is_some() => " |".to_owned(),
        None => String::new(),
    }
}

fn header(page: &mut String, run: &Run<'_>, columns: &[&str], ratio: &str) {
    let mut columns = columns.to_vec();
    if run.programs.against.is_some() {
        columns.push(ratio);
    }
    let _ = writeln!(page, "| {} |\n|{}", columns.join(" | "), "---|".repeat(columns.len()));
}

fn verbs(measured: &Measured) -> Vec<(&'static str, &Side)> {
    let add = if measured.way == Way::Process { "VERSION" } else { "ADD" };
    let del = measured.del.as_ref().map(|del| ("DEL", del));
    [Some((add, &measured.add)), del].into_iter().flatten().collect()
}

fn single(page: &mut String, run: &Run<'_>) {
    let _ = write!(page, "### One call\n\n{} of each, one after the other on one node.\n\n", run.scale.calls);
    let columns = [
        "",
        "verb",
        "wall p50, ms",
        "wall p99, ms",
        "CPU of the plugin, ms",
        "of the daemon, ms",
        "requests",
    ];
    header(page, run, &columns, "ratio of p50");
    let other = of(&run.found.single, Way::Against);
    for measured in &run.found.single {
        for (verb, side) in verbs(measured) {
            let theirs =
                other.and_then(|other| if verb == "DEL" { other.del.as_ref() } else { Some(&other.add) });
            let theirs = theirs.filter(|_| !matches!(measured.way, Way::Against | Way::Process)).map(median);
            let _ = writeln!(
                page,
                "| {} | {verb} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |{}",
                measured.way.title(),
                median(side),
                p99(side),
                each(side, side.done.cpu),
                each(side, side.daemons),
                requests(side),
                ratio(run, median(side), theirs)
            );
        }
    }
    page.push('\n');
}

/// Rows of a case in which many calls are made at the same time.
fn together(page: &mut String, run: &Run<'_>, all: &[Measured]) {
    let columns = [
        "",
        "verb",
        "calls",
        "failed",
        "total, s",
        "a second",
        "p50, ms",
        "p99, ms",
        "CPU of a plugin, ms",
        "of daemons, ms",
        "requests",
    ];
    header(page, run, &columns, "ratio of rate");
    for measured in all {
        for (verb, side) in verbs(measured) {
            let other =
                of(all, Way::Against).filter(|_| !matches!(measured.way, Way::Against | Way::Process));
            let theirs =
                other.and_then(|other| if verb == "DEL" { other.del.as_ref() } else { Some(&other.add) });
            let done = &side.done;
            let _ = writeln!(
                page,
                "| {} | {verb} | {} | {} | {:.2} | {:.0} | {:.1} | {:.1} | {:.2} | {:.2} | {:.2} |{}",
                measured.way.title(),
                done.times.len(),
                done.failures.len(),
                done.total.as_secs_f64(),
                done.rate(),
                median(side),
                p99(side),
                each(side, done.cpu),
                each(side, side.daemons),
                requests(side),
                ratio(run, done.rate(), theirs.map(|side| side.done.rate()))
            );
        }
    }
    page.push('\n');
    page.push_str("Requests to the API server for the ADDs:\n\n");
    for measured in all.iter().filter(|m| m.way != Way::Process) {
        let _ = writeln!(page, "- {}: {}", measured.way.title(), measured.add.requests.text());
    }
    page.push('\n');
}

fn at_once(page: &mut String, run: &Run<'_>) {
    let Scale { nodes, at_once, .. } = run.scale;
    let _ = write!(
        page,
        "### {} at once\n\n{at_once} ADDs on each of {nodes} nodes, started at the same moment, on one range; then their DELs in the same way. No address was\n\
         assigned twice. The row VERSION shows how long this machine takes to start as many processes; the rows without a process show the\n\
         allocation alone.\n\n![How many ADDs have ended]({})\n\n",
        nodes * at_once,
        plot::AT_ONCE
    );
    together(page, run, &run.found.at_once);
}

fn rate(page: &mut String, run: &Run<'_>) {
    let Scale { nodes, under_way, span, .. } = run.scale;
    let _ = write!(
        page,
        "### Rate\n\nAs many ADDs as possible for {} s on one range: {under_way} at a time on each of {nodes} nodes; then the DELs of all addresses. The limit\n\
         is the API server: on this machine it creates {:.0} claims a second when nothing else runs and no address has to be chosen.\n\n![Allocations a second]({})\n\n",
        span.as_secs(),
        run.found.bare_rate,
        plot::RATE
    );
    together(page, run, &run.found.rate);
}

fn many(page: &mut String, run: &Run<'_>) {
    let Scale { pods, networks, pods_at_once, .. } = run.scale;
    let _ = write!(
        page,
        "### {} addresses\n\n{pods} pods with {networks} networks each, on 2 nodes, at most {pods_at_once} pods at a time on each; a pod's networks one after the other.\n\n",
        pods * networks
    );
    together(page, run, &run.found.many);
}

fn growth(page: &mut String, run: &Run<'_>) {
    let _ = write!(
        page,
        "### With many allocated addresses\n\n{} ADDs one after the other on one node, while others hold that many addresses of the range. First: the first call on a node that\n\
         has never used the range; a daemon then begins to read its claims.\n\n![p50 of an ADD by allocated addresses]({})\n\n",
        run.scale.calls,
        plot::GROWTH
    );
    let columns = ["allocated", "", "first, ms", "p50, ms", "p99, ms"];
    header(page, run, &columns, "ratio of p50");
    for level in &run.found.growth {
        let p50 = |level: &Level| milliseconds(quantile(&level.times, 500));
        let is_other =
            |l: &&Level| l.way == Way::Against && l.held == level.held && level.way != Way::Against;
        let theirs = run.found.growth.iter().find(is_other).map(p50);
        let _ = writeln!(
            page,
            "| {} | {} | {:.1} | {:.2} | {:.2} |{}",
            level.held,
            level.way.title(),
            milliseconds(level.first),
            p50(level),
            milliseconds(quantile(&level.times, 990)),
            ratio(run, p50(level), theirs)
        );
    }
    page.push('\n');
}

/// KiB in MiB.
pub fn mebibytes(kibibytes: u64) -> f64 {
    kibibytes as f64 / 1024.0
}

fn sizes(page: &mut String, run: &Run<'_>) {
    page.push_str("### Memory and files\n\n| resident memory of a daemon | leader, MiB | another, MiB |\n|---|---|---|\n");
    let many = of(&run.found.many, Way::Daemon).map_or(&[][..], |measured| &measured.resident);
    let rows = [(run.scale.pods * run.scale.networks, many), (full(run), &run.found.resident_full)];
    for (held, resident) in rows {
        let cells: Vec<String> = resident.iter().map(|kib| format!("{:.1}", mebibytes(*kib))).collect();
        let _ = writeln!(page, "| {held} allocated | {} |", cells.join(" | "));
    }
    page.push_str("\n| file | MB |\n|---|---|\n");
    let files = [
        ("whereabouts", Some(&run.programs.plugin)),
        ("whereabouts-daemon", Some(&run.programs.daemon)),
        ("other", run.programs.against.as_ref()),
    ];
    for (name, path) in files {
        let Some(path) = path else { continue };
        let _ = writeln!(page, "| {name} | {:.2} |", size(path));
    }
    page.push('\n');
}

/// The highest number of allocated addresses.
pub fn full(run: &Run<'_>) -> usize {
    run.scale.levels.last().map_or(0, |held| *held as usize)
}

/// The size of a file in MB.
pub fn size(file: &Path) -> f64 {
    std::fs::metadata(file).expect("the program exists").len() as f64 / 1e6
}
