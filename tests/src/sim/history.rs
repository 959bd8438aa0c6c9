//! The events of a run, in order, and the properties that must hold. The checker reads only the history, not the final state: a property
//! that fails for a moment has failed.

use std::collections::{BTreeMap, BTreeSet};
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

/// An address of an attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldAddress {
    /// Within each scope, addresses must be unique: the pool, and `shared` if the claim is named by address alone.
    pub scopes: Vec<String>,
    /// The address.
    pub ip: IpAddr,
    /// The name of its claim.
    pub claim: String,
}

/// The owner of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ClaimOwner {
    pub podref: String,
    pub pod_uid: Option<String>,
    pub container: String,
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

/// An event of a run. A container is named by its ID.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Event {
    /// A pod object was created.
    PodCreated(PodId),
    /// A pod object was deleted.
    PodDeleted(PodId),
    /// An attachment that Whereabouts made before the run. Its allocation gets a claim, of any name, when the pool is adopted.
    UpstreamAttachment { container: String, pod: PodId, scope: String, ip: IpAddr },
    /// An ADD begins. It must end by `deadline`, counted from the start of the run.
    AddStarted { container: String, pod: PodId, deadline: Duration },
    /// An ADD succeeded. The attachment now holds these addresses.
    AddSucceeded { container: String, pod: PodId, addresses: Vec<HeldAddress> },
    /// An ADD failed.
    AddFailed { container: String, error: String },
    /// The process of an ADD was killed.
    AddKilled { container: String },
    /// A DEL begins. The attachment holds no address from here on.
    DelStarted { container: String },
    /// A DEL succeeded.
    DelSucceeded { container: String },
    /// The container is gone without a DEL. It holds no address from here on.
    ContainerLost { container: String },
    /// The API server created, changed or deleted a claim.
    ClaimChanged { claim: String, before: Option<ClaimOwner>, after: Option<ClaimOwner> },
    /// The faults end, and almost no pod is created or deleted any more.
    FaultsEnded,
    /// The end of the run: the grace period and two passes of the leader after [`Event::FaultsEnded`].
    RunEnded,
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

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Violation {
    /// Two live attachments have the same address.
    #[error("{second} was given {ip} (scope {scope}) while {first} still has it")]
    Duplicate { ip: IpAddr, scope: String, first: String, second: String },
    /// Another container became the owner of a live attachment's claim.
    #[error("the claim {claim} of the live container {container} now belongs to {after}")]
    OwnerChanged { claim: String, container: String, after: String },
    /// A live attachment's claim was deleted.
    #[error("the claim {claim} of the live container {container} was deleted")]
    ClaimDeleted { claim: String, container: String },
    /// An ADD succeeded, but its container does not own the claim.
    #[error("the ADD of {container} returned the claim {claim}, whose owner is {owner}")]
    NotOwner { claim: String, container: String, owner: String },
    /// An ADD ended after its deadline.
    #[error("the ADD of {container} ended {late:?} after its deadline")]
    Late { container: String, late: Duration },
    /// A claim still exists at the end although its pod is gone.
    #[error("the claim {claim} still exists, but its pod {podref} is gone")]
    Leaked { claim: String, podref: String },
    /// A pod has no address after the faults ended, although its pool has one for every pod.
    #[error("{podref} has no address, although its pool has one for every pod")]
    Starved { podref: String },
    /// The run had too little load to prove anything.
    #[error("the run did only {operations} operations: too few to prove anything")]
    TooFewOperations { operations: usize },
}

/// Counts of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// ADDs that succeeded.
    pub adds: usize,
    /// ADDs that failed.
    pub failed: usize,
    /// ADDs that were killed.
    pub killed: usize,
    /// DELs that began.
    pub dels: usize,
    /// Attachments that ended without a DEL.
    pub lost: usize,
    /// Creates, changes and deletes of claims.
    pub commits: usize,
    /// Claims that exist at the end, with an existing pod, and that no live attachment uses.
    pub unused: usize,
}

impl Counts {
    /// The number of ADDs and DELs.
    pub const fn operations(&self) -> usize {
        self.adds + self.failed + self.killed + self.dels
    }
}

/// The first violation of a run, and the number of entries up to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Failure {
    pub violation: Violation,
    pub entries: usize,
}

/// What the checker must know about a run.
#[derive(Clone, Copy, Debug)]
pub struct RunFacts {
    /// The prefix of the claim names in the pool with exactly one address for each pod.
    pub full_pool: &'static str,
    /// The number of operations below which the run proves nothing.
    pub min_operations: usize,
}

/// Checks a history, up to the first violation.
pub fn check(entries: &[Entry], facts: RunFacts) -> Result<Counts, Failure> {
    let mut checker = Checker::default();
    for (at, entry) in entries.iter().enumerate() {
        let applied = checker.apply(entry, facts.full_pool);
        applied.map_err(|violation| Failure { violation, entries: at + 1 })?;
    }
    let operations = checker.counts.operations();
    if operations < facts.min_operations {
        return Err(Failure {
            violation: Violation::TooFewOperations { operations },
            entries: entries.len(),
        });
    }
    Ok(checker.counts)
}

/// The state of a run, up to one of its events.
#[derive(Default)]
struct Checker {
    pods: BTreeSet<PodId>,
    claims: BTreeMap<String, ClaimOwner>,
    /// The pod and the addresses of each live attachment, by container.
    live: BTreeMap<String, (PodId, Vec<HeldAddress>)>,
    /// The live attachment that holds an address, by scope and address.
    holders: BTreeMap<(String, IpAddr), String>,
    /// The live attachment that uses a claim, by the claim's name.
    users: BTreeMap<String, String>,
    /// Live attachments that Whereabouts made before the run.
    upstream: BTreeSet<String>,
    deadlines: BTreeMap<String, Duration>,
    counts: Counts,
}

impl Checker {
    fn apply(&mut self, entry: &Entry, full_pool: &str) -> Result<(), Violation> {
        match &entry.event {
            Event::PodCreated(pod) => drop(self.pods.insert(pod.clone())),
            Event::PodDeleted(pod) => drop(self.pods.remove(pod)),
            Event::UpstreamAttachment { container, pod, scope, ip } => {
                self.upstream.insert(container.clone());
                let address = HeldAddress { scopes: vec![scope.clone()], ip: *ip, claim: String::new() };
                self.attach(container, pod, &[address])?;
            }
            Event::AddStarted { container, deadline, .. } => {
                self.deadlines.insert(container.clone(), *deadline);
            }
            Event::AddSucceeded { container, pod, addresses } => {
                self.counts.adds += 1;
                self.check_deadline(container, entry.at)?;
                self.check_owner(container, addresses)?;
                self.attach(container, pod, addresses)?;
            }
            Event::AddFailed { container, .. } => {
                self.counts.failed += 1;
                self.check_deadline(container, entry.at)?;
            }
            Event::AddKilled { .. } => self.counts.killed += 1,
            Event::DelStarted { container } => {
                self.counts.dels += 1;
                self.detach(container);
            }
            Event::ContainerLost { container } => {
                self.counts.lost += 1;
                self.detach(container);
            }
            Event::ClaimChanged { claim, before: _, after } => self.change_claim(claim, after.as_ref())?,
            Event::RunEnded => self.check_end(full_pool)?,
            Event::DelSucceeded { .. } | Event::FaultsEnded | Event::Note(_) => {}
        }
        Ok(())
    }

    fn check_deadline(&mut self, container: &str, at: Duration) -> Result<(), Violation> {
        // The timer of the runtime has a resolution of 1 ms; a deadline can be rounded up twice.
        const RESOLUTION: Duration = Duration::from_millis(2);
        let late = self.deadlines.remove(container).map(|deadline| at.saturating_sub(deadline));
        match late.filter(|late| *late > RESOLUTION) {
            Some(late) => Err(Violation::Late { container: container.to_owned(), late }),
            None => Ok(()),
        }
    }

    fn check_owner(&self, container: &str, addresses: &[HeldAddress]) -> Result<(), Violation> {
        for HeldAddress { claim, .. } in addresses {
            let owner = self.claims.get(claim).map(|owner| owner.container.as_str());
            if owner != Some(container) {
                let owner = owner.map_or_else(|| "nobody".to_owned(), str::to_owned);
                let (claim, container) = (claim.clone(), container.to_owned());
                return Err(Violation::NotOwner { claim, container, owner });
            }
        }
        Ok(())
    }

    fn attach(&mut self, container: &str, pod: &PodId, addresses: &[HeldAddress]) -> Result<(), Violation> {
        for HeldAddress { scopes, ip, claim } in addresses {
            for scope in scopes {
                // Two claims of different names can hold the same address, so uniqueness is checked by address.
                let earlier = self.holders.insert((scope.clone(), *ip), container.to_owned());
                if let Some(first) = earlier {
                    let (scope, second) = (scope.clone(), container.to_owned());
                    return Err(Violation::Duplicate { ip: *ip, scope, first, second });
                }
            }
            self.users.insert(claim.clone(), container.to_owned());
        }
        self.live.insert(container.to_owned(), (pod.clone(), addresses.to_vec()));
        Ok(())
    }

    fn detach(&mut self, container: &str) {
        let Some((_, addresses)) = self.live.remove(container) else { return };
        if self.upstream.remove(container) {
            self.users.retain(|_, user| user != container);
        }
        for HeldAddress { scopes, ip, claim } in addresses {
            scopes.into_iter().for_each(|scope| drop(self.holders.remove(&(scope, ip))));
            self.users.remove(&claim);
        }
    }

    fn change_claim(&mut self, claim: &str, after: Option<&ClaimOwner>) -> Result<(), Violation> {
        self.counts.commits += 1;
        match after {
            Some(owner) => self.claims.insert(claim.to_owned(), owner.clone()),
            None => self.claims.remove(claim),
        };
        // The claim of an upstream attachment has no name before the pool is adopted.
        if let Some(owner) = after.filter(|owner| self.upstream.contains(&owner.container)) {
            self.users.insert(claim.to_owned(), owner.container.clone());
        }
        let Some(user) = self.users.get(claim) else { return Ok(()) };
        let (claim, container) = (claim.to_owned(), user.clone());
        match after {
            Some(owner) if owner.container == *user => Ok(()),
            Some(owner) => Err(Violation::OwnerChanged { claim, container, after: owner.container.clone() }),
            None => Err(Violation::ClaimDeleted { claim, container }),
        }
    }

    fn check_end(&mut self, full_pool: &str) -> Result<(), Violation> {
        let mut excused = 0;
        for (claim, owner) in &self.claims {
            // A claim without a pod is a manual reservation.
            if owner.podref.is_empty() {
                continue;
            }
            let is_owner = |pod: &&PodId| {
                pod.podref == owner.podref && owner.pod_uid.as_ref().is_none_or(|uid| *uid == pod.uid)
            };
            // The leader reclaims such a claim only if it saw the pod, which a new leader did not.
            let may_stay = owner.kind == OwnerKind::Container;
            if !may_stay && !self.pods.iter().any(|pod| is_owner(&pod)) {
                return Err(Violation::Leaked { claim: claim.clone(), podref: owner.podref.clone() });
            }
            let is_unused = self.users.get(claim) != Some(&owner.container);
            self.counts.unused += usize::from(is_unused);
            excused += usize::from(is_unused && claim.starts_with(full_pool));
        }
        let attached: BTreeSet<&PodId> = self.live.values().map(|(pod, _)| pod).collect();
        let mut without_address = self.pods.iter().filter(|pod| !attached.contains(pod));
        // A pod can hold two claims: its container ended without a DEL (the node lost its disk), or a delayed create arrived after the ADD
        // had taken another address. In a pool with exactly one address for each pod, every such claim leaves one other pod without.
        match without_address.nth(excused) {
            Some(pod) => Err(Violation::Starved { podref: pod.podref.clone() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
