//! The aims, and whether the figures meet them.

use std::fmt::Write;
use std::time::Duration;

use crate::cases::{Found, Way};
use crate::report::{Run, each, full, mebibytes, median, of, p99, size};
use crate::usage::{milliseconds, quantile};

/// An aim and the figure that was measured.
struct Aim {
    text: String,
    limit: Limit,
    found: f64,
    unit: &'static str,
}

#[derive(Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

/// The table. The rates assume an API server that creates a thousand claims a second, so the table also has their share of this one's rate.
pub fn table(page: &mut String, run: &Run<'_>) {
    let many = run.scale.pods * run.scale.networks;
    let _ = write!(
        page,
        "### Aims\n\nThe rates and times assume an API server that creates 1,000 claims a second. This one created {:.0} a second, so {many} take\n\
         at least {:.1} s whoever requests them. A single one on an open connection took {:.1} ms (median of {}), which is part of every time\n\
         below.\n\n| aim | measured | |\n|---|---|---|\n",
        run.found.bare_rate,
        many as f64 / run.found.bare_rate,
        milliseconds(quantile(&run.found.bare_times, 500)),
        run.found.bare_times.len(),
    );
    for Aim { text, limit, found, unit } in aims(run) {
        let (words, limit, met) = match limit {
            Limit::AtMost(limit) => ("at most", limit, found <= limit),
            Limit::AtLeast(limit) => ("at least", limit, found >= limit),
        };
        let met = if met { "met" } else { "missed" };
        let digits = if found.abs() < 100.0 { 2 } else { 0 };
        let _ = writeln!(page, "| {text}: {words} {limit} {unit} | {found:.digits$} {unit} | {met} |");
    }
}

fn aims(run: &Run<'_>) -> Vec<Aim> {
    let found = run.found;
    let many = run.scale.pods * run.scale.networks;
    let mut aims = Vec::new();
    for (way, wall, cpu) in [(Way::Direct, 12.0, 4.0), (Way::Daemon, 5.0, 1.0)] {
        let text = way.title();
        if let Some(measured) = of(&found.single, way) {
            let one = &measured.add;
            aims.push(at_most(format!("ADD alone, {text}, wall"), wall, median(one), "ms"));
            aims.push(at_most(
                format!("ADD alone, {text}, CPU of the plugin"),
                cpu,
                each(one, one.done.cpu),
                "ms",
            ));
        }
    }
    for (way, least) in [(Way::Claims, 500.0), (Way::Socket, 800.0)] {
        if let Some(measured) = of(&found.rate, way) {
            let rate = measured.add.done.rate();
            let limit = Limit::AtLeast(least);
            aims.push(Aim { text: way.title().to_owned(), limit, found: rate, unit: "a second" });
            let share = 100.0 * rate / found.bare_rate;
            let limit = Limit::AtLeast(least / 10.0);
            let text = format!("{}, of the bare rate", way.title());
            aims.push(Aim { text, limit, found: share, unit: "%" });
        }
    }
    for way in [Way::Direct, Way::Daemon] {
        let text = way.title();
        if let Some(measured) = of(&found.at_once, way) {
            aims.push(at_most(
                format!("{} at once, {text}, p99", run.scale.nodes * run.scale.at_once),
                1_000.0,
                p99(&measured.add),
                "ms",
            ));
        }
        if let Some(measured) = of(&found.many, way) {
            let total = measured.add.done.total.as_secs_f64();
            aims.push(at_most(format!("{many} addresses, {text}"), 4.0, total, "s"));
        }
        aims.extend(growth(found, way));
    }
    for (held, resident) in
        [(many, of(&found.many, Way::Daemon).map(|m| &m.resident)), (full(run), Some(&found.resident_full))]
    {
        for (who, kibibytes) in ["leader", "another"].into_iter().zip(resident.into_iter().flatten()) {
            let text = format!("memory of a daemon, {who}, {held} addresses allocated");
            aims.push(at_most(text, 10.0, mebibytes(*kibibytes), "MiB"));
        }
    }
    aims.push(at_most("file whereabouts-daemon".to_owned(), 6.0, size(&run.programs.daemon), "MB"));
    aims
}

const fn at_most(text: String, limit: f64, found: f64, unit: &'static str) -> Aim {
    Aim { text, limit: Limit::AtMost(limit), found, unit }
}

/// How much longer an ADD takes at the highest number of allocated addresses than at none.
fn growth(found: &Found, way: Way) -> Option<Aim> {
    let p50 = |times: &[Duration]| milliseconds(quantile(times, 500));
    let mut levels = found.growth.iter().filter(|level| level.way == way);
    let (first, last) = (levels.next()?, levels.next_back()?);
    let text = format!("ADD with {} addresses allocated against none, {}", last.held, way.title());
    Some(at_most(text, 1.3, p50(&last.times) / p50(&first.times), "times"))
}
