//! A node: its disk, its clock, its plugin, and on most nodes its daemon, which may crash at any time. The disk is a real directory. Plugin and
//! daemon are the production code: [`Attachments`] over a [`NodeTransport`], and [`whereabouts::daemon::node_part`].

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use cni::names::{ContainerId, IfName};
use fastrand::Rng;
use futures::future::{Either, select};
use k8s_openapi::jiff::SignedDuration;
use node::client::{ApiClient, ConnectError};
use node::deadline::Deadline;
use node::names::DnsLabel;
use node::rpc::RpcError;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use whereabouts::daemon::serve::Service;
use whereabouts::daemon::{NodePart, node_part};
use whereabouts::metrics::Metrics;
use whereabouts::node_state::installation::{Installation, Writer};
use whereabouts::node_state::record::{Record, Stage};
use whereabouts::plugin::attachments::Attachments;
use whereabouts::plugin::transport::Transport;
use whereabouts::pool::request::{AllocationRequest, PoolRequest};
use whereabouts::rpc::error::CallError;
use whereabouts::rpc::wire::{Release, Request, Response, SOCKET};

use super::clock::OnClock;
use super::networks::{ELSEWHERE, NAMESPACE};
use super::scenario::Scenario;
use crate::sim::history::{Attachment, Event, History, Keeper};
use crate::sim::server::Server;

/// The kubeconfig in the records. The simulation never reads it.
const KUBECONFIG: &str = "/etc/cni/net.d/whereabouts.d/whereabouts.kubeconfig";

/// How wrong a node's clock may be, in seconds.
const WRONG_BY: i64 = 900;

/// A node. Clones share it.
#[derive(Clone)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its number, from 0 on.
    pub number: usize,
    api: ApiClient,
    /// The namespace that its daemon serves; `None` if it never has a daemon.
    served: Option<&'static str>,
    clock: SignedDuration,
    /// The directory that has its disks: the first one, and one for each that was lost.
    root: PathBuf,
    /// Notified when the power changes. Wakes its waiters in order of arrival; tokio's watch channel does not promise an order.
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

/// What a power failure does to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Disk {
    Kept,
    Lost,
}

struct State {
    power: Power,
    /// The number of disks that the node lost.
    lost_disks: usize,
    /// How often our plugin was replaced by Whereabouts'.
    replaced: usize,
    daemon: Daemon,
    /// The tasks of the daemon before, which a newer one has replaced: what it does in the background, and the requests that it still serves.
    replaced_daemon: Option<JoinSet<()>>,
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

impl Node {
    /// Starts a node, whose disk is below `root`. The first one has no daemon and serves every namespace. Of the others one in four has none
    /// either, and the last one may have a daemon of the namespace [`ELSEWHERE`].
    pub async fn start(
        number: usize,
        scenario: Scenario,
        root: &Path,
        server: &Server,
        history: &History,
        rng: &mut Rng,
    ) -> Self {
        let served = match rng.u8(..8) {
            _ if number == 0 => None,
            0 | 1 if scenario == Scenario::Ours => None,
            2 if number == 3 => Some(ELSEWHERE),
            _ => Some(NAMESPACE),
        };
        let daemon = if served.is_some() { Daemon::Down } else { Daemon::Never };
        let clock = SignedDuration::from_secs(rng.i64(-WRONG_BY..=WRONG_BY));
        let node = Node {
            name: format!("n{number}"),
            number,
            api: server.client(number).await,
            served,
            clock,
            root: root.join(format!("n{number}")),
            switched: Arc::new(Notify::new()),
            state: Arc::new(Mutex::new(State {
                power: Power::On,
                lost_disks: 0,
                replaced: 0,
                daemon,
                replaced_daemon: None,
            })),
            history: history.clone(),
        };
        history.note(|| format!("{} serves {served:?}, its clock is wrong by {clock:?}", node.name));
        node
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Whether a request for claims in this namespace can be served here at all.
    pub fn serves(&self, namespace: &str) -> bool {
        self.served.is_none_or(|served| served == namespace)
    }

    /// Who keeps the claims of attachments on this node, if they name a pod UID.
    pub const fn keeper(&self) -> Keeper {
        if self.served.is_some() { Keeper::Daemon } else { Keeper::Nobody }
    }

    /// The directory of records, tombstones and hints.
    fn disk(&self) -> PathBuf {
        self.root.join(format!("disk{}", self.state().lost_disks))
    }

    fn attachments(&self) -> Attachments<NodeTransport> {
        let installation = Installation::named(self.state().replaced.to_string());
        Attachments::open(&self.disk(), Some(installation), NodeTransport { node: self.clone() }).unwrap()
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

    /// Runs `work` on this node, by its clock. `None` if the power fails first.
    pub async fn while_powered<T>(&self, work: impl Future<Output = T> + Send) -> Option<T> {
        let work = OnClock::new(self.clock, work);
        // The power is polled first: a node that just failed finishes nothing.
        match select(std::pin::pin!(self.wait_for(Power::Off)), work).await {
            Either::Left(_) => None,
            Either::Right((done, _)) => Some(done),
        }
    }

    /// Cuts the power: plugins and the daemons stop where they are.
    pub fn fail(&self) {
        self.stop_daemon();
        self.end_replaced_daemon();
        self.state().power = Power::Off;
        self.switched.notify_waiters();
        self.history.record(Event::ProcessesKilled);
    }

    /// Turns the power on again, and returns the records that are still on disk: the containers that ran before the failure.
    pub fn recover(&self, disk: Disk) -> Vec<Record> {
        if disk == Disk::Lost {
            let attachments = self.tombstones();
            self.history.record(Event::TombstonesLost { attachments });
            self.state().lost_disks += 1;
        }
        let earlier = self.attachments().records().all().unwrap();
        self.state().power = Power::On;
        self.switched.notify_waiters();
        self.start_daemon();
        earlier
    }

    /// Starts the node's daemon, if it has one and it does not run.
    pub fn start_daemon(&self) {
        let disk = self.disk();
        let mut state = self.state();
        let (Daemon::Down, Power::On, Some(namespace)) = (&state.daemon, state.power, self.served) else {
            return;
        };
        let (metrics, _) = Metrics::new();
        let namespace = DnsLabel::new(namespace).unwrap();
        let part = node_part(self.api.clone(), namespace, &disk, &self.name, metrics).unwrap();
        let NodePart { service, tasks } = part;
        let mut running = JoinSet::new();
        tasks.into_iter().for_each(|task| drop(running.spawn(OnClock::new(self.clock, task))));
        state.daemon = Daemon::Up(Box::new(service), running);
    }

    /// Replaces our plugin by Whereabouts'. When ours comes back, it is another installation.
    pub fn replace_plugin(&self) {
        self.state().replaced += 1;
    }

    /// Kills the node's daemon in the middle of its work.
    pub fn stop_daemon(&self) {
        let mut state = self.state();
        if let Daemon::Up(..) = state.daemon {
            state.daemon = Daemon::Down;
            self.history.record(Event::ProcessesKilled);
        }
    }

    /// Starts a newer daemon beside the one that runs, as a rolling update does. Requests go to the newer one from here on. The older one serves those
    /// that it has, and does all else that a daemon does, until [`end_replaced_daemon`](Self::end_replaced_daemon).
    pub fn replace_daemon(&self) {
        {
            let mut state = self.state();
            let Daemon::Up(_, tasks) = std::mem::replace(&mut state.daemon, Daemon::Down) else { return };
            state.replaced_daemon = Some(tasks);
        }
        self.start_daemon();
    }

    /// Kills the older one of two daemons, in the middle of its work.
    pub fn end_replaced_daemon(&self) {
        if self.state().replaced_daemon.take().is_some() {
            self.history.record(Event::ProcessesKilled);
        }
    }

    /// Runs an ADD on an interface, and returns the attachment's record.
    pub async fn add(&self, request: &AllocationRequest) -> Result<Record, CallError> {
        let claimant = &request.claimant;
        let attachment =
            Attachment { container: claimant.container_id.clone(), if_name: claimant.if_name.clone() };
        let mut record = new_record(&attachment, &claimant.podref, request.namespace.clone());
        record.pod_uid.clone_from(&claimant.pod_uid);
        self.attachments().attach(request, record).await
    }

    /// Runs a DEL. Without a record it releases what it finds in the namespace and in these pools.
    pub async fn del(
        &self,
        attachment: &Attachment,
        podref: &str,
        namespace: &str,
        pools: &[PoolRequest],
    ) -> Result<(), CallError> {
        let container = ContainerId::parse(&attachment.container).unwrap();
        let if_name = IfName::parse(&attachment.if_name).unwrap();
        let unrecorded = || Release {
            record: new_record(attachment, podref, Some(DnsLabel::new(namespace).unwrap())),
            upstream: pools.to_vec(),
            writer: Writer::Unknown,
        };
        let warn = |text: &str| self.history.note(|| format!("{attachment}: {text}"));
        self.attachments().detach(&container, &if_name, unrecorded, warn).await
    }

    /// The tombstones on this node, if only the next call drains them.
    pub fn lasting_tombstones(&self) -> Vec<Attachment> {
        if self.served.is_some() {
            return Vec::new();
        }
        self.tombstones()
    }

    fn tombstones(&self) -> Vec<Attachment> {
        self.attachments().records().tombstones().unwrap().iter().map(attachment_of).collect()
    }
}

/// The attachment of a record.
pub fn attachment_of(record: &Record) -> Attachment {
    Attachment { container: record.container_id.clone(), if_name: record.if_name.clone() }
}

/// The record of an attachment before its first claim.
fn new_record(attachment: &Attachment, podref: &str, namespace: Option<DnsLabel>) -> Record {
    Record {
        container_id: attachment.container.clone(),
        if_name: attachment.if_name.clone(),
        podref: podref.to_owned(),
        network: "simulated".to_owned(),
        kubeconfig: Some(KUBECONFIG.into()),
        namespace,
        pod_uid: None,
        stage: Stage::Claiming,
        claims: Vec::new(),
    }
}

/// The way of a node's plugin to its daemon and to the API server.
#[derive(Clone)]
pub struct NodeTransport {
    node: Node,
}

impl Transport for NodeTransport {
    /// The daemon completes the request even if nobody waits.
    async fn ask(&self, request: &Request, deadline: Deadline) -> Result<Response, RpcError> {
        let (reply, response) = oneshot::channel();
        {
            let mut state = self.node.state();
            let Daemon::Up(service, tasks) = &mut state.daemon else {
                let source = std::io::ErrorKind::ConnectionRefused.into();
                return Err(RpcError::Absent { socket: SOCKET.into(), source });
            };
            // Frees the results of finished requests.
            while tasks.try_join_next().is_some() {}
            let (service, request) = (service.clone(), request.clone());
            tasks.spawn(OnClock::new(self.node.clock, async move {
                let _ = reply.send(service.answer(request).await);
            }));
        }
        let waited = deadline.remaining();
        match tokio::time::timeout_at(Instant::from_std(deadline.instant()), response).await {
            Ok(Ok(response)) => Ok(response),
            // The sender is dropped without a response when the daemon crashes.
            Ok(Err(_)) => Err(RpcError::Broken { socket: SOCKET.into(), reason: "it crashed".to_owned() }),
            Err(_elapsed) => Err(RpcError::TimedOut { socket: SOCKET.into(), waited }),
        }
    }

    async fn connect(&self, _kubeconfig: &Path) -> Result<ApiClient, ConnectError> {
        Ok(self.node.api.clone())
    }
}
