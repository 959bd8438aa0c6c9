//! What happened in a run, in order, and what must never have happened. The judge reads the history alone, never the end state of the
//! world: what went wrong for a moment went wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::world::layout::FULL;

/// A pod: its name and which of all that had the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodId {
    /// `namespace/name`.
    pub podref: String,
    /// The UID of its object.
    pub uid: String,
}

/// An address that an attachment has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Among whose addresses it must differ from each other: the pool's, and those of all pools that share.
    pub scopes: Vec<String>,
    /// The address.
    pub ip: IpAddr,
    /// The name of its claim.
    pub claim: String,
}

/// Whose a claim is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Owner {
    pub podref: String,
    pub pod_uid: Option<String>,
    pub container: String,
}

/// Something that happened. Containers are named by their IDs.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Event {
    /// A pod's object is there.
    PodMade(PodId),
    /// It is gone.
    PodGone(PodId),
    /// An attachment that Whereabouts had made before the run; its address needs no claim yet, and what it will be called is open.
    Found { container: String, pod: PodId, scope: String, ip: IpAddr },
    /// An ADD begins; it is to end by then.
    AddStarted { container: String, pod: PodId, deadline: Duration },
    /// It succeeded: from now on the attachment has its addresses.
    Attached { container: String, pod: PodId, held: Vec<Held> },
    /// It failed.
    AddFailed { container: String, error: String },
    /// Its process was killed.
    AddKilled { container: String },
    /// A DEL begins: from now on the attachment has no addresses.
    DelStarted { container: String },
    /// The DEL succeeded.
    DelEnded { container: String },
    /// Its node or sandbox died without a DEL: it has no addresses any more.
    Died { container: String },
    /// A claim was written or deleted at the API server.
    Committed { claim: String, before: Option<Owner>, after: Option<Owner> },
    /// From now on nothing fails, and no pod comes or goes.
    Calm,
    /// The grace time and two passes of the leader are over since.
    Over,
    /// For the reader.
    Note(String),
}

/// An event and when it happened, from the beginning of the run.
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

/// Notes are many and only for a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Detail {
    Events,
    Everything,
}

/// The history of a run in the making. Clones share it.
#[derive(Clone)]
pub struct History {
    start: Instant,
    detail: Detail,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl History {
    /// One that begins now.
    pub fn new(detail: Detail) -> Self {
        History { start: Instant::now(), detail, entries: Arc::default() }
    }

    /// Since it began.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// When a point in time is, on its clock.
    pub fn at(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.start)
    }

    /// Something happens now.
    pub fn note(&self, event: Event) {
        let at = self.now();
        self.lock().push(Entry { at, event });
    }

    /// Something happens now that only a reader wants to know.
    pub fn detail(&self, text: impl FnOnce() -> String) {
        if self.detail == Detail::Everything {
            self.note(Event::Note(text()));
        }
    }

    /// All of it.
    pub fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap()
    }
}

/// What must never happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Violation {
    /// Two live attachments have one address.
    #[error("{ip} ({scope}) was given to {second} while {first} had it")]
    Duplicate { ip: IpAddr, scope: String, first: String, second: String },
    /// An attachment lives and its claim is another's.
    #[error("the claim {claim} of {container}, which lives, became {after}'s")]
    LostOwner { claim: String, container: String, after: String },
    /// An attachment lives and its claim was deleted.
    #[error("the claim {claim} of {container}, which lives, was deleted")]
    Released { claim: String, container: String },
    /// An ADD succeeded without a claim.
    #[error("{container} was given {claim}, which is {owner}")]
    NeverHeld { claim: String, container: String, owner: String },
    /// An ADD took too long.
    #[error("the ADD of {container} ended {late:?} after its deadline")]
    Late { container: String, late: Duration },
    /// A claim outlived its pod.
    #[error("the claim {claim} is still that of {podref}, which is gone")]
    Leak { claim: String, podref: String },
    /// A pod has no address although nothing fails any more and its pool has as many as there are pods, none of them kept by the dead.
    #[error("{podref} has no address although there is one for each")]
    Starved { podref: String },
    /// The run says nothing.
    #[error("only {operations} operations were done: the run is invalid")]
    Idle { operations: usize },
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// ADDs that succeeded.
    pub adds: usize,
    /// ADDs that failed.
    pub failed: usize,
    /// ADDs that were killed.
    pub killed: usize,
    /// DELs.
    pub dels: usize,
    /// Attachments that died without a DEL.
    pub died: usize,
    /// Claims written or deleted.
    pub commits: usize,
    /// Claims at the end whose pod lives and that no live attachment has.
    pub strays: usize,
}

impl Counts {
    /// ADDs and DELs.
    pub const fn operations(&self) -> usize {
        self.adds + self.failed + self.killed + self.dels
    }
}

/// A violation and how many entries of the history lead to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Verdict {
    pub violation: Violation,
    pub entries: usize,
}

/// Judges a history. A run of fewer than `least` operations is no proof of anything.
pub fn judge(entries: &[Entry], least: usize) -> Result<Counts, Verdict> {
    let mut judge = Judge::default();
    for (at, entry) in entries.iter().enumerate() {
        judge.see(entry).map_err(|violation| Verdict { violation, entries: at + 1 })?;
    }
    let operations = judge.counts.operations();
    if operations < least {
        return Err(Verdict { violation: Violation::Idle { operations }, entries: entries.len() });
    }
    Ok(judge.counts)
}

#[derive(Default)]
struct Judge {
    pods: BTreeSet<PodId>,
    claims: BTreeMap<String, Owner>,
    /// Addresses of each live attachment.
    live: BTreeMap<String, (PodId, Vec<Held>)>,
    /// The live attachment that has an address.
    holders: BTreeMap<(String, IpAddr), String>,
    /// The live attachment that a claim is for.
    held: BTreeMap<String, String>,
    /// The live attachments that Whereabouts had made.
    found: BTreeSet<String>,
    deadlines: BTreeMap<String, Duration>,
    counts: Counts,
}

impl Judge {
    fn see(&mut self, entry: &Entry) -> Result<(), Violation> {
        match &entry.event {
            Event::PodMade(pod) => drop(self.pods.insert(pod.clone())),
            Event::PodGone(pod) => drop(self.pods.remove(pod)),
            Event::Found { container, pod, scope, ip } => {
                self.found.insert(container.clone());
                let held = Held { scopes: vec![scope.clone()], ip: *ip, claim: String::new() };
                self.holds(container, pod, &[held])?;
            }
            Event::AddStarted { container, deadline, .. } => {
                self.deadlines.insert(container.clone(), *deadline);
            }
            Event::Attached { container, pod, held } => {
                self.counts.adds += 1;
                self.in_time(container, entry.at)?;
                self.are_its_claims(container, held)?;
                self.holds(container, pod, held)?;
            }
            Event::AddFailed { container, .. } => {
                self.counts.failed += 1;
                self.in_time(container, entry.at)?;
            }
            Event::AddKilled { .. } => self.counts.killed += 1,
            Event::DelStarted { container } => {
                self.counts.dels += 1;
                self.ends(container);
            }
            Event::Died { container } => {
                self.counts.died += 1;
                self.ends(container);
            }
            Event::Committed { claim, before: _, after } => self.committed(claim, after.as_ref())?,
            Event::Over => self.over()?,
            Event::DelEnded { .. } | Event::Calm | Event::Note(_) => {}
        }
        Ok(())
    }

    fn in_time(&mut self, container: &str, at: Duration) -> Result<(), Violation> {
        // The clock of the runtime ticks in milliseconds.
        const TICK: Duration = Duration::from_millis(2);
        let late = self.deadlines.remove(container).map(|deadline| at.saturating_sub(deadline));
        match late.filter(|late| *late > TICK) {
            Some(late) => Err(Violation::Late { container: container.to_owned(), late }),
            None => Ok(()),
        }
    }

    fn are_its_claims(&self, container: &str, held: &[Held]) -> Result<(), Violation> {
        for Held { claim, .. } in held {
            let owner = self.claims.get(claim).map(|owner| owner.container.as_str());
            if owner != Some(container) {
                let owner = owner.map_or_else(|| "not there".to_owned(), |owner| format!("{owner}'s"));
                let (claim, container) = (claim.clone(), container.to_owned());
                return Err(Violation::NeverHeld { claim, container, owner });
            }
        }
        Ok(())
    }

    fn holds(&mut self, container: &str, pod: &PodId, held: &[Held]) -> Result<(), Violation> {
        for Held { scopes, ip, claim } in held {
            for scope in scopes {
                let earlier = self.holders.insert((scope.clone(), *ip), container.to_owned());
                if let Some(first) = earlier {
                    let (scope, second) = (scope.clone(), container.to_owned());
                    return Err(Violation::Duplicate { ip: *ip, scope, first, second });
                }
            }
            self.held.insert(claim.clone(), container.to_owned());
        }
        self.live.insert(container.to_owned(), (pod.clone(), held.to_vec()));
        Ok(())
    }

    fn ends(&mut self, container: &str) {
        let Some((_, held)) = self.live.remove(container) else { return };
        if self.found.remove(container) {
            self.held.retain(|_, holder| holder != container);
        }
        for Held { scopes, ip, claim } in held {
            scopes.into_iter().for_each(|scope| drop(self.holders.remove(&(scope, ip))));
            self.held.remove(&claim);
        }
    }

    fn committed(&mut self, claim: &str, after: Option<&Owner>) -> Result<(), Violation> {
        self.counts.commits += 1;
        match after {
            Some(owner) => self.claims.insert(claim.to_owned(), owner.clone()),
            None => self.claims.remove(claim),
        };
        if let Some(owner) = after.filter(|owner| self.found.contains(&owner.container)) {
            self.held.insert(claim.to_owned(), owner.container.clone());
        }
        let Some(holder) = self.held.get(claim) else { return Ok(()) };
        let (claim, container) = (claim.to_owned(), holder.clone());
        match after {
            Some(owner) if owner.container == *holder => Ok(()),
            Some(owner) => Err(Violation::LostOwner { claim, container, after: owner.container.clone() }),
            None => Err(Violation::Released { claim, container }),
        }
    }

    fn over(&mut self) -> Result<(), Violation> {
        let mut excused = 0;
        for (claim, owner) in &self.claims {
            // A claim without a pod is a reservation by hand.
            if owner.podref.is_empty() {
                continue;
            }
            let is_owner = |pod: &&PodId| {
                pod.podref == owner.podref && owner.pod_uid.as_ref().is_none_or(|uid| *uid == pod.uid)
            };
            if !self.pods.iter().any(|pod| is_owner(&pod)) {
                return Err(Violation::Leak { claim: claim.clone(), podref: owner.podref.clone() });
            }
            let is_stray = self.held.get(claim) != Some(&owner.container);
            self.counts.strays += usize::from(is_stray);
            excused += usize::from(is_stray && claim.starts_with(FULL));
        }
        let attached: BTreeSet<&PodId> = self.live.values().map(|(pod, _)| pod).collect();
        let mut without = self.pods.iter().filter(|pod| !attached.contains(pod));
        // A claim whose container died without a DEL (its node lost its disk), or whose create arrived after the ADD had taken another
        // address, stays its pod's, which then has two: another pod may lack one, but only one for each, and only where none is to spare.
        match without.nth(excused) {
            Some(pod) => Err(Violation::Starved { podref: pod.podref.clone() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
