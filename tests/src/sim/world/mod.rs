//! The simulated cluster: nodes that lose power, pods that come and go, leaders, and users who change objects by hand.
//!
//! | module | answers |
//! |---|---|
//! | [`scenario`] | Whose plugin does each node run, and when? |
//! | [`networks`] | Which pools do the networks have, and in which namespace? |
//! | [`layout`] | Which pods are there, and what did Whereabouts leave behind? |
//! | [`node`] | How do plugin and daemon of a node run? |
//! | [`clock`] | How does each node get its own clock? |
//! | [`sandbox`] | Which CNI calls are made for a sandbox? |
//! | [`upstream`] | What does Whereabouts' plugin do? |
//! | [`pod`] | What happens to the pods? |
//! | [`leader`] | What do the leaders do? |
//! | [`disruptions`] | What else happens in the cluster? |

pub mod clock;
pub mod disruptions;
pub mod layout;
pub mod leader;
pub mod networks;
pub mod node;
pub mod pod;
pub mod sandbox;
pub mod scenario;
pub mod upstream;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::broken_rule::BrokenRule;
use super::checker::{self, Counts, Failure, RunFacts};
use super::faults::FaultPlan;
use super::history::{Detail, Entry, Event, History};
use super::server::{Server, Traffic};
use layout::{Layout, Size};
use networks::{ELSEWHERE, FULL_POOL_PREFIX, NAMESPACE};
use node::Node;
use scenario::{Plugin, Scenario, Schedule};

/// The first part of a run, in which pods come and go and faults happen.
pub const CHURN: Duration = Duration::from_secs(200);

/// The time after the churn in which the last pods are created and deleted. After it, the leader has time for the rest.
pub const WIND_DOWN: Duration = Duration::from_secs(60);

/// The longest pause of the kubelet before it retries a failed ADD.
pub const RETRY_PAUSE: Duration = Duration::from_secs(6);

/// The leader's grace period.
pub const GRACE: Duration = Duration::from_secs(60);

/// The longest time between two passes of the leader.
pub const PASS: Duration = Duration::from_secs(15);

/// The wall-clock time at the start of a run, in seconds since 1970.
const EPOCH_SECONDS: i64 = 1_700_000_000;

/// How many times faster the wall clock runs than timers: no decision may depend on it.
const WALL_CLOCK_SPEED: u32 = 4;

/// The namespaces of the processes that lead at the same time: the safety of releases must not depend on the election.
const LEADERS: [&str; 3] = [NAMESPACE, NAMESPACE, ELSEWHERE];

/// What all tasks of a run share.
#[derive(Clone)]
pub struct World {
    /// The API server.
    pub server: Server,
    /// The events so far.
    pub history: History,
    /// The networks and slots.
    pub layout: Arc<Layout>,
    /// When Whereabouts' plugin runs.
    pub schedule: Arc<Schedule>,
    /// The nodes.
    pub nodes: Arc<Vec<Node>>,
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The history.
    pub entries: Vec<Entry>,
    /// The API server's counts.
    pub traffic: Traffic,
    /// The size of the world.
    pub size: Size,
}

impl Run {
    /// Checks the history.
    pub fn check(&self) -> Result<Counts, Failure> {
        let min_operations = self.size.min_operations();
        checker::check(&self.entries, RunFacts { full_pool: FULL_POOL_PREFIX, min_operations })
    }
}

/// The stack of a run. Without optimisation the futures of plugin, daemon and leader, which lie in each other, need some megabytes.
const STACK: usize = 64 << 20;

/// Runs a seed, on a thread of its own with a paused clock. The same arguments give the same result.
pub fn run(seed: u64, scenario: Scenario, broken: BrokenRule, detail: Detail) -> Run {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        let run = thread.spawn_scoped(scope, || run_here(seed, scenario, broken, detail)).unwrap();
        run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn run_here(seed: u64, scenario: Scenario, broken: BrokenRule, detail: Detail) -> Run {
    // Before the seed: the name of the directory is the only thing that two runs of a seed must not share. In memory, since records are
    // flushed to the disk.
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let disks = tempfile::Builder::new().prefix("mrs-simulation-").tempdir_in(parent).unwrap();
    // The code under test draws from the thread's generator, the simulation from its own.
    fastrand::seed(seed);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let run = runtime.block_on(simulate(seed, scenario, broken, detail, disks.path()));
    drop(runtime);
    run
}

async fn simulate(seed: u64, scenario: Scenario, broken: BrokenRule, detail: Detail, disks: &Path) -> Run {
    ::node::clock::replay(Timestamp::from_second(EPOCH_SECONDS).unwrap(), WALL_CLOCK_SPEED);
    // Every fork takes from `rng`: another order of these calls gives every seed another run.
    let mut rng = Rng::with_seed(seed);
    let history = History::new(detail);
    let faults = match scenario {
        Scenario::Ours => FaultPlan::random(&mut rng, CHURN),
        Scenario::WhereaboutsBetween | Scenario::WhereaboutsBeside => FaultPlan::none(),
    };
    history.note(|| format!("{faults:?}"));
    let server = Server::new(faults, rng.fork(), history.clone(), broken);
    let size = Size::random(&mut rng);
    let layout = Arc::new(Layout::new(size, scenario, &mut rng));
    let count = size.nodes(&mut rng);
    let schedule = Arc::new(Schedule::new(scenario, count, &mut rng));
    history.note(|| format!("{schedule:?}"));
    let mut nodes = Vec::new();
    for number in 0..count {
        nodes.push(Node::start(number, scenario, disks, &server, &history, &mut rng).await);
    }
    let world = World { server, history, layout, schedule, nodes: Arc::new(nodes) };
    world.layout.prepare(&world.server, &world.history);
    for (number, namespace) in LEADERS.into_iter().enumerate() {
        let grace = if broken == BrokenRule::NoGrace { Duration::ZERO } else { GRACE };
        let api = world.server.client(count + number).await;
        let clock = SignedDuration::from_secs(rng.i64(-900..=900));
        tokio::spawn(leader::lead(world.clone(), namespace, api, grace, clock, rng.fork()));
    }
    disruptions::spawn(&world, &mut rng);
    for slot in 0..world.layout.slots.len() {
        tokio::spawn(pod::run_slot(world.clone(), slot, rng.fork()));
    }
    tokio::time::sleep(CHURN).await;
    world.history.record(Event::FaultsEnded);
    // A claim needs two observations a grace period apart, each in a pass, before it is released; then its address must be claimed again.
    tokio::time::sleep(WIND_DOWN + GRACE + PASS * 2 + RETRY_PAUSE * 2).await;
    let tombstones = world.nodes.iter().flat_map(Node::lasting_tombstones).collect();
    world.history.record(Event::RunEnded { tombstones });
    Run { entries: world.history.take(), traffic: world.server.traffic(), size }
}

impl World {
    /// Whether pods still come and go.
    pub fn is_churning(&self) -> bool {
        self.history.now() < CHURN
    }

    /// Whose plugin a node runs now.
    pub fn plugin(&self, node: &Node) -> Plugin {
        self.schedule.plugin(node.number, self.history.now())
    }

    /// Waits until the kubelets start something again.
    pub async fn next_start(&self) {
        let now = self.history.now();
        tokio::time::sleep(self.schedule.next_start(now).saturating_sub(now)).await;
    }
}
