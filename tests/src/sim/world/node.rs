//! A node: its disk, its plugin, and on most nodes its daemon, which may fall at any time. What the plugin does around the code that it
//! shares with the daemon (records, tombstones, falling back) is done here as in `whereabouts::plugin::attach` and `whereabouts::plugin::backend`, in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use futures::future::{Either, select};
use node::client::ApiClient;
use node::deadline::Deadline;
use node::names::DnsLabel;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use whereabouts::claims::allocate;
use whereabouts::claims::allocate::PriorAttempt;
use whereabouts::claims::error::Cleanup;
use whereabouts::claims::release;
use whereabouts::claims::store::Claims;
use whereabouts::daemon::pool_cache;
use whereabouts::daemon::pool_cache::PoolCaches;
use whereabouts::daemon::serve::Service;
use whereabouts::metrics::Metrics;
use whereabouts::node_state::hints::HintStore;
use whereabouts::node_state::record::{Record, Stage};
use whereabouts::pool::held_claim::Claimed;
use whereabouts::pool::held_claim::HeldClaim;
use whereabouts::pool::request::{AllocationRequest, PoolRequest};
use whereabouts::rpc::wire::{ADD_LIMIT, DEL_LIMIT};
use whereabouts::rpc::wire::{Release, Request, Response};

use super::hints::SimulatedHints;
use super::layout::NAMESPACE;
use crate::sim::history::History;
use crate::sim::server::Server;

/// How long one tombstone may take.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// A node. Clones are the same one.
#[derive(Clone)]
pub struct Node {
    /// Its name.
    pub name: String,
    api: ApiClient,
    namespace: Arc<DnsLabel>,
    /// Woken in order, which tokio's watch channel does not promise.
    switched: Arc<Notify>,
    state: Arc<Mutex<State>>,
    history: History,
}

/// Whether the node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Power {
    On,
    Off,
}

struct State {
    power: Power,
    /// On disk.
    records: BTreeMap<String, Record>,
    /// On disk.
    tombstones: BTreeMap<String, Record>,
    /// On disk.
    hints: SimulatedHints,
    daemon: Daemon,
}

/// The node's daemon.
enum Daemon {
    /// The node has none.
    Never,
    /// It is down.
    Down,
    /// It serves; its tasks end with it.
    Up(Box<Service>, JoinSet<()>),
}

/// Why an ADD failed.
pub type AddError = String;

/// The daemon did not answer in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the daemon did not answer in time")]
struct Unanswered;

impl Node {
    /// A node that runs.
    pub async fn start(number: usize, server: &Server, history: &History, rng: &mut Rng) -> Self {
        let api = server.client(number).await;
        let namespace = Arc::new(DnsLabel::new(NAMESPACE).unwrap());
        let daemon = if rng.u8(..4) == 0 { Daemon::Never } else { Daemon::Down };
        let state = State {
            power: Power::On,
            records: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            hints: SimulatedHints::default(),
            daemon,
        };
        let node = Node {
            name: format!("n{number}"),
            api,
            namespace,
            switched: Arc::new(Notify::new()),
            state: Arc::new(Mutex::new(state)),
            history: history.clone(),
        };
        node.start_daemon();
        tokio::spawn(drain(node.clone()));
        node
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Whether it runs.
    pub fn power(&self) -> Power {
        self.state().power
    }

    /// Waits until it runs, or does not.
    pub async fn is(&self, wanted: Power) {
        loop {
            let mut switched = std::pin::pin!(self.switched.notified());
            switched.as_mut().enable();
            if self.power() == wanted {
                return;
            }
            switched.await;
        }
    }

    /// Does some work here; `None` if the power fails first.
    pub async fn while_on<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match select(std::pin::pin!(self.is(Power::Off)), std::pin::pin!(work)).await {
            Either::Left(_) => None,
            Either::Right((done, _)) => Some(done),
        }
    }

    /// The power fails.
    pub fn fail(&self) {
        self.stop_daemon();
        self.state().power = Power::Off;
        self.switched.notify_waiters();
    }

    /// The power is back. `disk` says whether the disk survived; then the records of what ran before are returned: it is to be deleted.
    pub fn recover(&self, disk: Disk) -> Vec<Record> {
        let mut state = self.state();
        if disk == Disk::Lost {
            state.records.clear();
            state.tombstones.clear();
            state.hints = SimulatedHints::default();
        }
        let left = state.records.values().cloned().collect();
        state.power = Power::On;
        drop(state);
        self.switched.notify_waiters();
        self.start_daemon();
        left
    }

    /// Starts the node's daemon, if it has one that is down.
    pub fn start_daemon(&self) {
        let mut state = self.state();
        if !matches!(state.daemon, Daemon::Down) || state.power == Power::Off {
            return;
        }
        let (metrics, _) = Metrics::new();
        // A folder that is not there has no hints.
        let (known, started) =
            PoolCaches::new(HintStore::open(std::path::Path::new("/nonexistent")), metrics.clone());
        let known = Arc::new(known);
        let (api, namespace) = (self.api.clone(), (*self.namespace).clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(pool_cache::follow(known.clone(), api.clone(), namespace.clone(), started));
        state.daemon = Daemon::Up(Box::new(Service::new(api, namespace, known, metrics)), tasks);
    }

    /// Kills the node's daemon, whatever it does.
    pub fn stop_daemon(&self) {
        let mut state = self.state();
        if let Daemon::Up(..) = state.daemon {
            state.daemon = Daemon::Down;
        }
    }

    /// Asks the daemon; `None` if there is none, or it fell before it answered. Nobody waits longer than `deadline`; what was asked is
    /// done to its end whether or not anyone waits for it.
    async fn ask(&self, request: Request, deadline: Deadline) -> Result<Asked, Unanswered> {
        let (reply, answered) = tokio::sync::oneshot::channel();
        let _task: AbortHandle = {
            let mut state = self.state();
            let Daemon::Up(service, tasks) = &mut state.daemon else { return Ok(Asked::Nobody) };
            let service = service.clone();
            while tasks.try_join_next().is_some() {}
            tasks.spawn(async move {
                let _ = reply.send(service.answer(request).await);
            })
        };
        match tokio::time::timeout_at(Instant::from_std(deadline.instant()), answered).await {
            Ok(answer) => Ok(answer.map_or(Asked::Interrupted, Asked::Answered)),
            Err(_elapsed) => Err(Unanswered),
        }
    }

    /// ADD.
    pub async fn add(&self, order: &AllocationRequest) -> Result<Vec<HeldClaim>, AddError> {
        let mut record = record_of(order);
        let file = file_name(&record.container_id, &record.if_name);
        self.state().records.insert(file.clone(), record.clone());
        match self.claim(order).await {
            Ok((claimed, stage)) => {
                record.claims = claimed.into_iter().map(|claimed| claimed.claim).collect();
                record.stage = stage;
                self.state().records.insert(file, record.clone());
                Ok(record.claims)
            }
            Err((error, left)) => {
                if left == Cleanup::NotNeeded {
                    self.state().records.remove(&file);
                }
                Err(error)
            }
        }
    }

    async fn claim(&self, order: &AllocationRequest) -> Result<(Vec<Claimed>, Stage), (AddError, Cleanup)> {
        let deadline = Deadline::after(ADD_LIMIT);
        let beginning = match self.ask(Request::Claim(Box::new(order.clone())), deadline).await {
            Ok(Asked::Answered(Response::Claimed(claimed))) => return Ok((claimed, Stage::Held)),
            Ok(Asked::Answered(Response::Refused(refusal))) => return Err((refusal.text, refusal.cleanup)),
            Ok(Asked::Answered(answer)) => return Err((format!("{answer:?}"), Cleanup::Needed)),
            Ok(Asked::Nobody) => PriorAttempt::Absent,
            Ok(Asked::Interrupted) => PriorAttempt::Interrupted,
            Err(unanswered) => return Err((unanswered.to_string(), Cleanup::Needed)),
        };
        let hints = self.state().hints.clone();
        let claims = Claims { api: &self.api, namespace: &self.namespace, deadline };
        let served = allocate::serve(&claims, order, &hints, beginning).await;
        let stage = if beginning == PriorAttempt::Absent { Stage::Held } else { Stage::Claiming };
        served.map(|claimed| (claimed, stage)).map_err(|failure| (failure.error.to_string(), failure.cleanup))
    }

    /// DEL: it always succeeds, and what could not be given back stays as a tombstone.
    pub async fn del(&self, container: &str, if_name: &str, podref: &str, pools: &[PoolRequest]) {
        let file = file_name(container, if_name);
        let known = self.state().records.get(&file).cloned();
        let release = known.map_or_else(
            || Release { record: unrecorded(container, if_name, podref), upstream: pools.to_vec() },
            |record| Release { record, upstream: Vec::new() },
        );
        let released = self.release(&release).await;
        let mut state = self.state();
        state.records.remove(&file);
        match released {
            Ok(()) => {
                let record = &release.record;
                let newer = |other: &Record| other.podref == record.podref && other.if_name == record.if_name;
                if !state.records.values().any(newer) {
                    state.hints.forget(record);
                }
            }
            Err(error) => {
                self.history.detail(|| format!("{container} leaves a tombstone: {error}"));
                state.tombstones.insert(file, release.record);
            }
        }
    }

    async fn release(&self, release: &Release) -> Result<(), String> {
        let deadline = Deadline::after(DEL_LIMIT);
        match self.ask(Request::Release(Box::new(release.clone())), deadline).await {
            Ok(Asked::Answered(Response::Done)) => return Ok(()),
            Ok(Asked::Answered(answer)) => return Err(format!("{answer:?}")),
            Ok(Asked::Nobody | Asked::Interrupted) => {}
            Err(unanswered) => return Err(unanswered.to_string()),
        }
        let hints = self.state().hints.clone();
        let claims = Claims { api: &self.api, namespace: &self.namespace, deadline };
        let released = release::release(&claims, &release.record, &release.upstream, &hints).await;
        released.map_err(|error| error.to_string())
    }

    async fn give_back(&self, file: &str, tombstone: &Record) {
        let deadline = Deadline::after(DRAIN_LIMIT);
        let claims = Claims { api: &self.api, namespace: &self.namespace, deadline };
        if claims.release(tombstone).await.is_ok() {
            self.state().tombstones.remove(file);
        }
    }
}

/// What came of asking the daemon, as `whereabouts::plugin::backend` tells it apart.
enum Asked {
    Answered(Response),
    Nobody,
    Interrupted,
}

/// What becomes of a disk when the power fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Disk {
    Kept,
    Lost,
}

/// Gives back what DELs could not, as long as the node runs.
async fn drain(node: Node) {
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        node.is(Power::On).await;
        let tombstones = node.state().tombstones.clone();
        for (file, tombstone) in &tombstones {
            node.while_on(node.give_back(file, tombstone)).await;
        }
    }
}

fn file_name(container: &str, if_name: &str) -> String {
    format!("{container}@{if_name}")
}

fn record_of(order: &AllocationRequest) -> Record {
    Record {
        container_id: order.claimant.container_id.clone(),
        if_name: order.claimant.if_name.clone(),
        podref: order.claimant.podref.clone(),
        network: "simulated".to_owned(),
        kubeconfig: None,
        namespace: None,
        stage: Stage::Claiming,
        claims: Vec::new(),
    }
}

fn unrecorded(container: &str, if_name: &str, podref: &str) -> Record {
    Record {
        container_id: container.to_owned(),
        if_name: if_name.to_owned(),
        podref: podref.to_owned(),
        network: "simulated".to_owned(),
        kubeconfig: None,
        namespace: None,
        stage: Stage::Claiming,
        claims: Vec::new(),
    }
}
