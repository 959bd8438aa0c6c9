//! What is measured, in order: all that needs no daemon, all that does, then both again while more and more addresses are held.

use std::time::Duration;

use crate::api::{Api, Asked};
use crate::daemon::Daemon;
use crate::fill;
use crate::means::{Held, Inside, Means};
use crate::node::{Files, Node};
use crate::work::{self, Done, Pods};
use crate::{Programs, Scale};

/// A way to addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Our plugin without a daemon.
    Direct,
    /// The same with its records on disk.
    DirectOnDisk,
    /// Our plugin with a daemon.
    Daemon,
    /// Another plugin.
    Against,
    /// The claims alone, see [`Means::Claims`].
    Claims,
    /// The daemon's socket, see [`Means::Socket`].
    Socket,
    /// Processes that do nothing.
    Process,
}

impl Way {
    /// As tables call it.
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

    /// The means; none for another plugin where there is none.
    fn means(self, programs: &Programs) -> Option<Means> {
        match self {
            Way::Direct | Way::DirectOnDisk | Way::Daemon => Some(Means::Plugin(programs.plugin.clone())),
            Way::Against => programs.against.clone().map(Means::Plugin),
            Way::Claims => Some(Means::Claims),
            Way::Socket => Some(Means::Socket),
            Way::Process => Some(Means::Version(programs.plugin.clone())),
        }
    }
}

/// One way in one case.
pub struct Measured {
    /// The way.
    pub way: Way,
    /// Its ADDs.
    pub add: Side,
    /// Its DELs; none where nothing was to be given back.
    pub del: Option<Side>,
    /// Resident memory of the daemons of the first two nodes between the two, in KiB: the leader's, a follower's.
    pub resident: Vec<u64>,
}

/// All calls of one verb.
pub struct Side {
    /// What came of them.
    pub done: Done,
    /// What the API server was asked.
    pub asked: Asked,
    /// CPU time of all daemons.
    pub daemons: Duration,
}

/// One way while so many addresses are held.
pub struct Level {
    /// How many.
    pub held: u32,
    /// The way.
    pub way: Way,
    /// The first call on a node that knows nothing yet.
    pub first: Duration,
    /// Those after it.
    pub times: Vec<Duration>,
}

/// All that was found.
#[derive(Default)]
pub struct Found {
    /// Calls one after the other on one node.
    pub single: Vec<Measured>,
    /// Many at once from many nodes on one range.
    pub at_once: Vec<Measured>,
    /// Many networks a pod.
    pub many: Vec<Measured>,
    /// As many as possible for some seconds.
    pub rate: Vec<Measured>,
    /// By how many are held.
    pub growth: Vec<Level>,
    /// Claims that were left after all DELs.
    pub left: usize,
    /// Claims made straight at the API server with no choice and no daemon, a second.
    pub bare_rate: f64,
    /// How long one of them takes when nothing else is asked.
    pub bare_times: Vec<Duration>,
    /// Resident memory of a leader and of a follower that knows them all, in KiB, with the last level held.
    pub resident_full: Vec<u64>,
}

/// What every case needs.
struct Bench<'a> {
    api: &'a Api,
    programs: &'a Programs,
    scale: &'a Scale,
    ranges: std::ops::RangeInclusive<u8>,
}

/// The range of claims that nobody chose.
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
    // Those that were left before are still there.
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

    /// Every case of a way.
    fn measure(&mut self, found: &mut Found, nodes: &[Node], way: Way) {
        let Some(means) = way.means(self.programs) else { return };
        let scale = self.scale;
        println!("{}", way.title());
        if !matches!(way, Way::Claims | Way::Socket) {
            // The second is no leader.
            found.single.extend(self.single(&nodes[1..2], way));
            if way != Way::Process {
                let ranges: Vec<String> = (0..scale.networks).map(|_| self.range()).collect();
                let pods = Pods::new(scale.pods, &ranges);
                found.many.push(self.both(&nodes[..2], way, scale.pods_at_once, &means, || pods.clone()));
            }
        }
        let range = [self.range()];
        let these = || Pods::new(scale.at_once, &range);
        found.at_once.push(self.both(nodes, way, scale.at_once, &means, these));
        let range = [self.range()];
        let new = || Pods::NewFor(scale.span, range.to_vec());
        found.rate.push(self.both(nodes, way, scale.under_way, &means, new));
    }

    /// One after the other, after one that warms up.
    fn single(&mut self, nodes: &[Node], way: Way) -> Option<Measured> {
        let means = way.means(self.programs)?;
        let range = [self.range()];
        self.both(nodes, way, 1, &means, || Pods::new(1, &range));
        Some(self.both(nodes, way, 1, &means, || Pods::new(self.scale.calls, &range)))
    }

    /// ADDs, and the DELs of what they got.
    fn both(
        &self,
        nodes: &[Node],
        way: Way,
        workers: usize,
        means: &Means,
        pods: impl Fn() -> Pods,
    ) -> Measured {
        let served = || nodes.iter().filter(|n| n.daemon.is_some()).map(claims_served).sum::<u64>();
        let before = served();
        let mut add = self.side(nodes, || work::add(nodes, workers, means, &pods));
        let got = add.done.times.len() as u64;
        if matches!(way, Way::Daemon | Way::Socket) {
            let served = served() - before;
            assert!(served >= got, "of {got} ADDs only {served} went through the daemons");
        }
        let resident = nodes.iter().take(2).filter_map(|n| n.daemon.as_ref()).map(Daemon::resident).collect();
        let held: Vec<Vec<Held>> = std::mem::take(&mut add.done.held);
        let del = (add.done.addresses > 0)
            .then(|| self.side(nodes, || work::del(nodes, workers, means, held.clone())));
        Measured { way, add, del, resident }
    }

    fn side(&self, nodes: &[Node], work: impl Fn() -> Done) -> Side {
        let cpu = || nodes.iter().filter_map(|n| n.daemon.as_ref()).map(Daemon::cpu).sum::<Duration>();
        let (asked, daemons) = (self.api.asked(), cpu());
        let done = work();
        Side { done, daemons: cpu() - daemons, asked: self.api.asked().since(&asked) }
    }

    /// Claims of ours that no DEL gave back.
    fn left(&self, node: &Node) -> usize {
        let name = node.name.clone();
        node.run(move || Inside::new(&name).count(whereabouts::crd::reservation::LABEL_POOL.to_owned()))
    }

    /// A range that others hold more and more addresses of.
    fn growth(&self, found: &mut Found) {
        let leader = self.served("leader", 0);
        self.wait_for_leader("leader");
        let mut filled = 0;
        for held in self.scale.levels {
            println!("{held} held");
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

    /// The same for another plugin, whose pool is an object with an entry an address.
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
        let means = way.means(self.programs).expect("there is one");
        let range = [range.to_owned()];
        let done = self.both(nodes, way, 1, &means, || Pods::new(self.scale.calls + 1, &range)).add.done;
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
