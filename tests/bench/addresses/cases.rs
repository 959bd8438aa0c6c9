//! The measurements in their order: without daemons, with daemons, then both with more and more allocated addresses.

use std::time::Duration;

use crate::api::{Api, Requests};
use crate::daemon::Daemon;
use crate::fill;
use crate::method::{Held, Inside, Method};
use crate::node::{Files, Node};
use crate::work::{self, Done, Pods};
use crate::{Programs, Scale};

/// A row of the tables: a method on nodes with or without daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Our plugin without a daemon.
    Direct,
    /// Our plugin without a daemon, with its records on disk.
    DirectOnDisk,
    /// Our plugin with a daemon.
    Daemon,
    /// Another plugin.
    Against,
    /// [`Method::Claims`].
    Claims,
    /// [`Method::Socket`].
    Socket,
    /// [`Method::Version`].
    Process,
}

impl Way {
    /// Its name in the tables.
    pub const fn title(self) -> &'static str {
        match self {
            Way::Direct => "direct",
            Way::DirectOnDisk => "direct, records on disk",
            Way::Daemon => "daemon",
            Way::Against => "other",
            Way::Claims => "claims alone, no process",
            Way::Socket => "daemon's socket, no process",
            Way::Process => "process alone (VERSION)",
        }
    }

    /// Its method; none if there is no other plugin.
    fn method(self, programs: &Programs) -> Option<Method> {
        match self {
            Way::Direct | Way::DirectOnDisk | Way::Daemon => Some(Method::Plugin(programs.plugin.clone())),
            Way::Against => programs.against.clone().map(Method::Plugin),
            Way::Claims => Some(Method::Claims),
            Way::Socket => Some(Method::Socket),
            Way::Process => Some(Method::Version(programs.plugin.clone())),
        }
    }
}

/// One row of a case.
pub struct Measured {
    /// The row.
    pub way: Way,
    /// Its ADDs.
    pub add: Side,
    /// Its DELs; none if the ADDs allocated nothing.
    pub del: Option<Side>,
    /// Resident memory of two daemons after the ADDs, in KiB: the leader's and another one's.
    pub resident: Vec<u64>,
}

/// All calls of one verb.
pub struct Side {
    /// Times and failures.
    pub done: Done,
    /// The requests that the API server counted.
    pub requests: Requests,
    /// CPU time that all daemons used.
    pub daemons: Duration,
}

/// Single calls with many allocated addresses.
pub struct Level {
    /// The number of allocated addresses.
    pub held: u32,
    /// The row.
    pub way: Way,
    /// The time of the first call on a node that has never used the range.
    pub first: Duration,
    /// The times of the calls after it.
    pub times: Vec<Duration>,
}

/// All figures.
#[derive(Default)]
pub struct Found {
    /// Single calls on one node.
    pub single: Vec<Measured>,
    /// Concurrent calls on many nodes and one range.
    pub at_once: Vec<Measured>,
    /// Pods with many networks.
    pub many: Vec<Measured>,
    /// As many calls as possible for some seconds.
    pub rate: Vec<Measured>,
    /// Single calls by number of allocated addresses.
    pub growth: Vec<Level>,
    /// The number of claims that are left after all DELs.
    pub left: usize,
    /// Claims a second that the API server creates when nobody chooses an address.
    pub bare_rate: f64,
    /// The time of one such creation on an idle API server.
    pub bare_times: Vec<Duration>,
    /// Resident memory of the leader and of another daemon at the highest number of allocated addresses, in KiB.
    pub resident_full: Vec<u64>,
}

/// What the cases share.
struct Bench<'a> {
    api: &'a Api,
    programs: &'a Programs,
    scale: &'a Scale,
    ranges: std::ops::RangeInclusive<u8>,
}

/// The range of the claims that [`fill`] creates.
const FILLED: &str = "172.16.0.0/12";

/// Measures everything.
pub fn all(api: &Api, programs: &Programs, scale: &Scale) -> Found {
    let mut found = Found::default();
    let mut bench = Bench { api, programs, scale, ranges: 0..=255 };
    let on_disk = tempfile::tempdir_in("/var/tmp").expect("a folder on disk");
    let disk_node = [Node::new(api, "ondisk", Files::Disk(on_disk.path().to_owned()))];
    found.single.extend(bench.single(&disk_node, Way::DirectOnDisk));
    drop(disk_node);
    let alone: Vec<Node> =
        (0..scale.nodes).map(|n| Node::new(api, &format!("alone{n}"), Files::Memory)).collect();
    found.bare_rate = fill::claims(&alone[0], FILLED, 0..scale.bare);
    fill::remove(&alone[0], FILLED, 0..scale.bare);
    let ones = 0..u32::try_from(scale.calls).expect("not so many calls");
    found.bare_times = fill::one_by_one(&alone[0], FILLED, ones.clone());
    fill::remove(&alone[0], FILLED, ones);
    for way in [Way::Direct, Way::Against, Way::Claims, Way::Process] {
        bench.measure(&mut found, &alone, way);
    }
    found.left = bench.left(&alone[0]);
    drop(alone);
    let served: Vec<Node> = (0..scale.nodes).map(|n| bench.served(&format!("served{n}"), n)).collect();
    for way in [Way::Daemon, Way::Socket] {
        bench.measure(&mut found, &served, way);
    }
    // Claims that an earlier row left still exist, so the larger count includes them.
    found.left = found.left.max(bench.left(&served[0]));
    drop(served);
    bench.growth_of_other(&mut found);
    bench.growth(&mut found);
    // Ours first.
    found.growth.sort_by_key(|level| (level.held, level.way == Way::Against));
    found
}

impl Bench<'_> {
    fn served(&self, name: &str, number: usize) -> Node {
        let port = 20_000 + u16::try_from(number).expect("not so many nodes");
        Node::with_daemon(self.api, name, &self.programs.daemon, port)
    }

    fn range(&mut self) -> String {
        format!("10.{}.0.0/16", self.ranges.next().expect("a range is left"))
    }

    /// Every case of a row.
    fn measure(&mut self, found: &mut Found, nodes: &[Node], way: Way) {
        let Some(method) = way.method(self.programs) else { return };
        let scale = self.scale;
        println!("{}", way.title());
        if !matches!(way, Way::Claims | Way::Socket) {
            // The first node's daemon leads, so the second node is the typical one.
            found.single.extend(self.single(&nodes[1..2], way));
            if way != Way::Process {
                let ranges: Vec<String> = (0..scale.networks).map(|_| self.range()).collect();
                let pods = Pods::new(scale.pods, &ranges);
                found.many.push(self.both(&nodes[..2], way, scale.pods_at_once, &method, || pods.clone()));
            }
        }
        let range = [self.range()];
        let these = || Pods::new(scale.at_once, &range);
        found.at_once.push(self.both(nodes, way, scale.at_once, &method, these));
        let range = [self.range()];
        let new = || Pods::NewFor(scale.span, range.to_vec());
        found.rate.push(self.both(nodes, way, scale.under_way, &method, new));
    }

    /// Single calls, after one that opens connections and fills caches.
    fn single(&mut self, nodes: &[Node], way: Way) -> Option<Measured> {
        let method = way.method(self.programs)?;
        let range = [self.range()];
        self.both(nodes, way, 1, &method, || Pods::new(1, &range));
        Some(self.both(nodes, way, 1, &method, || Pods::new(self.scale.calls, &range)))
    }

    /// ADDs, and the DELs of the addresses that they got.
    fn both(
        &self,
        nodes: &[Node],
        way: Way,
        workers: usize,
        method: &Method,
        pods: impl Fn() -> Pods,
    ) -> Measured {
        let served = || nodes.iter().filter(|n| n.daemon.is_some()).map(claims_served).sum::<u64>();
        let before = served();
        let mut add = self.side(nodes, || work::add(nodes, workers, method, &pods));
        let got = add.done.times.len() as u64;
        if matches!(way, Way::Daemon | Way::Socket) {
            let served = served() - before;
            assert!(served >= got, "of {got} ADDs only {served} went through the daemons");
        }
        let resident = nodes.iter().take(2).filter_map(|n| n.daemon.as_ref()).map(Daemon::resident).collect();
        let held: Vec<Vec<Held>> = std::mem::take(&mut add.done.held);
        let del = (add.done.addresses > 0)
            .then(|| self.side(nodes, || work::del(nodes, workers, method, held.clone())));
        Measured { way, add, del, resident }
    }

    fn side(&self, nodes: &[Node], work: impl Fn() -> Done) -> Side {
        let cpu = || nodes.iter().filter_map(|n| n.daemon.as_ref()).map(Daemon::cpu).sum::<Duration>();
        let (requests, daemons) = (self.api.requests(), cpu());
        let done = work();
        Side { done, daemons: cpu() - daemons, requests: self.api.requests().since(&requests) }
    }

    /// The number of our claims that no DEL released.
    fn left(&self, node: &Node) -> usize {
        let name = node.name.clone();
        node.run(move || Inside::new(&name).count(whereabouts::crd::reservation::LABEL_POOL.to_owned()))
    }

    /// Single calls on a range of which more and more addresses are allocated.
    fn growth(&self, found: &mut Found) {
        let leader = self.served("leader", 0);
        self.wait_for_leader("leader");
        let mut filled = 0;
        for held in self.scale.levels {
            println!("{held} allocated");
            if *held > filled {
                fill::claims(&leader, FILLED, filled..*held);
                filled = *held;
            }
            let alone = [Node::new(self.api, "fresh", Files::Memory)];
            found.growth.push(self.level(&alone, Way::Direct, *held, FILLED));
            let served = [self.served("fresh", 1)];
            found.growth.push(self.level(&served, Way::Daemon, *held, FILLED));
            let daemons = [&leader, &served[0]].map(|node| node.daemon.as_ref().map(Daemon::resident));
            found.resident_full = daemons.into_iter().flatten().collect();
        }
    }

    /// The same for the other plugin, whose pool is one object with an entry for each address.
    fn growth_of_other(&self, found: &mut Found) {
        const RANGE: &str = "172.0.0.0/12";
        if self.programs.against.is_none() {
            return;
        }
        for held in self.scale.levels {
            let nodes = [Node::new(self.api, "other", Files::Memory)];
            if !fill::pool(&nodes[0], RANGE, *held as usize) {
                println!("{held} entries do not fit into a pool of the other plugin");
                break;
            }
            found.growth.push(self.level(&nodes, Way::Against, *held, RANGE));
        }
        self.api.remove_pool("172.0.0.0-12");
    }

    fn level(&self, nodes: &[Node], way: Way, held: u32, range: &str) -> Level {
        let method = way.method(self.programs).expect("there is one");
        let range = [range.to_owned()];
        let done = self.both(nodes, way, 1, &method, || Pods::new(self.scale.calls + 1, &range)).add.done;
        let (first, times) =
            done.times.split_first().unwrap_or_else(|| panic!("no ADD succeeded: {:?}", done.failures));
        Level { held, way, first: *first, times: times.to_vec() }
    }

    fn wait_for_leader(&self, name: &str) {
        let leads = || self.api.leader().is_some_and(|leader| leader.starts_with(&format!("{name}_")));
        let found = tests::cluster::wait(Duration::from_secs(30), || leads().then_some(()));
        assert!(found.is_some(), "the daemon of {name} does not lead");
    }
}

fn claims_served(node: &Node) -> u64 {
    let port = node.daemon.as_ref().map_or(0, Daemon::port);
    node.run(move || Daemon::shown(port, "whereabouts_requests_total{request=\"claim\",outcome=\"done\"}"))
}
