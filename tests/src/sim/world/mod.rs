//! The world that a run simulates: nodes that lose power, pods that come and go, leaders, and people who touch objects by hand.
//!
//! | module | answers |
//! |---|---|
//! | [`layout`] | which networks, pools and pods are there, and what had Whereabouts left behind? |
//! | [`node`] | what do plugin and daemon of a node do? |
//! | [`hints`] | what does a plugin on its own remember? |
//! | [`pod`] | what becomes of one pod after the other? |
//! | [`leader`] | what does the leader do? |
//! | [`bystanders`] | what else happens in a cluster? |

pub mod bystanders;
pub mod hints;
pub mod layout;
pub mod leader;
pub mod node;
pub mod pod;

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use k8s_openapi::jiff::Timestamp;

use super::faults::Climate;
use super::history::{Detail, Entry, Event, History};
use super::sabotage::Sabotage;
use super::server::{Server, Traffic};
use layout::{Layout, Size};
use node::Node;

/// How long pods come and go.
pub const CHURN: Duration = Duration::from_secs(200);

/// So long after the churn everyone has done what was begun, and no pod is deleted any more.
pub const SETTLED: Duration = Duration::from_secs(60);

/// How long a pod that waits for an address pauses at most before it tries again.
pub const PATIENCE: Duration = Duration::from_secs(6);

/// The leader's grace time.
pub const GRACE: Duration = Duration::from_secs(60);

/// The longest time between two passes of the leader.
pub const PASS: Duration = Duration::from_secs(15);

/// When the run begins, in seconds.
const MORNING: i64 = 1_700_000_000;

/// The time of day goes so many times as fast as everything else. So the term in which everyone learns that a pool is used both ways passes
/// within a run; it must stay longer than what is known of a pool may be old, and the time that an order takes.
const PACE: u32 = 4;

/// How many daemons believe that they lead: the safety of what they do must not hang on there being one.
const LEADERS: usize = 2;

/// What all who act share.
#[derive(Clone)]
pub struct World {
    /// The API server.
    pub server: Server,
    /// What happens.
    pub history: History,
    /// Networks and pods.
    pub layout: Arc<Layout>,
    /// The nodes.
    pub nodes: Arc<Vec<Node>>,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Everything that happened.
    pub entries: Vec<Entry>,
    /// What the API server counted.
    pub traffic: Traffic,
    /// How large the world was.
    pub size: Size,
}

/// Runs a seed, on a runtime of this thread with a paused clock.
pub fn run(seed: u64, sabotage: Sabotage, detail: Detail) -> Run {
    fastrand::seed(seed);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let run = runtime.block_on(simulate(seed, sabotage, detail));
    drop(runtime);
    run
}

async fn simulate(seed: u64, sabotage: Sabotage, detail: Detail) -> Run {
    ::node::clock::replay(Timestamp::from_second(MORNING).unwrap(), PACE);
    let mut rng = Rng::with_seed(seed);
    let history = History::new(detail);
    let climate = Climate::of(&mut rng, CHURN);
    history.detail(|| format!("{climate:?}"));
    let server = Server::new(climate, rng.fork(), history.clone(), sabotage);
    let size = Size::of(&mut rng);
    let layout = Arc::new(Layout::new(size, &mut rng));
    let count = size.nodes(&mut rng);
    let mut nodes = Vec::new();
    for number in 0..count {
        nodes.push(Node::start(number, &server, &history, &mut rng).await);
    }
    let world = World { server, history, layout, nodes: Arc::new(nodes) };
    world.layout.prepare(&world.server, &world.history);
    for number in 0..LEADERS {
        let grace = if sabotage == Sabotage::NoGrace { Duration::ZERO } else { GRACE };
        let api = world.server.client(count + number).await;
        tokio::spawn(leader::lead(world.clone(), api, grace, rng.fork()));
    }
    for slot in 0..world.layout.slots.len() {
        tokio::spawn(pod::live(world.clone(), slot, rng.fork()));
    }
    bystanders::spawn(&world, &mut rng);
    tokio::time::sleep(CHURN).await;
    world.history.note(Event::Calm);
    tokio::time::sleep(SETTLED + GRACE + PASS * 2 + PATIENCE * 2).await;
    world.history.note(Event::Over);
    Run { entries: world.history.take(), traffic: world.server.traffic(), size }
}

impl World {
    /// Whether pods still come and go.
    pub fn churns(&self) -> bool {
        self.history.now() < CHURN
    }
}
