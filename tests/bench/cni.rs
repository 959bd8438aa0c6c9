//! What one CNI call costs, ours beside Debian's Go plugins: wall time, CPU time, memory, and the size of the files. `make bench`.
//!
//! usage: cni-bench DATE MACHINE FILE; the environment variable BENCH_N is the number of calls of each kind (100 if unset)
//!
//! Calls alternate between the two, each ADD in a new pod namespace, so that other load on the machine affects both.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod measure;
mod report;
mod usage;

use std::collections::BTreeMap;
use std::path::Path;

use measure::{Cost, peak_memory, timed};
use netlink::test_util::{NamedNetns, Testbed};
use serde_json::{Value, json};
use tests::driver::Subject;
use tests::place;

/// The number of calls that measure the memory. It hardly varies.
const MEMORY_CALLS: usize = 10;

/// What a call runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Case {
    /// VERSION of `macvlan`: the cost of starting it.
    Start,
    /// `macvlan` without IPAM.
    Layer2,
    /// `macvlan` with Debian's `static` as IPAM.
    Static,
    /// Debian's `static` alone: the part of the previous case that is not `macvlan`.
    StaticAlone,
}

impl Case {
    const ALL: [Case; 4] = [Case::Start, Case::Layer2, Case::Static, Case::StaticAlone];

    fn title(self) -> &'static str {
        match self {
            Case::Start => "macvlan, VERSION only",
            Case::Layer2 => "macvlan without IPAM",
            Case::Static => "macvlan + static",
            Case::StaticAlone => "static alone",
        }
    }

    fn verbs(self) -> &'static [&'static str] {
        match self {
            Case::Start => &["VERSION"],
            _ => &["ADD", "DEL"],
        }
    }

    fn program(self, subject: &Subject) -> std::path::PathBuf {
        match self {
            Case::StaticAlone => place::go_plugins().join("static"),
            _ => subject.folder.join("macvlan"),
        }
    }

    fn conf(self) -> Value {
        let mut conf = json!({ "cniVersion": "1.0.0", "name": "net-a", "type": "macvlan", "master": Testbed::MASTER, "mode": "bridge" });
        if matches!(self, Case::Static | Case::StaticAlone) {
            let addresses = json!([{ "address": "10.77.0.2/24", "gateway": "10.77.0.1" }]);
            conf["ipam"] =
                json!({ "type": "static", "addresses": addresses, "routes": [{ "dst": "10.78.0.0/16" }] });
        }
        conf
    }
}

/// The costs by case, verb and subject.
type Costs = BTreeMap<(Case, &'static str, &'static str), Vec<Cost>>;

/// The peak memory of the plugin's own process in KiB, by case and subject.
type Memory = BTreeMap<(Case, &'static str), u64>;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [date, machine, file] = args.as_slice() else { panic!("usage: cni-bench DATE MACHINE FILE") };
    let rounds = std::env::var("BENCH_N").map_or(100, |n| n.parse().expect("BENCH_N is a number"));
    assert!(rounds > 0, "BENCH_N must be at least 1");
    let lab = Testbed::new().expect("network namespaces can be made: be root");
    let (mut costs, mut memory, mut pods) = (Costs::new(), Memory::new(), Vec::new());
    // The first round fills the caches and is not counted.
    round(&lab, 0, &mut Costs::new(), &mut pods);
    for number in 1..=rounds {
        round(&lab, number, &mut costs, &mut pods);
    }
    for case in [Case::Layer2, Case::Static] {
        for subject in Subject::all() {
            let most = (0..MEMORY_CALLS).map(|n| memory_of(&lab, &subject, case, n)).max();
            memory.insert((case, subject.name), most.unwrap_or_default());
        }
    }
    let text = report::markdown(&report::Run { date, machine, rounds, costs: &costs, memory: &memory });
    println!("{text}");
    write(Path::new(file), &text);
}

/// Runs every case of both once, in alternating order. The namespaces stay until the end: the kernel needs CPU time to remove one.
fn round(lab: &Testbed, number: usize, costs: &mut Costs, pods: &mut Vec<NamedNetns>) {
    for case in Case::ALL {
        let mut subjects = Subject::all();
        subjects.rotate_left(number % 2);
        for subject in subjects.iter().filter(|s| case != Case::StaticAlone || s.name == "go") {
            let pod = NamedNetns::new().expect("a namespace for the pod");
            for verb in case.verbs() {
                let call = call(lab, &pod, subject, case, verb, number);
                costs.entry((case, verb, subject.name)).or_default().push(timed(&call));
            }
            pods.push(pod);
        }
    }
}

fn memory_of(lab: &Testbed, subject: &Subject, case: Case, number: usize) -> u64 {
    let pod = NamedNetns::new().expect("a namespace for the pod");
    let most = peak_memory(&call(lab, &pod, subject, case, "ADD", number));
    timed(&call(lab, &pod, subject, case, "DEL", number));
    most
}

fn call<'a>(
    lab: &'a Testbed,
    pod: &NamedNetns,
    subject: &Subject,
    case: Case,
    verb: &str,
    number: usize,
) -> measure::Call<'a> {
    let path = format!("{}:{}", subject.folder.display(), place::go_plugins().display());
    let env = [
        ("CNI_COMMAND", verb.to_owned()),
        ("CNI_CONTAINERID", format!("bench-{number}")),
        ("CNI_NETNS", pod.path().display().to_string()),
        ("CNI_IFNAME", "net1".to_owned()),
        ("CNI_PATH", path),
    ];
    measure::Call {
        host: lab.host.netns(),
        program: case.program(subject),
        env,
        stdin: case.conf().to_string(),
    }
}

/// Writes the report atomically.
fn write(file: &Path, text: &str) {
    let folder = file.parent().expect("a file in a folder");
    std::fs::create_dir_all(folder).expect("the report's folder can be made");
    node::files::write_atomic(file, text.as_bytes(), 0o644).expect("the report can be written");
}
