//! What is measured: every case of every subject, in turn.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use netlink::test_util::NamedNetns;
use tests::place;

use crate::Subject;
use crate::api::{Api, kubeconfig};
use crate::call::{Call, Cost, timed};
use crate::daemon::Daemon;
use crate::node::{Files, Node};
use crate::pod::{self, Case, MASTER};
use crate::requests::Requests;

/// The account whose credentials all plugins use.
const ACCOUNT: &str = "bench";

/// The socket of a daemon of multus.
const SOCKET: &str = "/run/multus/multus.sock";

/// The calls of which the requests are counted, for each case.
const COUNTED: usize = 4;

/// The verbs.
pub const VERBS: [&str; 2] = ["ADD", "DEL"];

/// A kind of call: case, number of the subject, verb.
pub type Kind = (Case, usize, &'static str);

/// All figures.
#[derive(Default)]
pub struct Found {
    /// The costs of the calls.
    pub costs: BTreeMap<Kind, Vec<Cost>>,
    /// The requests of [`COUNTED`] calls, as text.
    pub requests: BTreeMap<Kind, String>,
}

/// A subject on its node.
struct Bench {
    subject: Subject,
    node: Node,
    args: BTreeMap<Case, String>,
}

/// Measures everything.
pub fn all(subjects: &[Subject], rounds: usize) -> Found {
    let mut api = Api::up();
    pod::make_account(ACCOUNT);
    pod::make_objects(subjects.len());
    api.kubeconfig = kubeconfig(ACCOUNT);
    // After the cluster's processes were started, so that only what calls leave becomes a child of ours.
    nix::sys::prctl::set_child_subreaper(true).expect("prctl");
    let folders: Vec<tempfile::TempDir> =
        subjects.iter().map(|_| tempfile::tempdir_in("/var/tmp").expect("a folder on disk")).collect();
    let benches: Vec<Bench> = subjects
        .iter()
        .zip(&folders)
        .enumerate()
        .map(|(at, (subject, folder))| Bench::new(&api, subject, at, folder.path()))
        .collect();
    make_master(&benches[0].node);
    let mut found = Found::default();
    let mut numbers = 0_usize..;
    // The first round fills caches and is not counted.
    for round in 0..=rounds {
        for case in Case::ALL {
            for (at, bench) in benches.iter().enumerate().filter(|(at, _)| case != Case::Primary || *at == 0)
            {
                let number = numbers.next().expect("a number");
                for (verb, cost) in VERBS.into_iter().zip(bench.pair(case, number)) {
                    if round > 0 {
                        found.costs.entry((case, at, verb)).or_default().push(cost);
                    }
                }
            }
        }
        println!("round {round} of {rounds}");
    }
    for case in [Case::Plain, Case::One, Case::Many] {
        for (at, bench) in benches.iter().enumerate() {
            for (verb, requests) in VERBS.into_iter().zip(bench.requests(case, &mut numbers)) {
                found.requests.insert((case, at, verb), requests.text(COUNTED));
            }
        }
    }
    found
}

impl Bench {
    fn new(api: &Api, subject: &Subject, at: usize, folder: &Path) -> Bench {
        let mut node = Node::new(api, &format!("pods{at}"), Files::Disk(folder.to_owned()));
        if let Some(command) = subject.daemon.clone() {
            let start = move || {
                let words: Vec<&str> = command.iter().map(String::as_str).collect();
                std::fs::create_dir_all("/run/multus").expect("the node's own folder");
                Daemon::run(&words, Path::new(SOCKET), 0)
            };
            node.daemon = Some(node.run(start));
        }
        let args = |case: Case| (case, if case == Case::Primary { String::new() } else { case.args(at) });
        Bench { subject: subject.clone(), node, args: Case::ALL.into_iter().map(args).collect() }
    }

    /// A network namespace in the node's mount namespace.
    fn netns(&self) -> Arc<NamedNetns> {
        self.node.run(|| Arc::new(NamedNetns::new().expect("a namespace for the pod")))
    }

    /// The costs of an ADD and its DEL.
    fn pair(&self, case: Case, number: usize) -> [Cost; 2] {
        let pod = self.netns();
        let costs = VERBS.map(|verb| self.call(case, verb, number, &pod));
        self.node.run(move || drop(pod));
        costs
    }

    /// The requests of [`COUNTED`] ADDs, and those of their DELs. Each DEL follows its ADD: the next ADD is of the same pod, and would take its
    /// addresses over.
    fn requests(&self, case: Case, numbers: &mut impl Iterator<Item = usize>) -> [Requests; 2] {
        let mut all = [Requests::default(), Requests::default()];
        for number in numbers.take(COUNTED) {
            let pod = self.netns();
            for (verb, requests) in VERBS.into_iter().zip(&mut all) {
                let before = Requests::now();
                self.call(case, verb, number, &pod);
                requests.add(&Requests::now().since(&before));
            }
            self.node.run(move || drop(pod));
        }
        all
    }

    fn call(&self, case: Case, verb: &str, number: usize, pod: &NamedNetns) -> Cost {
        let Subject { folder, .. } = &self.subject;
        let program: PathBuf = match case {
            Case::Primary => place::go_plugins().join("bridge"),
            Case::Plain | Case::One | Case::Many => folder.join("multus"),
        };
        let env = vec![
            ("CNI_COMMAND", verb.to_owned()),
            ("CNI_CONTAINERID", format!("{number:064x}")),
            ("CNI_NETNS", pod.path().display().to_string()),
            ("CNI_IFNAME", "eth0".to_owned()),
            ("CNI_PATH", format!("{}:{}", folder.display(), place::go_plugins().display())),
            ("CNI_ARGS", self.args[&case].clone()),
        ];
        let call = Call { program, env, stdin: case.conf(&self.subject).to_string() };
        let daemon = self.node.daemon.as_ref();
        let (pid, of_daemon) =
            (daemon.map(Daemon::pid), || daemon.map_or_else(Default::default, Daemon::cpu));
        let before = of_daemon();
        let cost = self.node.run(move || timed(&call, pid));
        Cost { cpu: cost.cpu + of_daemon().saturating_sub(before), ..cost }
    }
}

/// Makes the master of the secondary networks in the network namespace that all nodes share: one end of a cable.
#[allow(clippy::disallowed_methods)] // ip, not a plugin
fn make_master(node: &Node) {
    const OTHER_END: &str = "mrsbench2";
    let add = ["link", "add", MASTER, "type", "veth", "peer", "name", OTHER_END].as_slice();
    for args in [add, &["link", "set", MASTER, "up"], &["link", "set", OTHER_END, "up"]] {
        let status = node.run(move || Command::new("ip").args(args).status());
        assert!(status.is_ok_and(|status| status.success()), "ip {args:?}");
    }
}
