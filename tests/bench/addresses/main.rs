//! What an address costs: `whereabouts` and `whereabouts-daemon` as processes with a real API server and the rights of their service account.
//!
//! usage: addresses-bench DATE MACHINE FILE [--against FOLDER]
//!
//! Writes or replaces the section "Addresses" of FILE, and writes the figures beside FILE. With `--against` it also measures the `whereabouts` of
//! that folder, without a daemon. `BENCH_N` is the number of single calls (default 50). `BENCH_QUICK=1` makes every case small, to check that
//! it works. `MRS_BIN` names the folder of our binaries.
//!
//! | module | question it answers |
//! |---|---|
//! | [`api`] | how is the API server started, and how many requests did it serve? |
//! | [`node`], [`daemon`] | what is a node of the benchmark? |
//! | [`attachment`], [`method`] | what does a caller request, and by which method? |
//! | [`work`] | how do many callers work at the same time? |
//! | [`fill`] | how are many addresses allocated beforehand? |
//! | [`cases`] | what is measured? |
//! | [`report`], [`aims`], [`plot`] | how is it shown? |
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod aims;
mod api;
mod attachment;
mod cases;
mod daemon;
mod fill;
mod method;
mod node;
mod plot;
mod report;
#[path = "../usage.rs"]
mod usage;
mod work;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tests::place;

/// The programs to measure.
pub struct Programs {
    /// Our plugin.
    pub plugin: PathBuf,
    /// Our daemon.
    pub daemon: PathBuf,
    /// Another `whereabouts` to compare with.
    pub against: Option<PathBuf>,
}

/// The size of each case.
pub struct Scale {
    /// The number of single calls.
    pub calls: usize,
    /// The number of nodes that work at the same time.
    pub nodes: usize,
    /// The number of concurrent ADDs on each of them.
    pub at_once: usize,
    /// The number of pods with many networks.
    pub pods: usize,
    /// The number of networks of such a pod.
    pub networks: usize,
    /// The number of such pods that each of two nodes serves at the same time.
    pub pods_at_once: usize,
    /// The time over which the rate is measured.
    pub span: Duration,
    /// The number of concurrent ADDs on each node during that time.
    pub under_way: usize,
    /// The number of claims that measure the API server alone.
    pub bare: u32,
    /// The numbers of allocated addresses with which single calls are measured.
    pub levels: &'static [u32],
}

impl Scale {
    fn from_env() -> Scale {
        let calls =
            |default| std::env::var("BENCH_N").map_or(default, |n| n.parse().expect("BENCH_N is a number"));
        let full = Scale {
            calls: calls(50),
            nodes: 20,
            at_once: 10,
            pods: 128,
            networks: 16,
            pods_at_once: 16,
            span: Duration::from_secs(5),
            under_way: 2,
            bare: 3_000,
            levels: &[0, 1_000, 8_000, 60_000],
        };
        assert!(full.calls > 0, "BENCH_N must be at least 1");
        if std::env::var_os("BENCH_QUICK").is_none() {
            return full;
        }
        let (nodes, at_once, pods, networks) = (4, 5, 8, 4);
        let span = Duration::from_secs(2);
        Scale {
            calls: calls(5),
            nodes,
            at_once,
            pods,
            networks,
            pods_at_once: 4,
            span,
            bare: 300,
            levels: &[0, 200, 2_000],
            ..full
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (date, machine, file, against) = match args.as_slice() {
        [date, machine, file] => (*date, *machine, Path::new(*file), None),
        [date, machine, file, "--against", folder] => {
            (*date, *machine, Path::new(*file), Some(Path::new(*folder)))
        }
        _ => panic!("usage: addresses-bench DATE MACHINE FILE [--against FOLDER]"),
    };
    let programs = programs(against);
    let scale = Scale::from_env();
    let api = api::Api::up();
    if programs.against.is_some() {
        api.allow_other_leases();
    }
    let found = cases::all(&api, &programs, &scale);
    let folder = file.parent().expect("a file in a folder");
    std::fs::create_dir_all(folder).expect("the report's folder can be made");
    let section =
        report::markdown(&report::Run { date, machine, programs: &programs, scale: &scale, found: &found });
    plot::all(folder, &found);
    println!("{section}");
    tests::page::write_section(file, report::TITLE, &section);
}

fn programs(against: Option<&Path>) -> Programs {
    let found = |path: PathBuf| {
        let path = path.canonicalize().unwrap_or_else(|e| {
            panic!(
                "{}: {e}; run `make build` first, or set MRS_BIN to the folder that holds it",
                path.display()
            )
        });
        assert!(
            !path.starts_with("/run") && !path.starts_with("/var/lib"),
            "{} is in a folder that the benchmark's nodes replace: choose another one",
            path.display()
        );
        path
    };
    let built = || place::root().join("target/x86_64-unknown-linux-musl/release");
    let ours = std::env::var_os("MRS_BIN").map_or_else(built, PathBuf::from);
    Programs {
        plugin: found(ours.join("whereabouts")),
        daemon: found(ours.join("whereabouts-daemon")),
        against: against.map(|folder| found(folder.join("whereabouts"))),
    }
}
