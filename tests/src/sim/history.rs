//! The events of a run, in order. [`checker`](super::checker) checks them.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

/// A pod. The UID tells pods of the same name apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodId {
    /// `namespace/name`.
    pub podref: String,
    /// The UID of its object; for a static pod the one that the node reports.
    pub uid: String,
}

/// An interface of a sandbox. Its text is `container@interface`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment {
    /// The container's ID.
    pub container: String,
    /// The name of the interface.
    pub if_name: String,
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.container, self.if_name)
    }
}

/// An address of an attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldAddress {
    /// Within each scope, addresses must be unique: the pool, and `shared` if the claim is named by address alone; each of one namespace.
    pub scopes: Vec<String>,
    /// The address.
    pub ip: IpAddr,
    /// Its claim, as `namespace/name`; empty if Whereabouts gave the address.
    pub claim: String,
}

/// The owner of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ClaimOwner {
    pub podref: String,
    pub pod_uid: Option<String>,
    pub attachment: Attachment,
    pub kind: OwnerKind,
}

/// Who a claim belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum OwnerKind {
    Pod,
    /// Its caller named no pod UID.
    Container,
}

/// Who makes an attachment's claims again if somebody deletes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// The node's daemon.
    Daemon,
    /// Nobody: the node has no daemon, or the claims name no pod UID.
    Nobody,
}

/// Whose plugin ran a DEL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Releaser {
    Ours,
    Whereabouts,
}

/// Whether the client of a write still waited for the response when the server received it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// It did.
    Waiting,
    /// It had timed out, or its process was dead. Nothing that our processes do can undo such a write at once.
    Gone,
    /// There was no client: the simulation changed the object itself, as somebody with kubectl would.
    ByHand,
}

/// An event of a run.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Event {
    /// A pod object was created. The pod needs an address on each of these interfaces.
    PodCreated { pod: PodId, interfaces: Vec<String> },
    /// A pod object was deleted.
    PodDeleted(PodId),
    /// Whereabouts gave these addresses. They get claims, of any name, when the pool is adopted.
    UpstreamAttached { attachment: Attachment, pod: PodId, addresses: Vec<HeldAddress> },
    /// An ADD begins. It must end by `deadline`, counted from the start of the run. If `earlier` still holds its addresses when the ADD ends,
    /// the new attachment must get the same.
    AddStarted { attachment: Attachment, deadline: Duration, earlier: Option<Attachment> },
    /// An ADD succeeded. The attachment now holds these addresses.
    AddSucceeded { attachment: Attachment, pod: PodId, addresses: Vec<HeldAddress>, keeper: Keeper },
    /// An ADD failed.
    AddFailed { attachment: Attachment, error: String },
    /// The process of an ADD was killed, or its caller was and the process lives on.
    AddKilled { attachment: Attachment },
    /// A DEL begins. The attachment holds no address from here on. The DEL must end by `deadline`.
    DelStarted { attachment: Attachment, deadline: Duration },
    /// A DEL succeeded.
    DelSucceeded { attachment: Attachment, by: Releaser },
    /// A DEL failed, which must never be.
    DelFailed { attachment: Attachment, error: String },
    /// The container is gone without a DEL. It holds no address from here on.
    ContainerLost { attachment: Attachment },
    /// A node lost its disk, and with it these tombstones: nobody knows any more that their claims must be deleted.
    TombstonesLost { attachments: Vec<Attachment> },
    /// Somebody deletes this claim, which is not theirs.
    ClaimDeletedByHand { claim: String },
    /// The API server created, changed or deleted a claim.
    ClaimChanged { claim: String, after: Option<ClaimOwner>, sender: Sender },
    /// A daemon was killed, or the power of a node failed.
    ProcessesKilled,
    /// The faults end, and almost no pod is created or deleted any more.
    FaultsEnded,
    /// The end of the run: the grace period and two passes of the leader after [`Event::FaultsEnded`]. `tombstones` are left on nodes without a
    /// daemon, where only the next call drains them.
    RunEnded { tombstones: Vec<Attachment> },
    /// Text for a person who reads the history. The checker ignores it.
    Note(String),
}

/// An event and its time, counted from the start of the run.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Entry {
    pub at: Duration,
    pub event: Event,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3}  {:?}", self.at.as_secs_f64(), self.event)
    }
}

/// Which events a history keeps. Notes are many: one for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Detail {
    Events,
    Everything,
}

/// The history of a run in progress. Clones share it.
#[derive(Clone)]
pub struct History {
    start: Instant,
    detail: Detail,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl History {
    /// An empty history. Its time starts now.
    pub fn new(detail: Detail) -> Self {
        History { start: Instant::now(), detail, entries: Arc::default() }
    }

    /// The time since the start of the run.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The time of `instant`, counted from the start of the run.
    pub fn time_of(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.start)
    }

    /// Records an event that happens now.
    pub fn record(&self, event: Event) {
        let at = self.now();
        self.lock().push(Entry { at, event });
    }

    /// Records a note, if the run keeps notes.
    pub fn note(&self, text: impl FnOnce() -> String) {
        if self.detail == Detail::Everything {
            self.record(Event::Note(text()));
        }
    }

    /// Takes all entries out of the history.
    pub fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap()
    }
}
