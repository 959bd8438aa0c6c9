//! What a node needs when many pods start on it at the same moment, as after a restart: memory, time, and that every pod runs. On real clusters,
//! each with two kubelets, containerd and an API server, with what a user installs and the limits of those manifests.
//!
//! usage: burst-bench DATE MACHINE FILE [--against FOLDER]
//!
//! Writes or replaces the section "Many pods at once" of FILE. With `--against`, whatever the folder, Multus' daemon and Whereabouts are measured
//! too, by upstream's own manifests and images (`tests/upstream/install`). `BURST_PODS` is the number of pods (default 150; 20 with `BENCH_QUICK`).
//!
//! | module | question it answers |
//! |---|---|
//! | [`run`] | what happens on one cluster? |
//! | [`processes`] | which processes of a node are daemons, which are plugins, and what memory do they have? |
//! | [`report`] | how is it shown? |
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "../children.rs"]
mod children;
mod processes;
mod report;
mod run;

use std::path::Path;

use tests::page::write_section;

/// What is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `kubectl apply -k deploy/`.
    Ours,
    /// Multus' thick manifest, and that of Whereabouts.
    Upstream,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (date, machine, file, subjects) = match args.as_slice() {
        [date, machine, file] => (*date, *machine, Path::new(*file), &[Subject::Ours][..]),
        [date, machine, file, "--against", _] => {
            (*date, *machine, Path::new(*file), &[Subject::Ours, Subject::Upstream][..])
        }
        _ => panic!("usage: burst-bench DATE MACHINE FILE [--against FOLDER]"),
    };
    let default = if std::env::var_os("BENCH_QUICK").is_none() { 150 } else { 20 };
    let pods = std::env::var("BURST_PODS").map_or(default, |n| n.parse().expect("BURST_PODS is a number"));
    let found: Vec<_> = subjects.iter().map(|subject| (*subject, run::burst(*subject, pods))).collect();
    let section = report::markdown(date, machine, pods, &found);
    println!("{section}");
    write_section(file, report::TITLE, &section);
}
