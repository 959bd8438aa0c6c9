//! The properties that must hold in every run. The checker reads the history, not the end: a property that fails for a moment has failed.

mod counts;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use whereabouts::rpc::wire::ADD_LIMIT;

use super::history::{
    Attachment, ClaimOwner, Entry, Event, HeldAddress, Keeper, OwnerKind, PodId, Releaser, Sender,
};

pub use counts::Counts;

/// Longer than a request can be under way. A write that a killed process sent may arrive within this time.
const UNDER_WAY: Duration = Duration::from_secs(25);

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Violation {
    /// Two live attachments have the same address.
    #[error("{second} was given {ip} (scope {scope}) while {first} still has it")]
    Duplicate { ip: IpAddr, scope: String, first: Attachment, second: Attachment },
    /// Another attachment became the owner of a live attachment's claim.
    #[error("the claim {claim} of the live {attachment} now belongs to {after}")]
    OwnerChanged { claim: String, attachment: Attachment, after: Attachment },
    /// One of our processes deleted a live attachment's claim.
    #[error("the claim {claim} of the live {attachment} was deleted")]
    ClaimDeleted { claim: String, attachment: Attachment },
    /// An ADD succeeded, but its attachment does not own the claim.
    #[error("the ADD of {attachment} returned the claim {claim}, whose owner is {owner}")]
    NotOwner { claim: String, attachment: Attachment, owner: String },
    /// A live attachment has an address without a claim at the end: somebody deleted it and no daemon made it again, or nobody adopted it.
    #[error("{attachment} is live, but an address of it is free: {claims} of {addresses} claims exist")]
    Free { attachment: Attachment, claims: usize, addresses: usize },
    /// An ADD or DEL ended after its deadline, or never.
    #[error("the ADD or DEL of {attachment} ended {late:?} after its deadline")]
    Late { attachment: Attachment, late: Duration },
    /// A DEL failed.
    #[error("the DEL of {attachment} failed: {error}")]
    DelFailed { attachment: Attachment, error: String },
    /// A claim still exists at the end although its pod is gone.
    #[error("the claim {claim} still exists, but its pod {podref} is gone")]
    Leaked { claim: String, podref: String },
    /// A claim still exists at the end although its attachment's DEL succeeded and left no tombstone.
    #[error("the claim {claim} still exists, but the DEL of {attachment} succeeded")]
    NotReleased { claim: String, attachment: Attachment },
    /// A pod's new sandbox got another address, although the earlier one still held its own on this node.
    #[error("{attachment} got {got:?}, but {earlier} of the same interface still held {held:?}")]
    Moved { attachment: Attachment, earlier: Attachment, got: Vec<IpAddr>, held: Vec<IpAddr> },
    /// A pod has no address after the faults ended, although its pool has one for every pod.
    #[error("{podref} has no address on {if_name}, although its pool has one for every pod")]
    Starved { podref: String, if_name: String },
    /// The run had too little load to prove anything.
    #[error("the run did only {operations} operations: too few to prove anything")]
    TooFewOperations { operations: usize },
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
    /// The prefix of the claims in the pool with exactly one address for each interface.
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

/// A claim that exists.
struct Claim {
    owner: ClaimOwner,
    changed: Duration,
    sender: Sender,
}

/// A live attachment.
struct Live {
    pod: PodId,
    addresses: Vec<HeldAddress>,
    origin: LiveOrigin,
}

/// Who made a live attachment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LiveOrigin {
    Ours(Keeper),
    Whereabouts,
}

/// The state of a run, up to one of its events.
#[derive(Default)]
struct Checker {
    /// The interfaces of each pod that exists.
    pods: BTreeMap<PodId, Vec<String>>,
    claims: BTreeMap<String, Claim>,
    live: BTreeMap<Attachment, Live>,
    /// The live attachment that holds an address, by scope and address.
    holders: BTreeMap<(String, IpAddr), Attachment>,
    /// The live attachment that uses a claim, by the claim.
    users: BTreeMap<String, Attachment>,
    /// When somebody deleted a claim that was not theirs, last.
    by_hand: BTreeMap<String, Duration>,
    /// Claims that somebody deleted while a live attachment used them.
    missing: BTreeMap<String, Attachment>,
    /// Live attachments whose address another one claimed after somebody deleted the claim.
    usurped: BTreeSet<Attachment>,
    /// The addresses that attachments were given, live or not, until somebody deletes one of their claims.
    given: BTreeMap<Attachment, Vec<IpAddr>>,
    /// Deadlines of ADDs and DELs under way.
    deadlines: BTreeMap<Attachment, Duration>,
    /// For ADDs under way: the earlier attachment that may still hold the addresses.
    earlier: BTreeMap<Attachment, Attachment>,
    /// Attachments whose DEL began, and those whose DEL by our plugin succeeded.
    del_began: BTreeSet<Attachment>,
    released: BTreeSet<Attachment>,
    counts: Counts,
}

impl Checker {
    fn apply(&mut self, entry: &Entry, full_pool: &str) -> Result<(), Violation> {
        match &entry.event {
            Event::PodCreated { pod, interfaces } => drop(self.pods.insert(pod.clone(), interfaces.clone())),
            Event::PodDeleted(pod) => drop(self.pods.remove(pod)),
            Event::UpstreamAttached { attachment, pod, addresses } => {
                self.counts.upstream += 1;
                self.attach(attachment, pod, addresses, LiveOrigin::Whereabouts)?;
            }
            Event::AddStarted { attachment, deadline, earlier } => {
                self.deadlines.insert(attachment.clone(), *deadline);
                self.earlier.extend(earlier.iter().map(|earlier| (attachment.clone(), earlier.clone())));
            }
            Event::AddSucceeded { attachment, pod, addresses, keeper } => {
                self.counts.adds += 1;
                self.check_deadline(attachment, entry.at)?;
                self.check_owner(attachment, addresses, entry.at)?;
                self.check_kept(attachment, addresses)?;
                self.attach(attachment, pod, addresses, LiveOrigin::Ours(*keeper))?;
            }
            Event::AddFailed { attachment, .. } => {
                self.counts.failed += 1;
                self.check_deadline(attachment, entry.at)?;
            }
            Event::AddKilled { attachment } => {
                self.counts.killed += 1;
                self.deadlines.remove(attachment);
            }
            Event::DelStarted { attachment, deadline } => {
                self.counts.dels += 1;
                self.del_began.insert(attachment.clone());
                self.deadlines.insert(attachment.clone(), *deadline);
                self.detach(attachment);
            }
            Event::DelSucceeded { attachment, by } => {
                if *by == Releaser::Ours {
                    self.released.insert(attachment.clone());
                }
                self.check_deadline(attachment, entry.at)?;
            }
            Event::DelFailed { attachment, error } => {
                return Err(Violation::DelFailed { attachment: attachment.clone(), error: error.clone() });
            }
            Event::ContainerLost { attachment } => {
                self.counts.lost += 1;
                self.deadlines.remove(attachment);
                self.detach(attachment);
            }
            Event::ClaimDeletedByHand { claim } => drop(self.by_hand.insert(claim.clone(), entry.at)),
            Event::TombstonesLost { attachments } => self.released.retain(|one| !attachments.contains(one)),
            Event::ClaimChanged { claim, after, sender } => {
                self.change_claim(claim, after.as_ref(), *sender, entry.at)?;
            }
            Event::ProcessesKilled => self.excuse_recent(entry.at),
            Event::RunEnded { tombstones } => self.check_end(full_pool, tombstones)?,
            Event::FaultsEnded | Event::Note(_) => {}
        }
        Ok(())
    }

    fn check_deadline(&mut self, attachment: &Attachment, at: Duration) -> Result<(), Violation> {
        // The timer of the runtime has a resolution of 1 ms; a deadline can be rounded up twice.
        const RESOLUTION: Duration = Duration::from_millis(2);
        let late = self.deadlines.remove(attachment).map(|deadline| at.saturating_sub(deadline));
        match late.filter(|late| *late > RESOLUTION) {
            Some(late) => Err(Violation::Late { attachment: attachment.clone(), late }),
            None => Ok(()),
        }
    }

    fn check_owner(
        &self,
        attachment: &Attachment,
        addresses: &[HeldAddress],
        at: Duration,
    ) -> Result<(), Violation> {
        for HeldAddress { claim, .. } in addresses {
            // Somebody deleted it between its create and the end of the ADD.
            let is_by_hand = self.by_hand.get(claim).is_some_and(|deleted| *deleted + ADD_LIMIT >= at);
            let owner = self.owner(claim);
            if owner != Some(attachment) && !is_by_hand {
                let owner = owner.map_or_else(|| "nobody".to_owned(), ToString::to_string);
                let (claim, attachment) = (claim.clone(), attachment.clone());
                return Err(Violation::NotOwner { claim, attachment, owner });
            }
        }
        Ok(())
    }

    fn owner(&self, claim: &str) -> Option<&Attachment> {
        self.claims.get(claim).map(|claim| &claim.owner.attachment)
    }

    /// Checks that a new sandbox got the addresses of the earlier one, if that still holds them.
    fn check_kept(&mut self, attachment: &Attachment, addresses: &[HeldAddress]) -> Result<(), Violation> {
        let Some(earlier) = self.earlier.remove(attachment) else { return Ok(()) };
        let Some(held) = self.given.get(&earlier).filter(|_| !self.del_began.contains(&earlier)) else {
            return Ok(());
        };
        let got = ips(addresses);
        if got != *held {
            return Err(Violation::Moved {
                attachment: attachment.clone(),
                earlier,
                got,
                held: held.clone(),
            });
        }
        self.counts.kept += 1;
        Ok(())
    }

    fn attach(
        &mut self,
        attachment: &Attachment,
        pod: &PodId,
        addresses: &[HeldAddress],
        origin: LiveOrigin,
    ) -> Result<(), Violation> {
        for HeldAddress { scopes, ip, claim } in addresses {
            // The claim of an address that Whereabouts gave has no name before the pool is adopted.
            if origin != LiveOrigin::Whereabouts {
                let is_held = scopes.iter().any(|scope| self.holders.contains_key(&(scope.clone(), *ip)));
                match self.owner(claim) {
                    Some(owner) if owner == attachment => {}
                    // Somebody deleted the claim during the ADD, and that of the pod which got the address then.
                    None if is_held && self.by_hand.contains_key(claim) => {
                        self.usurped.insert(attachment.clone());
                        continue;
                    }
                    None => drop(self.missing.insert(claim.clone(), attachment.clone())),
                    Some(_) => {
                        self.usurped.insert(attachment.clone());
                        continue;
                    }
                }
                self.users.insert(claim.clone(), attachment.clone());
            }
            for scope in scopes {
                // Two claims of different names can hold the same address, so uniqueness is checked by address.
                let earlier = self.holders.insert((scope.clone(), *ip), attachment.clone());
                if let Some(first) = earlier {
                    let (scope, second) = (scope.clone(), attachment.clone());
                    return Err(Violation::Duplicate { ip: *ip, scope, first, second });
                }
            }
        }
        // What another attachment has cannot be kept by the next sandbox.
        if !self.usurped.contains(attachment) {
            self.given.insert(attachment.clone(), ips(addresses));
        }
        let live = Live { pod: pod.clone(), addresses: addresses.to_vec(), origin };
        self.live.insert(attachment.clone(), live);
        Ok(())
    }

    fn detach(&mut self, attachment: &Attachment) {
        if let Some(live) = self.live.remove(attachment) {
            self.vacate(attachment, &live.addresses);
        }
        self.usurped.remove(attachment);
        self.users.retain(|_, user| user != attachment);
        self.missing.retain(|_, user| user != attachment);
    }

    /// From now on another attachment may have these addresses.
    fn vacate(&mut self, attachment: &Attachment, addresses: &[HeldAddress]) {
        for HeldAddress { scopes, ip, .. } in addresses {
            for scope in scopes {
                let key = (scope.clone(), *ip);
                if self.holders.get(&key) == Some(attachment) {
                    self.holders.remove(&key);
                }
            }
        }
    }

    fn change_claim(
        &mut self,
        claim: &str,
        after: Option<&ClaimOwner>,
        sender: Sender,
        changed: Duration,
    ) -> Result<(), Violation> {
        self.counts.commits += 1;
        match after {
            Some(owner) => {
                // The simulation made this change. The claim keeps the process that wrote it before.
                let earlier = self.claims.get(claim).map(|earlier| earlier.sender);
                let sender = earlier.filter(|_| sender == Sender::ByHand).unwrap_or(sender);
                self.claims.insert(claim.to_owned(), Claim { owner: owner.clone(), changed, sender })
            }
            None => self.claims.remove(claim),
        };
        let is_by_hand = self.by_hand.get(claim) == Some(&changed);
        let of_upstream = |owner: &&ClaimOwner| {
            let live = self.live.get(&owner.attachment);
            live.is_some_and(|live| live.origin == LiveOrigin::Whereabouts)
        };
        if let Some(owner) = after.filter(of_upstream) {
            self.users.insert(claim.to_owned(), owner.attachment.clone());
        }
        let Some(user) = self.users.get(claim).cloned() else { return Ok(()) };
        match after {
            None if is_by_hand => {
                self.counts.deleted += 1;
                self.given.remove(&user);
                self.missing.insert(claim.to_owned(), user);
            }
            None => return Err(Violation::ClaimDeleted { claim: claim.to_owned(), attachment: user }),
            Some(owner) if owner.attachment == user => drop(self.missing.remove(claim)),
            Some(_) if self.missing.remove(claim).is_some() => {
                self.counts.usurped += 1;
                self.usurp(claim, &user);
            }
            Some(owner) => {
                let (claim, after) = (claim.to_owned(), owner.attachment.clone());
                return Err(Violation::OwnerChanged { claim, attachment: user, after });
            }
        }
        Ok(())
    }

    /// Another attachment claims the address of a live one, whose claim somebody deleted.
    fn usurp(&mut self, claim: &str, user: &Attachment) {
        self.users.remove(claim);
        self.given.remove(user);
        self.usurped.insert(user.clone());
        let addresses = self.live.get(user).map(|live| live.addresses.clone()).unwrap_or_default();
        let ip = addresses.iter().find(|address| address.claim == claim).map(|address| address.ip);
        let taken: Vec<_> = addresses.into_iter().filter(|address| Some(address.ip) == ip).collect();
        self.vacate(user, &taken);
    }

    /// What the killed processes wrote last, they might have undone.
    fn excuse_recent(&mut self, at: Duration) {
        for claim in self.claims.values_mut() {
            if claim.changed + UNDER_WAY >= at && self.del_began.contains(&claim.owner.attachment) {
                claim.sender = Sender::Gone;
            }
        }
    }

    fn check_end(&mut self, full_pool: &str, tombstones: &[Attachment]) -> Result<(), Violation> {
        let mut excused = 0;
        for (claim, Claim { owner, sender, .. }) in &self.claims {
            // A claim without a pod is a manual reservation.
            if owner.podref.is_empty() {
                continue;
            }
            let is_owner = |pod: &&PodId| {
                pod.podref == owner.podref && owner.pod_uid.as_ref().is_none_or(|uid| *uid == pod.uid)
            };
            // The leader reclaims such a claim only if it saw the pod, which a new leader did not.
            let may_stay = owner.kind == OwnerKind::Container;
            if !may_stay && !self.pods.keys().any(|pod| is_owner(&pod)) {
                return Err(Violation::Leaked { claim: claim.clone(), podref: owner.podref.clone() });
            }
            let attachment = &owner.attachment;
            if self.released.contains(attachment)
                && *sender != Sender::Gone
                && !tombstones.contains(attachment)
            {
                return Err(Violation::NotReleased { claim: claim.clone(), attachment: attachment.clone() });
            }
            let is_unused = self.users.get(claim) != Some(attachment);
            self.counts.unused += usize::from(is_unused);
            excused += usize::from(is_unused && claim.starts_with(full_pool));
        }
        self.check_free()?;
        self.check_starved(excused)
    }

    /// Checks that every address of a live attachment has a claim.
    fn check_free(&self) -> Result<(), Violation> {
        for (attachment, live) in &self.live {
            if self.usurped.contains(attachment) || live.origin == LiveOrigin::Ours(Keeper::Nobody) {
                continue;
            }
            let own = |(claim, user): &(&String, &Attachment)| {
                *user == attachment && !self.missing.contains_key(claim.as_str())
            };
            let (claims, addresses) = (self.users.iter().filter(own).count(), live.addresses.len());
            let is_lost_by_hand = live.origin == LiveOrigin::Whereabouts
                && self.missing.values().any(|user| user == attachment);
            if claims < addresses && !is_lost_by_hand {
                return Err(Violation::Free { attachment: attachment.clone(), claims, addresses });
            }
        }
        Ok(())
    }

    /// Checks that every interface has an address, except for as many as `excused`.
    ///
    /// A pod can hold two claims: its container ended without a DEL (the node lost its disk), or a delayed create arrived after the ADD had
    /// taken another address. In a pool with exactly one address for each interface, every such claim leaves one pod without; and a sandbox
    /// without one of its addresses keeps none.
    fn check_starved(&self, excused: usize) -> Result<(), Violation> {
        let attached: BTreeSet<(&PodId, &str)> =
            self.live.iter().map(|(attachment, live)| (&live.pod, attachment.if_name.as_str())).collect();
        let missing = |(pod, interfaces): (&PodId, &Vec<String>)| {
            let missing = interfaces.iter().find(|if_name| !attached.contains(&(pod, if_name.as_str())));
            missing.map(|if_name| (pod.podref.clone(), if_name.clone()))
        };
        match self.pods.iter().filter_map(missing).nth(excused) {
            Some((podref, if_name)) => Err(Violation::Starved { podref, if_name }),
            None => Ok(()),
        }
    }
}

fn ips(addresses: &[HeldAddress]) -> Vec<IpAddr> {
    let mut ips: Vec<IpAddr> = addresses.iter().map(|address| address.ip).collect();
    ips.sort_unstable();
    ips.dedup();
    ips
}

#[cfg(test)]
mod tests;
