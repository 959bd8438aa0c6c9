//! What is measured: every case of every subject, in turn.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use netlink::test_util::NamedNetns;
use whereabouts::rpc::wire::SOCKET;

use crate::api::{Api, kubeconfig};
use crate::call::{Call, Cost, timed};
use crate::daemon::Daemon;
use crate::node::{Files, KUBECONFIG, Node};
use crate::pod::{self, Case, MASTER, PRIMARY};
use crate::requests::Requests;
use crate::{Daemons, Subject};

/// The account whose credentials all plugins use.
const ACCOUNT: &str = "bench";

/// The calls of which the requests are counted, for each case.
const COUNTED: usize = 4;

/// The pause after each call, in which the daemons and the API server do what the call left to them. What it costs the daemons counts for the call.
/// After a longer one the processors sleep, and what is measured next is how they wake up.
const PAUSE: Duration = Duration::from_millis(50);

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
    /// They end before their node does.
    daemons: Vec<Daemon>,
    node: Node,
    /// The folder of the primary network's plugin.
    primary: PathBuf,
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
    let (mut found, mut numbers) = (Found::default(), 0_usize..);
    // These pods keep the networks in use on each node. No DEL removes them: they end with their namespaces and nodes.
    let neighbours: Vec<_> =
        benches.iter().zip(&mut numbers).map(|(bench, number)| bench.neighbour(number)).collect();
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
    for (bench, pod) in benches.iter().zip(neighbours) {
        bench.node.run(move || drop(pod));
    }
    found
}

impl Bench {
    fn new(api: &Api, subject: &Subject, at: usize, folder: &Path) -> Bench {
        let node = Node::new(api, &pod::node_name(at), Files::Disk(folder.to_owned()));
        let daemons = match subject.daemons {
            Daemons::None => Vec::new(),
            Daemons::Both => start_daemons(&node, &subject.folder),
        };
        let args = |case: Case| (case, if case == Case::Primary { String::new() } else { case.args(at) });
        let args = Case::ALL.into_iter().chain([Case::Neighbour]).map(args).collect();
        let primary = folder.join("primary");
        pod::make_primary(&primary);
        Bench { subject: subject.clone(), daemons, node, primary, args }
    }

    /// A network namespace in the node's mount namespace.
    fn netns(&self) -> Arc<NamedNetns> {
        self.node.run(|| Arc::new(NamedNetns::new().expect("a namespace for the pod")))
    }

    /// Makes the pod that the node has all the time. It lasts as long as this namespace.
    fn neighbour(&self, number: usize) -> Arc<NamedNetns> {
        let pod = self.netns();
        self.call(Case::Neighbour, "ADD", number, &pod);
        pod
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
            Case::Primary => self.primary.join(PRIMARY),
            Case::Plain | Case::One | Case::Many | Case::Neighbour => folder.join("multus"),
        };
        let env = vec![
            ("CNI_COMMAND", verb.to_owned()),
            ("CNI_CONTAINERID", format!("{number:064x}")),
            ("CNI_NETNS", pod.path().display().to_string()),
            ("CNI_IFNAME", "eth0".to_owned()),
            ("CNI_PATH", format!("{}:{}", folder.display(), self.primary.display())),
            ("CNI_ARGS", self.args[&case].clone()),
        ];
        let call = Call { program, env, stdin: case.conf(&self.subject).to_string() };
        let before = self.cpu_of_daemons();
        let cost = self.node.run(move || timed(&call));
        std::thread::sleep(PAUSE);
        Cost { cpu: cost.cpu + self.cpu_of_daemons().saturating_sub(before), ..cost }
    }

    fn cpu_of_daemons(&self) -> Duration {
        self.daemons.iter().map(Daemon::cpu).sum()
    }
}

/// The daemons of multus and whereabouts on a node. None leads: a leader writes for the pools of all subjects.
fn start_daemons(node: &Node, programs: &Path) -> Vec<Daemon> {
    let name = node.name.clone();
    let [multus, whereabouts] =
        ["multus-daemon", "whereabouts-daemon"].map(|program| programs.join(program).display().to_string());
    node.run(move || {
        std::fs::create_dir_all("/run/multus").expect("the node's own folder");
        let own = ["--node", &name, "--kubeconfig", KUBECONFIG];
        vec![
            Daemon::run(&[&[&*multus][..], &own].concat(), Path::new("/run/multus/multus.sock"), 0),
            Daemon::run(&[&[&*whereabouts, "--never-lead"][..], &own].concat(), Path::new(SOCKET), 0),
        ]
    })
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
