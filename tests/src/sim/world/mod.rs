//! The simulated cluster: nodes that lose power, pods that come and go, leaders, and users who change objects by hand.
//!
//! | module | answers |
//! |---|---|
//! | [`layout`] | Which networks, pools and pods are there, and what did Whereabouts leave behind? |
//! | [`node`] | What do plugin and daemon of a node do? |
//! | [`hints`] | What does a plugin without a daemon remember between calls? |
//! | [`pod`] | What happens to the pods? |
//! | [`leader`] | What do the leaders do? |
//! | [`disruptions`] | What else happens in the cluster? |

pub mod disruptions;
pub mod hints;
pub mod layout;
pub mod leader;
pub mod node;
pub mod pod;

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use k8s_openapi::jiff::Timestamp;

use super::broken_rule::BrokenRule;
use super::faults::FaultPlan;
use super::history::{self, Counts, Detail, Entry, Event, Failure, History, RunFacts};
use super::server::{Server, Traffic};
use layout::{FULL_POOL_PREFIX, Layout, Size};
use node::Node;

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

/// The number of processes that lead at the same time: the safety of releases must not depend on the election.
const LEADERS: usize = 2;

/// What all tasks of a run share.
#[derive(Clone)]
pub struct World {
    /// The API server.
    pub server: Server,
    /// The events so far.
    pub history: History,
    /// The networks and slots.
    pub layout: Arc<Layout>,
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
        history::check(&self.entries, RunFacts { full_pool: FULL_POOL_PREFIX, min_operations })
    }
}

/// Runs a seed, on a single-threaded runtime with a paused clock. The same arguments give the same result.
pub fn run(seed: u64, broken: BrokenRule, detail: Detail) -> Run {
    // The code under test draws from the thread's generator, the simulation from its own.
    fastrand::seed(seed);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let run = runtime.block_on(simulate(seed, broken, detail));
    drop(runtime);
    run
}

async fn simulate(seed: u64, broken: BrokenRule, detail: Detail) -> Run {
    ::node::clock::replay(Timestamp::from_second(EPOCH_SECONDS).unwrap(), WALL_CLOCK_SPEED);
    // Every fork takes from `rng`: another order of these calls gives every seed another run.
    let mut rng = Rng::with_seed(seed);
    let history = History::new(detail);
    let faults = FaultPlan::random(&mut rng, CHURN);
    history.note(|| format!("{faults:?}"));
    let server = Server::new(faults, rng.fork(), history.clone(), broken);
    let size = Size::random(&mut rng);
    let layout = Arc::new(Layout::new(size, &mut rng));
    let count = size.nodes(&mut rng);
    let mut nodes = Vec::new();
    for number in 0..count {
        nodes.push(Node::start(number, &server, &history, &mut rng).await);
    }
    let world = World { server, history, layout, nodes: Arc::new(nodes) };
    world.layout.prepare(&world.server, &world.history);
    for number in 0..LEADERS {
        let grace = if broken == BrokenRule::NoGrace { Duration::ZERO } else { GRACE };
        let api = world.server.client(count + number).await;
        tokio::spawn(leader::lead(world.clone(), api, grace, rng.fork()));
    }
    for slot in 0..world.layout.slots.len() {
        tokio::spawn(pod::run_slot(world.clone(), slot, rng.fork()));
    }
    disruptions::spawn(&world, &mut rng);
    tokio::time::sleep(CHURN).await;
    world.history.record(Event::FaultsEnded);
    // A claim needs two observations a grace period apart, each in a pass, before it is released; then its address must be claimed again.
    tokio::time::sleep(WIND_DOWN + GRACE + PASS * 2 + RETRY_PAUSE * 2).await;
    world.history.record(Event::RunEnded);
    Run { entries: world.history.take(), traffic: world.server.traffic(), size }
}

impl World {
    /// Whether pods still come and go.
    pub fn is_churning(&self) -> bool {
        self.history.now() < CHURN
    }
}
