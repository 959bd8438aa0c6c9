//! Runs many seeds of the simulation. Each must end without a violation, a seed must repeat exactly, and every rule that is broken on
//! purpose must lead to a violation.
//!
//! | variable | effect |
//! |---|---|
//! | none | seeds from 0 on, for 40 s, and for 10 s of a scenario with Whereabouts |
//! | `MRS_SIM_SECONDS=n` | seeds for n seconds of each scenario |
//! | `MRS_SEEDS=n` | n seeds, however long they take |
//! | `MRS_FIRST=n` | seeds from n on |
//! | `MRS_SEED=n` | only seed n, and prints its whole history |
//! | `MRS_BROKEN=rule` | with `MRS_SEED`: breaks this rule |
//! | `MRS_SCENARIO=between` | with `MRS_SEED`: ours, then Whereabouts, then ours again |
//! | `MRS_SCENARIO=beside` | with `MRS_SEED`: nodes change from Whereabouts to ours one by one |
//!
//! For thousands of seeds, use the faster profile: `MRS_SEEDS=10000 cargo test -p tests --test simulation --profile simulation`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

use std::collections::BTreeMap;
use std::io::{BufWriter, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use tests::sim::broken_rule::{self, BrokenRule};
use tests::sim::checker::{Counts, Failure};
use tests::sim::history::Detail;
use tests::sim::world::scenario::Scenario;
use tests::sim::world::{self, Run};

/// The default time for seeds, in seconds.
const SECONDS: u64 = 40;

/// The same for each scenario with Whereabouts.
const SECONDS_WITH_WHEREABOUTS: u64 = 10;

/// The number of seeds that run even if the time is over.
const MIN_SEEDS: u64 = 24;

/// The number of seeds within which a broken rule must lead to a violation.
const DETECTED_WITHIN: u64 = 60;

/// The number of history entries that are shown of a failed seed.
const SHOWN_ENTRIES: usize = 40;

fn main() -> ExitCode {
    if let Some(seed) = number("MRS_SEED") {
        return replay(seed);
    }
    let mut trials = vec![
        Trial::test("seeds_end_without_a_violation", || seeds(Scenario::Ours, SECONDS)),
        Trial::test("whereabouts_on_some_nodes_does_no_harm", || {
            seeds(Scenario::WhereaboutsBeside, SECONDS_WITH_WHEREABOUTS)
        }),
        Trial::test("a_return_to_whereabouts_and_back_does_no_harm", || {
            seeds(Scenario::WhereaboutsBetween, SECONDS_WITH_WHEREABOUTS)
        }),
        Trial::test("a_seed_repeats_exactly", same_seed_twice),
    ];
    for rule in broken_rule::ALL {
        trials.push(Trial::test(format!("detects_{}", snake_case(*rule)), || detects(*rule)));
    }
    // One trial at a time, because each uses all cores.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}")))
}

fn snake_case(rule: BrokenRule) -> String {
    let upper = |c: char| if c.is_uppercase() { format!("_{}", c.to_lowercase()) } else { c.to_string() };
    format!("{rule:?}").chars().map(upper).collect::<String>().trim_start_matches('_').to_owned()
}

/// The rule in `MRS_BROKEN`.
fn chosen_rule() -> BrokenRule {
    let Ok(name) = std::env::var("MRS_BROKEN") else { return BrokenRule::None };
    let chosen = broken_rule::ALL.iter().copied().find(|rule| snake_case(*rule) == name);
    chosen.unwrap_or_else(|| {
        let names: Vec<_> = broken_rule::ALL.iter().copied().map(snake_case).collect();
        panic!("MRS_BROKEN must be one of {}, not {name:?}", names.join(", "))
    })
}

/// The scenario in `MRS_SCENARIO`.
fn chosen_scenario() -> Scenario {
    match std::env::var("MRS_SCENARIO").as_deref() {
        Err(_) | Ok("ours") => Scenario::Ours,
        Ok("between") => Scenario::WhereaboutsBetween,
        Ok("beside") => Scenario::WhereaboutsBeside,
        Ok(other) => panic!("MRS_SCENARIO must be ours, between or beside, not {other:?}"),
    }
}

/// How [`chosen_scenario`] is set, for a command line.
const fn setting(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::Ours => "",
        Scenario::WhereaboutsBetween => "MRS_SCENARIO=between ",
        Scenario::WhereaboutsBeside => "MRS_SCENARIO=beside ",
    }
}

/// Runs one seed and prints its history.
fn replay(seed: u64) -> ExitCode {
    let (rule, scenario) = (chosen_rule(), chosen_scenario());
    let run = world::run(seed, scenario, rule, Detail::Everything);
    let result = run.check();
    let shown = result.as_ref().map_or_else(|failure| failure.entries, |_| run.entries.len());
    let mut out = BufWriter::new(std::io::stderr().lock());
    for entry in &run.entries[..shown] {
        let _ = writeln!(out, "{entry}");
    }
    let _ = match &result {
        Ok(counts) => writeln!(out, "seed {seed}: no violation; {counts:?}; {:?}", run.traffic),
        Err(failure) => writeln!(out, "seed {seed}: {}", failure.violation),
    };
    ExitCode::from(u8::from(result.is_err()))
}

#[derive(Default)]
struct Totals {
    seeds: usize,
    counts: Counts,
    requests: usize,
    faults: BTreeMap<&'static str, usize>,
}

impl Totals {
    fn add(&mut self, counts: Counts, run: &Run) {
        self.seeds += 1;
        self.counts.add(counts);
        self.requests += run.traffic.requests;
        for (fault, count) in &run.traffic.faults {
            *self.faults.entry(fault).or_default() += count;
        }
    }
}

fn seeds(scenario: Scenario, seconds: u64) -> Result<(), Failed> {
    let first = number("MRS_FIRST").unwrap_or(0);
    let start = Instant::now();
    let limit = Duration::from_secs(number("MRS_SIM_SECONDS").unwrap_or(seconds));
    let exactly = number("MRS_SEEDS");
    let enough =
        |begun| exactly.map_or(begun >= MIN_SEEDS && start.elapsed() >= limit, |count| begun >= count);
    let totals = Mutex::new(Totals::default());
    let failed = search(first, enough, scenario, BrokenRule::None, |counts, run| {
        totals.lock().unwrap_or_else(PoisonError::into_inner).add(counts, run);
    });
    if let Some((seed, failure)) = failed {
        return Err(describe(seed, scenario, BrokenRule::None, &failure).into());
    }
    let Totals { seeds, counts, requests, faults } =
        totals.into_inner().unwrap_or_else(PoisonError::into_inner);
    let seconds = start.elapsed().as_secs_f64();
    eprintln!(
        "{seeds} seeds from {first} on ({scenario:?}): {} operations, {requests} requests, faults {faults:?}, {counts:?}, {:.1} seeds/s",
        counts.operations(),
        seeds as f64 / seconds
    );
    Ok(())
}

/// Runs seeds on all cores while `enough`, given the number of seeds begun, is false. Stops at the first violation, and returns the lowest
/// seed that failed until then. Calls `passed` for each seed that did not fail.
fn search(
    first: u64,
    enough: impl Fn(u64) -> bool + Sync,
    scenario: Scenario,
    rule: BrokenRule,
    passed: impl Fn(Counts, &Run) + Sync,
) -> Option<(u64, Failure)> {
    let begun = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let failed = Mutex::new(None::<(u64, Failure)>);
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            // Seeds are taken in order, so those below the first failure have all begun.
            let one_more = |begun| (!enough(begun)).then_some(begun + 1);
            let Ok(earlier) = begun.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) else {
                return;
            };
            let seed = first + earlier;
            let run = world::run(seed, scenario, rule, Detail::Events);
            match run.check() {
                Ok(counts) => passed(counts, &run),
                Err(failure) => {
                    stop.store(true, Ordering::Relaxed);
                    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    if failed.as_ref().is_none_or(|(other, _)| seed < *other) {
                        *failed = Some((seed, failure));
                    }
                }
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The violation, the last events before it, and the command that shows the whole history.
fn describe(seed: u64, scenario: Scenario, rule: BrokenRule, failure: &Failure) -> String {
    let run = world::run(seed, scenario, rule, Detail::Events);
    let last = &run.entries[failure.entries.saturating_sub(SHOWN_ENTRIES)..failure.entries];
    let last: Vec<String> = last.iter().map(ToString::to_string).collect();
    let broken =
        if rule == BrokenRule::None { String::new() } else { format!("MRS_BROKEN={} ", snake_case(rule)) };
    format!(
        "seed {seed}: {}\n{}\nto see the whole history: {broken}{}MRS_SEED={seed} cargo test -p tests --test simulation",
        failure.violation,
        last.join("\n"),
        setting(scenario)
    )
}

fn same_seed_twice() -> Result<(), Failed> {
    for seed in 0..2 {
        let [one, two] = [(); 2].map(|()| world::run(seed, Scenario::Ours, BrokenRule::None, Detail::Events));
        if one.traffic != two.traffic {
            return Err(format!("seed {seed}: {:?}, then {:?}", one.traffic, two.traffic).into());
        }
        let same = one.entries.iter().zip(&two.entries).take_while(|(one, two)| one == two).count();
        if same < one.entries.len().max(two.entries.len()) {
            let (one, two) = (one.entries.get(same), two.entries.get(same));
            return Err(format!("seed {seed}, entry {same}: {one:?}, then {two:?}").into());
        }
    }
    Ok(())
}

fn detects(rule: BrokenRule) -> Result<(), Failed> {
    match search(0, |begun| begun >= DETECTED_WITHIN, Scenario::Ours, rule, |_, _| ()) {
        Some((seed, failure)) => {
            eprintln!("{rule:?}: seed {seed}: {}", failure.violation);
            Ok(())
        }
        None => Err(format!("no violation in {DETECTED_WITHIN} seeds with the broken rule {rule:?}").into()),
    }
}
