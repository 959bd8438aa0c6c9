//! The figures as a section of a page.

use std::fmt::Write as _;
use std::time::Duration;

use crate::Subject;
use crate::call::Cost;
use crate::cases::{Found, Kind, VERBS};
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
         etcd with fsync; records on disk. The plugin of the primary network is a script that does nothing. Secondary networks are `macvlan` with\n\
         `whereabouts`; each node has another pod in all of them. Wall: until the runtime has the answer. CPU: of all processes of the call, also of\n\
         those that outlive it, and of the daemons until 50 ms after the answer. `daemons`: with those of multus and whereabouts on the node.\n"
    );
    if subjects.iter().any(|subject| subject.title == "other") {
        page.push_str("`other`: the plugins of another folder. Ratios: ours / other's, without and with daemons, all above the\nprimary network's own time.\n");
    }
    table(&mut page, run);
    aims(&mut page, run);
    page.push_str("\nRequests of one call, without leases:\n\n");
    for ((case, at, verb), text) in &run.found.requests {
        let _ = writeln!(page, "- {}, {verb}, {}: {text}", case.title(), subjects[*at].title);
    }
    page
}

fn table(page: &mut String, run: &Run<'_>) {
    let other = run.subjects.iter().position(|subject| subject.title == "other");
    let titles: Vec<&str> = run.subjects.iter().map(|subject| subject.title).collect();
    let own: Vec<usize> = (0..titles.len()).filter(|at| Some(*at) != other).collect();
    let ratios = if other.is_some() { own.as_slice() } else { &[] };
    let heads: String = ratios.iter().map(|at| format!(" ratio, {} |", titles[*at])).collect();
    let _ = writeln!(page, "\n| case | verb | | {} |{heads}", titles.join(" | "));
    let _ = writeln!(page, "|---|---|---|{}", "---|".repeat(titles.len() + ratios.len()));
    for case in Case::ALL {
        for verb in VERBS {
            for (name, figure) in FIGURES {
                let of = |case, at| median(run, (case, at, verb), figure);
                let shown =
                    |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.1}"));
                let cells: Vec<String> = (0..titles.len()).map(|at| shown(of(case, at))).collect();
                let ratio = |at: usize| {
                    let ratio =
                        above(run, (case, at, verb), figure)? / above(run, (case, other?, verb), figure)?;
                    (case != Case::Primary).then(|| format!("{ratio:.2}"))
                };
                let last: String =
                    ratios.iter().map(|at| format!(" {} |", ratio(*at).unwrap_or_default())).collect();
                let _ =
                    writeln!(page, "| {} | {verb} | {name} | {} |{}", case.title(), cells.join(" | "), last);
            }
        }
    }
}

/// The median of a figure, in ms.
fn median(run: &Run<'_>, kind: Kind, figure: Figure) -> Option<f64> {
    let times: Vec<Duration> = run.found.costs.get(&kind)?.iter().map(figure).collect();
    Some(milliseconds(quantile(&times, 500)))
}

/// [`median`], less that of the primary network's plugins alone.
fn above(run: &Run<'_>, (case, at, verb): Kind, figure: Figure) -> Option<f64> {
    Some(median(run, (case, at, verb), figure)? - median(run, (Case::Primary, 0, verb), figure)?)
}

/// The aims are ratios to the other plugins, so that they hold on any machine.
fn aims(page: &mut String, run: &Run<'_>) {
    let Some(other) = run.subjects.iter().position(|subject| subject.title == "other") else { return };
    const LIMITS: [(Case, [f64; 2]); 2] = [(Case::Plain, [0.26, 0.08]), (Case::One, [0.25, 0.12])];
    page.push_str("\n| aim, of the other's time above the primary network's | measured | |\n|---|---|---|\n");
    for (case, limits) in LIMITS {
        for (at, wall) in limits.into_iter().enumerate() {
            for ((name, figure), limit) in FIGURES.into_iter().zip([wall, 0.125]) {
                let ratio = |at| above(run, (case, at, "ADD"), figure);
                let Some(measured) = ratio(at).zip(ratio(other)).map(|(own, other)| own / other) else {
                    continue;
                };
                let met = if measured <= limit { "met" } else { "missed" };
                let title = run.subjects[at].title;
                let _ = writeln!(
                    page,
                    "| {}, ADD, {title}, {name}: at most {limit} | {measured:.2} | {met} |",
                    case.title()
                );
            }
        }
    }
}
