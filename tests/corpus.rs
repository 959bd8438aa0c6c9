//! Replays every input of `tests/corpus` through its target (see `tests::fuzz`). Inputs that once failed must not fail again, and the others
//! reach the code that fuzzing has reached. Named inputs are files in the target's folder; the rest are lines of `<target>.found`, in base64.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::{Arguments, Failed, Trial};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use tests::fuzz::{ALL, Target, corpus};
use tests::place;

/// The most CPU time for one input. An input takes milliseconds. Not the time of a clock: on a busy machine a write to the disk takes seconds.
const LIMIT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let mut trials: Vec<Trial> =
        ALL.iter().map(|target| Trial::test(target.name, || replay(target))).collect();
    trials.push(Trial::test("every_target_has_seeds_and_a_fuzzer", names_agree));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn replay(target: &Target) -> Result<(), Failed> {
    let files = files(&corpus().join(target.name));
    if files.is_empty() {
        return Err(format!("tests/corpus/{} has no input", target.name).into());
    }
    for file in files {
        run(target, &std::fs::read(&file)?, &file.display().to_string())?;
    }
    let found = corpus().join(format!("{}.found", target.name));
    for (at, line) in std::fs::read_to_string(&found)?.lines().enumerate() {
        run(target, &STANDARD.decode(line)?, &format!("{}:{}", found.display(), at + 1))?;
    }
    Ok(())
}

fn run(target: &Target, input: &[u8], place: &str) -> Result<(), Failed> {
    let before = cpu_time();
    if catch_unwind(|| (target.run)(input)).is_err() {
        return Err(format!("{place} makes the target panic, see above").into());
    }
    match cpu_time() - before {
        time if time > LIMIT => Err(format!("{place} took {time:?}, the limit is {LIMIT:?}").into()),
        _ => Ok(()),
    }
}

/// The CPU time of this thread so far.
fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    let used = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(used.try_into().unwrap())
}

/// The target names of the code, of `tests/corpus` and of `tests/fuzz/fuzz_targets` are the same.
fn names_agree() -> Result<(), Failed> {
    let targets: BTreeSet<String> = ALL.iter().map(|target| target.name.to_owned()).collect();
    let stems = |folder: PathBuf| -> BTreeSet<String> {
        files(&folder).iter().filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect()
    };
    for (what, found) in [
        ("folders and files of tests/corpus", stems(corpus())),
        ("files of tests/fuzz/fuzz_targets", stems(place::root().join("tests/fuzz/fuzz_targets"))),
    ] {
        if found != targets {
            return Err(format!("the {what} are {found:?}, the targets {targets:?}").into());
        }
    }
    Ok(())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files
}
