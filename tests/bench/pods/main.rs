//! What a whole pod costs: ADD and DEL of `multus` as a runtime calls it, with the primary network's plugins and with secondary networks of
//! `macvlan` and `whereabouts`, with a real API server.
//!
//! usage: pods-bench DATE MACHINE FILE [--against FOLDER]
//!
//! Writes or replaces the section "Pods" of FILE. With `--against` it also measures the `multus`, `macvlan` and `whereabouts` of that folder. Calls
//! of all kinds alternate, so that other load on the machine affects all of them. `BENCH_N` is the number of rounds (default 15; 3 with
//! `BENCH_QUICK`). `MRS_BIN` names the folder of our binaries, which are measured without daemons and with them.
//!
//! | module | question it answers |
//! |---|---|
//! | [`pod`] | which pods and networks are there? |
//! | [`call`] | what does one call cost, with everything that it leaves to children? |
//! | [`requests`] | what did the API server receive? |
//! | [`cases`] | what is measured? |
//! | [`report`] | how is it shown? |
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[allow(dead_code)]
#[path = "../addresses/api.rs"]
mod api;
mod call;
mod cases;
#[path = "../children.rs"]
mod children;
#[allow(dead_code)]
#[path = "../addresses/daemon.rs"]
mod daemon;
#[allow(dead_code)]
#[path = "../addresses/node.rs"]
mod node;
mod pod;
mod report;
mod requests;
#[path = "../usage.rs"]
mod usage;

use std::path::{Path, PathBuf};

use tests::page::write_section;
use tests::place;

/// Whether the plugins' node has daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemons {
    /// It has those of multus and whereabouts.
    Both,
    /// The plugins make all requests themselves.
    None,
}

/// Plugins to measure.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The name of its columns.
    pub title: &'static str,
    /// The folder of its plugins. The primary network's are Debian's.
    pub folder: PathBuf,
    /// What helps them.
    pub daemons: Daemons,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (date, machine, file, against) = match args.as_slice() {
        [date, machine, file] => (*date, *machine, Path::new(*file), None),
        [date, machine, file, "--against", folder] => (*date, *machine, Path::new(*file), Some(*folder)),
        _ => panic!("usage: pods-bench DATE MACHINE FILE [--against FOLDER]"),
    };
    let default = if std::env::var_os("BENCH_QUICK").is_none() { 15 } else { 3 };
    let rounds = std::env::var("BENCH_N").map_or(default, |n| n.parse().expect("BENCH_N is a number"));
    assert!(rounds > 0, "BENCH_N must be at least 1");
    let subjects = subjects(against);
    let found = cases::all(&subjects, rounds);
    let section =
        report::markdown(&report::Run { date, machine, rounds, subjects: &subjects, found: &found });
    println!("{section}");
    write_section(file, report::TITLE, &section);
}

fn subjects(against: Option<&str>) -> Vec<Subject> {
    let folder = |path: PathBuf| {
        let path = path.canonicalize().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for plugin in ["multus", "macvlan", "whereabouts"] {
            assert!(path.join(plugin).is_file(), "there is no {plugin} in {}", path.display());
        }
        assert!(
            !path.starts_with("/run") && !path.starts_with("/var/lib"),
            "{} is in a folder that the benchmark's node replaces: choose another one",
            path.display()
        );
        path
    };
    let ours = folder(place::binaries());
    let mut subjects = vec![
        Subject { title: "ours", folder: ours.clone(), daemons: Daemons::None },
        Subject { title: "ours, daemons", folder: ours, daemons: Daemons::Both },
    ];
    if let Some(against) = against {
        subjects.push(Subject { title: "other", folder: folder(against.into()), daemons: Daemons::None });
    }
    subjects
}
