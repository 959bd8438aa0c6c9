//! Many seeds of the simulation: each must end without a violation, the same seed must end the same way twice, and every rule that is broken
//! on purpose must be found out.
//!
//! Seeds are run from 0 upward for some time. `MRS_SIM_SECONDS=n` runs them for so long, `MRS_SEEDS=n` runs so many however long it takes,
//! `MRS_FIRST=n` begins with this one; `MRS_SEED=n` runs one and tells everything that happened. For thousands of seeds there is a profile
//! of its own: `MRS_SEEDS=10000 cargo test -p tests --test simulation --profile simulation`.
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
use tests::sim::history::{Counts, Detail, Verdict, judge};
use tests::sim::sabotage::{self, Sabotage};
use tests::sim::world::{self, Run};

/// So long seeds are run.
const SECONDS: u64 = 40;

/// So many are run however long it takes.
const LEAST: u64 = 24;

/// So many seeds may pass before a broken rule is found.
const FOUND_WITHIN: u64 = 60;

/// The first seed that is tried on a broken rule. Few seeds find out some of them: those before took most of the time.
const fn first_tried(rule: Sabotage) -> u64 {
    match rule {
        Sabotage::NoSettling => 21,
        Sabotage::UnadoptedPools => 27,
        _ => 0,
    }
}

/// So much of the history of a failing seed is shown.
const SHOWN: usize = 40;

fn main() -> ExitCode {
    if let Some(seed) = number("MRS_SEED") {
        return replay(seed);
    }
    let mut trials = vec![
        Trial::test("seeds_end_without_a_violation", seeds),
        Trial::test("a_seed_happens_the_same_way_twice", twice),
    ];
    for rule in sabotage::ALL {
        trials.push(Trial::test(format!("{}_is_found", snake(*rule)), || found(*rule)));
    }
    // One at a time: each uses all cores.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is to be a number, not {text:?}")))
}

fn snake(rule: Sabotage) -> String {
    let upper = |c: char| if c.is_uppercase() { format!("_{}", c.to_lowercase()) } else { c.to_string() };
    format!("{rule:?}").chars().map(upper).collect::<String>().trim_start_matches('_').to_owned()
}

/// Runs one seed and tells all.
fn replay(seed: u64) -> ExitCode {
    let rule = std::env::var("MRS_BROKEN").unwrap_or_default();
    let rule = sabotage::ALL.iter().copied().find(|known| snake(*known) == rule).unwrap_or_default();
    let run = world::run(seed, rule, Detail::Everything);
    let verdict = judge(&run.entries, run.size.least());
    let shown = verdict.as_ref().map_or_else(|verdict| verdict.entries, |_| run.entries.len());
    let mut out = BufWriter::new(std::io::stderr().lock());
    for entry in &run.entries[..shown] {
        let _ = writeln!(out, "{entry}");
    }
    let _ = match &verdict {
        Ok(counts) => writeln!(out, "seed {seed}: no violation; {counts:?}; {:?}", run.traffic),
        Err(verdict) => writeln!(out, "seed {seed}: {}", verdict.violation),
    };
    ExitCode::from(u8::from(verdict.is_err()))
}

#[derive(Default)]
struct Total {
    seeds: usize,
    counts: Counts,
    requests: usize,
    faults: BTreeMap<&'static str, usize>,
}

impl Total {
    fn add(&mut self, counts: Counts, run: &Run) {
        self.seeds += 1;
        self.counts.adds += counts.adds;
        self.counts.failed += counts.failed;
        self.counts.killed += counts.killed;
        self.counts.dels += counts.dels;
        self.counts.died += counts.died;
        self.counts.commits += counts.commits;
        self.counts.strays += counts.strays;
        self.requests += run.traffic.requests;
        for (fault, count) in &run.traffic.faults {
            *self.faults.entry(fault).or_default() += count;
        }
    }
}

fn seeds() -> Result<(), Failed> {
    let first = number("MRS_FIRST").unwrap_or(0);
    let start = Instant::now();
    let lasts = Duration::from_secs(number("MRS_SIM_SECONDS").unwrap_or(SECONDS));
    let exactly = number("MRS_SEEDS");
    let enough = |begun| exactly.map_or(begun >= LEAST && start.elapsed() >= lasts, |count| begun >= count);
    let total = Mutex::new(Total::default());
    let failed = search(first, enough, Sabotage::None, |counts, run| {
        total.lock().unwrap_or_else(PoisonError::into_inner).add(counts, run);
    });
    if let Some((seed, verdict)) = failed {
        return Err(describe(seed, Sabotage::None, &verdict).into());
    }
    let Total { seeds, counts, requests, faults } =
        total.into_inner().unwrap_or_else(PoisonError::into_inner);
    let seconds = start.elapsed().as_secs_f64();
    eprintln!(
        "{seeds} seeds from {first} on: {} operations, {requests} requests, faults {faults:?}, {counts:?}, {:.1} seeds/s",
        counts.operations(),
        seeds as f64 / seconds
    );
    Ok(())
}

/// Runs seeds on all cores, one after the other without a gap, until so many are begun that it is enough. The lowest that fails of those
/// that were run; the others are told.
fn search(
    first: u64,
    enough: impl Fn(u64) -> bool + Sync,
    rule: Sabotage,
    passed: impl Fn(Counts, &Run) + Sync,
) -> Option<(u64, Verdict)> {
    let begun = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let failed = Mutex::new(None::<(u64, Verdict)>);
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let one_more = |begun| (!enough(begun)).then_some(begun + 1);
            let Ok(earlier) = begun.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) else {
                return;
            };
            let seed = first + earlier;
            let run = world::run(seed, rule, Detail::Events);
            match judge(&run.entries, run.size.least()) {
                Ok(counts) => passed(counts, &run),
                Err(verdict) => {
                    stop.store(true, Ordering::Relaxed);
                    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    if failed.as_ref().is_none_or(|(other, _)| seed < *other) {
                        *failed = Some((seed, verdict));
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

/// What went wrong, what happened last, and how to see it all.
fn describe(seed: u64, rule: Sabotage, verdict: &Verdict) -> String {
    let run = world::run(seed, rule, Detail::Events);
    let last = &run.entries[verdict.entries.saturating_sub(SHOWN)..verdict.entries];
    let last: Vec<String> = last.iter().map(ToString::to_string).collect();
    let broken = if rule == Sabotage::None { String::new() } else { format!("MRS_BROKEN={} ", snake(rule)) };
    format!(
        "seed {seed}: {}\n{}\nto see all of it: {broken}MRS_SEED={seed} cargo test -p tests --test simulation",
        verdict.violation,
        last.join("\n")
    )
}

fn twice() -> Result<(), Failed> {
    for seed in 0..2 {
        let [one, two] = [(); 2].map(|()| world::run(seed, Sabotage::None, Detail::Events));
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

fn found(rule: Sabotage) -> Result<(), Failed> {
    match search(first_tried(rule), |begun| begun >= FOUND_WITHIN, rule, |_, _| ()) {
        Some((seed, verdict)) => {
            eprintln!("{rule:?}: seed {seed}: {}", verdict.violation);
            Ok(())
        }
        None => Err(format!("{FOUND_WITHIN} seeds did not find out {rule:?}").into()),
    }
}
