//! The figures as a section of a page.

use std::fmt::Write as _;
use std::time::Duration;

use crate::Subject;
use crate::call::Cost;
use crate::cases::{Found, VERBS};
use crate::pod::Case;
use crate::usage::{milliseconds, quantile};

/// The section's first line.
pub const TITLE: &str = "## Pods";

/// Everything the section is made of.
pub struct Run<'a> {
    /// The date, from the command line.
    pub date: &'a str,
    /// The machine, from the command line.
    pub machine: &'a str,
    /// The number of calls of each kind.
    pub rounds: usize,
    /// What was measured.
    pub subjects: &'a [Subject],
    /// The figures.
    pub found: &'a Found,
}

/// A figure of a call.
type Figure = fn(&Cost) -> Duration;

const FIGURES: [(&str, Figure); 2] = [("wall", |cost| cost.wall), ("CPU", |cost| cost.cpu)];

/// The section.
pub fn markdown(run: &Run<'_>) -> String {
    let Run { date, machine, rounds, subjects, .. } = run;
    let mut page = format!(
        "{TITLE}\n\nWritten by `make bench` on {date}: {machine}. {rounds} calls of each kind in turn, medians in ms, with a real API server and\n\
         etcd with fsync; records on disk. The primary network is Debian's `bridge` with `host-local` in every column. Secondary networks are\n\
         `macvlan` with `whereabouts`, without a daemon of whereabouts. Wall: until the runtime has the answer. CPU: of all processes of the call,\n\
         also of those that outlive it.\n"
    );
    if subjects.iter().any(|subject| subject.title == "other") {
        page.push_str("`other`: the plugins of another folder. Ratio: ours / other's, both above the primary network's own time.\n");
    }
    table(&mut page, run);
    page.push_str("\nRequests of one call, without leases:\n\n");
    for ((case, at, verb), text) in &run.found.requests {
        let _ = writeln!(page, "- {}, {verb}, {}: {text}", case.title(), subjects[*at].title);
    }
    page
}

fn table(page: &mut String, run: &Run<'_>) {
    let other = run.subjects.iter().position(|subject| subject.title == "other");
    let titles: Vec<&str> = run.subjects.iter().map(|subject| subject.title).collect();
    let ratio = if other.is_some() { " ratio |" } else { "" };
    let _ = writeln!(page, "\n| case | verb | | {} |{ratio}", titles.join(" | "));
    let _ = writeln!(page, "|---|---|---|{}", "---|".repeat(titles.len() + usize::from(other.is_some())));
    for case in Case::ALL {
        for verb in VERBS {
            for (name, figure) in FIGURES {
                let of = |case, at| {
                    let costs: Option<&Vec<Cost>> = run.found.costs.get(&(case, at, verb));
                    costs.map(|costs| {
                        let times: Vec<Duration> = costs.iter().map(figure).collect();
                        milliseconds(quantile(&times, 500))
                    })
                };
                let shown =
                    |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.1}"));
                let cells: Vec<String> = (0..titles.len()).map(|at| shown(of(case, at))).collect();
                let above = |at| Some(of(case, at)? - of(Case::Primary, 0)?);
                let ratio = other.and_then(|other| Some(above(0)? / above(other)?));
                let ratio = ratio.filter(|_| case != Case::Primary);
                let last =
                    other.map(|_| ratio.map_or_else(|| " |".to_owned(), |ratio| format!(" {ratio:.2} |")));
                let _ = writeln!(
                    page,
                    "| {} | {verb} | {name} | {} |{}",
                    case.title(),
                    cells.join(" | "),
                    last.unwrap_or_default()
                );
            }
        }
    }
}
