//! A node: its disk, its plugin, and on most nodes its daemon, which may crash at any time. Plugin and daemon share `whereabouts::claims`.
//! What only the plugin does (records, tombstones, the fallback without a daemon) is repeated here, in memory, after
//! `whereabouts::plugin::attach` and `whereabouts::plugin::backend`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use futures::future::{Either, select};
use node::client::ApiClient;
use node::deadline::Deadline;
use node::names::DnsLabel;
use tokio::sync::Notify;
use tokio::task::JoinSet;
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
use whereabouts::node_state::hints::NodeHints;
use whereabouts::node_state::record::{Record, Stage};
use whereabouts::pool::held_claim::Claimed;
use whereabouts::pool::held_claim::HeldClaim;
use whereabouts::pool::request::{AllocationRequest, Claimant, PoolRequest};
use whereabouts::rpc::wire::{ADD_LIMIT, DEL_LIMIT};
use whereabouts::rpc::wire::{Release, Request, Response};

use super::hints::SimulatedHints;
use super::layout::NAMESPACE;
use crate::sim::history::History;
use crate::sim::server::Server;

/// The time limit for the release of one tombstone.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// A node. Clones share it.
#[derive(Clone)]
pub struct Node {
    /// Its name.
    pub name: String,
    api: ApiClient,
    namespace: Arc<DnsLabel>,
    /// Notified when the power changes. Wakes its waiters in request of arrival; tokio's watch channel does not promise an request.
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
    /// On disk, by file name.
    records: BTreeMap<String, Record>,
    /// On disk, by file name.
    tombstones: BTreeMap<String, Record>,
    /// On disk.
    hints: SimulatedHints,
    daemon: Daemon,
}

/// The node's daemon.
enum Daemon {
    /// The node never has a daemon.
    Never,
    /// It does not run.
    Down,
    /// It runs. Its tasks end when the set is dropped.
    Up(Box<Service>, JoinSet<()>),
}

/// Why an ADD failed.
pub type AddError = String;

/// The daemon did not respond in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the daemon did not respond in time")]
struct DaemonTimeout;

impl Node {
    /// Starts a node. One in four has no daemon.
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

    /// Whether the node runs.
    pub fn power(&self) -> Power {
        self.state().power
    }

    /// Waits until the power is in the wanted state.
    pub async fn wait_for(&self, wanted: Power) {
        loop {
            let mut switched = std::pin::pin!(self.switched.notified());
            // Registered before the power is read, so that no change in between is missed.
            switched.as_mut().enable();
            if self.power() == wanted {
                return;
            }
            switched.await;
        }
    }

    /// Runs `work` on this node. `None` if the power fails first.
    pub async fn while_powered<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        // The power is polled first: a node that just failed finishes nothing.
        match select(std::pin::pin!(self.wait_for(Power::Off)), std::pin::pin!(work)).await {
            Either::Left(_) => None,
            Either::Right((done, _)) => Some(done),
        }
    }

    /// Cuts the power: plugins and the daemon stop where they are.
    pub fn fail(&self) {
        self.stop_daemon();
        self.state().power = Power::Off;
        self.switched.notify_waiters();
    }

    /// Turns the power on again, and returns the records that are still on disk: the containers that ran before the failure.
    pub fn recover(&self, disk: Disk) -> Vec<Record> {
        let mut state = self.state();
        if disk == Disk::Lost {
            state.records.clear();
            state.tombstones.clear();
            state.hints = SimulatedHints::default();
        }
        let earlier = state.records.values().cloned().collect();
        state.power = Power::On;
        drop(state);
        self.switched.notify_waiters();
        self.start_daemon();
        earlier
    }

    /// Starts the node's daemon, if it has one and it does not run.
    pub fn start_daemon(&self) {
        let mut state = self.state();
        if !matches!(state.daemon, Daemon::Down) || state.power == Power::Off {
            return;
        }
        let (metrics, _) = Metrics::new();
        // A directory that does not exist has no hints: the simulation must not touch the disk.
        let (caches, started) = PoolCaches::new(
            NodeHints::open(std::path::Path::new("/nonexistent")).of(&self.namespace),
            metrics.clone(),
        );
        let caches = Arc::new(caches);
        let (api, namespace) = (self.api.clone(), (*self.namespace).clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(pool_cache::follow(caches.clone(), api.clone(), namespace.clone(), started));
        state.daemon = Daemon::Up(Box::new(Service::new(api, namespace, caches, metrics)), tasks);
    }

    /// Kills the node's daemon in the middle of its work.
    pub fn stop_daemon(&self) {
        let mut state = self.state();
        if let Daemon::Up(..) = state.daemon {
            state.daemon = Daemon::Down;
        }
    }

    /// Sends a request to the daemon and waits for the response until `deadline`. The daemon completes the request even if nobody waits.
    async fn ask_daemon(&self, request: Request, deadline: Deadline) -> Result<DaemonReply, DaemonTimeout> {
        let (reply, response) = tokio::sync::oneshot::channel();
        {
            let mut state = self.state();
            let Daemon::Up(service, tasks) = &mut state.daemon else { return Ok(DaemonReply::NoDaemon) };
            let service = service.clone();
            // Frees the results of finished requests.
            while tasks.try_join_next().is_some() {}
            tasks.spawn(async move {
                let _ = reply.send(service.answer(request).await);
            });
        }
        match tokio::time::timeout_at(Instant::from_std(deadline.instant()), response).await {
            // The sender is dropped without a response when the daemon crashes.
            Ok(response) => Ok(response.map_or(DaemonReply::Interrupted, DaemonReply::Response)),
            Err(_elapsed) => Err(DaemonTimeout),
        }
    }

    /// Runs an ADD, and returns the claims of the attachment.
    pub async fn add(&self, request: &AllocationRequest) -> Result<Vec<HeldClaim>, AddError> {
        let Claimant { container_id, if_name, podref, .. } = &request.claimant;
        let mut record = new_record(container_id, if_name, podref);
        let file = file_name(&record.container_id, &record.if_name);
        self.state().records.insert(file.clone(), record.clone());
        match self.allocate(request).await {
            Ok((claimed, stage)) => {
                record.claims = claimed.into_iter().map(|claimed| claimed.claim).collect();
                record.stage = stage;
                self.state().records.insert(file, record.clone());
                Ok(record.claims)
            }
            Err((error, cleanup)) => {
                if cleanup == Cleanup::NotNeeded {
                    self.state().records.remove(&file);
                }
                Err(error)
            }
        }
    }

    async fn allocate(
        &self,
        request: &AllocationRequest,
    ) -> Result<(Vec<Claimed>, Stage), (AddError, Cleanup)> {
        let deadline = Deadline::after(ADD_LIMIT);
        let prior = match self.ask_daemon(Request::Claim(Box::new(request.clone())), deadline).await {
            Ok(DaemonReply::Response(Response::Claimed(allocated))) => {
                return Ok((allocated.claims, Stage::Held));
            }
            Ok(DaemonReply::Response(Response::Refused(refusal))) => {
                return Err((refusal.text, refusal.cleanup));
            }
            Ok(DaemonReply::Response(other)) => return Err((format!("{other:?}"), Cleanup::Needed)),
            Ok(DaemonReply::NoDaemon) => PriorAttempt::Absent,
            Ok(DaemonReply::Interrupted) => PriorAttempt::Interrupted,
            Err(timeout) => return Err((timeout.to_string(), Cleanup::Needed)),
        };
        let hints = self.state().hints.clone();
        let claims = Claims { api: &self.api, namespace: &self.namespace, deadline };
        let served = allocate::serve(&claims, request, &hints, prior).await;
        // A create of the crashed daemon may still reach the API server, so DEL must search by label too.
        let stage = if prior == PriorAttempt::Absent { Stage::Held } else { Stage::Claiming };
        served.map(|claimed| (claimed, stage)).map_err(|failure| (failure.error.to_string(), failure.cleanup))
    }

    /// Runs a DEL. It always succeeds. What it cannot release stays on the node as a tombstone.
    pub async fn del(&self, container: &str, if_name: &str, podref: &str, pools: &[PoolRequest]) {
        let file = file_name(container, if_name);
        let record = self.state().records.get(&file).cloned();
        let release = record.map_or_else(
            || Release { record: new_record(container, if_name, podref), upstream: pools.to_vec() },
            |record| Release { record, upstream: Vec::new() },
        );
        let released = self.release(&release).await;
        // The lock is taken only now: a lock across `await` would block every other task of this thread.
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
                self.history.note(|| format!("{container} leaves a tombstone: {error}"));
                state.tombstones.insert(file, release.record);
            }
        }
    }

    async fn release(&self, release: &Release) -> Result<(), String> {
        self.state().hints.remove_pins(&release.record);
        let deadline = Deadline::after(DEL_LIMIT);
        match self.ask_daemon(Request::Release(Box::new(release.clone())), deadline).await {
            Ok(DaemonReply::Response(Response::Done)) => return Ok(()),
            Ok(DaemonReply::Response(other)) => return Err(format!("{other:?}")),
            Ok(DaemonReply::NoDaemon | DaemonReply::Interrupted) => {}
            Err(timeout) => return Err(timeout.to_string()),
        }
        let claims = Claims { api: &self.api, namespace: &self.namespace, deadline };
        let released = release::release(&claims, &release.record, &release.upstream).await;
        released.map_err(|error| error.to_string())
    }

    async fn release_tombstone(&self, file: &str, tombstone: &Record) {
        self.state().hints.remove_pins(tombstone);
        let deadline = Deadline::after(DRAIN_LIMIT);
        let claims = Claims { api: &self.api, namespace: &self.namespace, deadline };
        if claims.release(tombstone).await.is_ok() {
            self.state().tombstones.remove(file);
        }
    }
}

/// The result of a request to the daemon, see `whereabouts::plugin::backend`.
enum DaemonReply {
    Response(Response),
    /// No daemon runs.
    NoDaemon,
    /// The daemon crashed before it responded. It may have done a part of the work.
    Interrupted,
}

/// What a power failure does to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Disk {
    Kept,
    Lost,
}

/// Releases the claims of tombstones every two seconds, while the node runs.
async fn drain(node: Node) {
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        node.wait_for(Power::On).await;
        let tombstones = node.state().tombstones.clone();
        for (file, tombstone) in &tombstones {
            node.while_powered(node.release_tombstone(file, tombstone)).await;
        }
    }
}

fn file_name(container: &str, if_name: &str) -> String {
    format!("{container}@{if_name}")
}

/// The record of an attachment before its first claim.
fn new_record(container: &str, if_name: &str, podref: &str) -> Record {
    Record {
        container_id: container.to_owned(),
        if_name: if_name.to_owned(),
        podref: podref.to_owned(),
        network: "simulated".to_owned(),
        kubeconfig: None,
        namespace: None,
        pod_uid: None,
        stage: Stage::Claiming,
        claims: Vec::new(),
    }
}
