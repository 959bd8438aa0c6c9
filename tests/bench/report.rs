//! The figures as a page.

use std::fmt::Write;
use std::time::Duration;

use tests::driver::Subject;

use crate::measure::Cost;
use crate::usage::{self, milliseconds};
use crate::{Case, Costs, Memory};

/// The programs whose sizes the page lists; the last two have no Go plugin in Debian.
const BINARIES: &[&str] = &["macvlan", "ipvlan", "whereabouts", "multus"];

/// What a page is made of.
pub struct Run<'a> {
    /// The date, from the command line.
    pub date: &'a str,
    /// The machine, from the command line.
    pub machine: &'a str,
    /// The number of calls of each kind.
    pub rounds: usize,
    /// Their costs.
    pub costs: &'a Costs,
    /// Their peak memory.
    pub memory: &'a Memory,
}

/// The page.
pub fn markdown(run: &Run<'_>) -> String {
    let mut page = String::new();
    let Run { date, machine, rounds, .. } = run;
    let _ = write!(
        page,
        "# What one CNI call costs\n\n\
         Written by `make bench` on {date}: {machine}. {rounds} calls of each kind, ours and Debian's Go plugins in turn in one run, each ADD in a\n\
         new pod namespace. Absolute times depend on the machine and its load; compare the ratios.\n\n\
         Wall: from before the start of the process until its end. CPU: user and system time of the plugin and its IPAM plugin. `static` is Debian's\n\
         in both columns: this project has no such plugin. Ratio: ours / Go's.\n\n"
    );
    page.push_str("| case | verb | | ours, ms | Go, ms | ratio |\n|---|---|---|---|---|---|\n");
    for case in [Case::Start, Case::Layer2, Case::Static] {
        for verb in case.verbs() {
            let both = ["ours", "go"].map(|name| run.costs[&(case, *verb, name)].as_slice());
            for (figure, per_mille, of) in FIGURES {
                let [ours, go] = both.map(|costs| milliseconds(quantile(costs, *of, *per_mille)));
                let _ = writeln!(
                    page,
                    "| {} | {verb} | {figure} | {ours:.2} | {go:.2} | {:.2} |",
                    case.title(),
                    ours / go
                );
            }
        }
    }
    plugin_alone(&mut page, run);
    aims(&mut page, run);
    memory(&mut page, run);
    sizes(&mut page);
    page
}

/// A figure of a call.
type Figure = fn(&Cost) -> Duration;

const WALL: Figure = |cost| cost.wall;
const CPU: Figure = |cost| cost.cpu;

/// The figures of each verb: name, quantile in thousandths, measured time.
const FIGURES: &[(&str, usize, Figure)] = &[
    ("wall, median", 500, WALL),
    ("wall, p99", 990, WALL),
    ("CPU, median", 500, CPU),
    ("CPU, p99", 990, CPU),
];

fn quantile(costs: &[Cost], of: Figure, per_mille: usize) -> Duration {
    let times: Vec<Duration> = costs.iter().map(of).collect();
    usage::quantile(&times, per_mille)
}

/// `macvlan + static` less `static`.
fn plugin_alone(page: &mut String, run: &Run<'_>) {
    page.push_str(
        "\n`macvlan + static` less `static` called alone (medians): the plugin itself, including the start of its IPAM plugin.\n\n\
         | verb | | static alone, ms | ours, ms | Go, ms | ratio |\n|---|---|---|---|---|---|\n",
    );
    for verb in Case::Static.verbs() {
        for (figure, of) in [("wall", WALL), ("CPU", CPU)] {
            let median = |case, name| milliseconds(quantile(&run.costs[&(case, *verb, name)], of, 500));
            let ipam = median(Case::StaticAlone, "go");
            let [ours, go] = ["ours", "go"].map(|name| median(Case::Static, name) - ipam);
            let _ =
                writeln!(page, "| {verb} | {figure} | {ipam:.2} | {ours:.2} | {go:.2} | {:.2} |", ours / go);
        }
    }
}

/// The aims. The CPU time assumes a machine without other load.
fn aims(page: &mut String, run: &Run<'_>) {
    let median = |case, name, of| milliseconds(quantile(&run.costs[&(case, "ADD", name)], of, 500));
    let cpu = median(Case::Static, "ours", CPU) - median(Case::StaticAlone, "go", CPU);
    let wall = median(Case::Layer2, "ours", WALL) / median(Case::Layer2, "go", WALL);
    let met = |is_met| if is_met { "met" } else { "missed" };
    page.push_str("\n| aim | measured | |\n|---|---|---|\n");
    let _ = writeln!(
        page,
        "| ADD of the plugin itself, CPU: at most 1.2 ms | {cpu:.2} ms | {} |\n| ADD without IPAM, wall: at most 0.35 of Go's | {wall:.2} | {} |",
        met(cpu <= 1.2),
        met(wall <= 0.35)
    );
    for name in ["macvlan", "ipvlan"] {
        if let Some(size) = size(&Subject::ours(), name) {
            let _ = writeln!(page, "| file {name}: at most 2 MB | {size:.2} MB | {} |", met(size <= 2.0));
        }
    }
}

fn memory(page: &mut String, run: &Run<'_>) {
    page.push_str(
        "\nPeak memory of the plugin's own process during ADD (resident, including the pages of its file).\n\n",
    );
    page.push_str("| case | ours, MiB | Go, MiB | ratio |\n|---|---|---|---|\n");
    for case in [Case::Layer2, Case::Static] {
        let mebibytes =
            |name| f64::from(u32::try_from(run.memory[&(case, name)]).unwrap_or(u32::MAX)) / 1024.0;
        let (ours, go) = (mebibytes("ours"), mebibytes("go"));
        let _ = writeln!(page, "| {} | {ours:.1} | {go:.1} | {:.2} |", case.title(), ours / go);
    }
}

fn sizes(page: &mut String) {
    page.push_str("\nSize of the files. Ours are static; Debian's are linked to libc.\n\n");
    page.push_str("| file | ours, MB | Go, MB | ratio |\n|---|---|---|---|\n");
    let [ours, go] = Subject::all();
    for name in BINARIES {
        let shown = |size: Option<f64>| size.map_or_else(|| "-".to_owned(), |size| format!("{size:.2}"));
        let (ours, go) = (size(&ours, name), size(&go, name));
        let ratio = ours.zip(go).map(|(ours, go)| ours / go);
        let _ = writeln!(page, "| {name} | {} | {} | {} |", shown(ours), shown(go), shown(ratio));
    }
}

/// The size of a program in MB; none if there is no such file.
fn size(subject: &Subject, name: &str) -> Option<f64> {
    let bytes = std::fs::metadata(subject.folder.join(name)).ok()?.len();
    Some(f64::from(u32::try_from(bytes).ok()?) / 1e6)
}
