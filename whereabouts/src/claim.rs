//! Claims: the only module that creates, takes over and deletes them. A claim is held when the API server has made it in the caller's
//! name, and at no other time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use cni::crash_point;
use node::client::{
    ApiClient, ApiError, Collection, Freshness, ListPage, ListQuery, OnUnknown, Parts, Preconditions,
    ResourceKind, RetryPolicy, retry,
};
use node::deadline::Deadline;
use node::names::{DnsLabel, DnsSubdomain};
use serde::{Deserialize, Serialize};

use crate::choose::{LOSSES_BEFORE_LIST, NoCandidate, Wish};
use crate::naming::NamingError;
use crate::objects::{LABEL_CONTAINER, LABEL_POOL, RESERVATIONS, Reservation, label};
use crate::order::Who;
use crate::outlook::{Listing, Outlook};
use crate::pool::Pool;
use crate::reclaim::{PodIdentity, PodName};
use crate::record::{HeldClaim, Record, Stage};
use crate::twin::Look;

/// Where claims are kept, and how long may be spent on them.
#[derive(Clone, Debug)]
pub struct Claims<'a> {
    /// The API server.
    pub api: &'a ApiClient,
    /// The namespace of claims and pools.
    pub namespace: &'a DnsLabel,
    /// When to give up.
    pub deadline: Deadline,
}

/// A claim that was got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    /// The claim.
    pub claim: HeldClaim,
    /// Whether it was held for this interface before this call: it is not to be given back when the call fails.
    pub origin: Origin,
}

/// Where a claim comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Origin {
    New,
    TakenOver,
}

/// No claim was got.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The API server is away, busy, or refuses.
    #[error("error at storage engine: {0}")]
    Api(#[from] ApiError),
    /// There is no address to claim.
    #[error("error at storage engine: {reason}{}", held_by(holders))]
    NoCandidate {
        /// Why not.
        reason: NoCandidate,
        /// How many addresses of the pool each namespace holds, the most first; for a requested address its holder.
        holders: Vec<String>,
    },
    /// A claim cannot be named.
    #[error(transparent)]
    Naming(#[from] NamingError),
    /// A newer call for the same interface has ended this one.
    #[error("this call for pod {podref} was ended by a newer one for the same interface")]
    Superseded {
        /// The pod.
        podref: String,
    },
    /// The call is for a pod that is gone, and its successor has the address.
    #[error(
        "pod {podref} with UID {uid} is gone, and another of its name has its address: nothing is to be done"
    )]
    PodGone {
        /// The pod.
        podref: String,
        /// Its UID.
        uid: String,
    },
}

fn held_by(holders: &[String]) -> String {
    if holders.is_empty() { String::new() } else { format!("; held by {}", holders.join(", ")) }
}

/// What one call has tried and learned.
#[derive(Default)]
struct Tried {
    lost: BTreeSet<IpAddr>,
    /// Holders by address.
    owners: BTreeMap<IpAddr, String>,
    listed: Option<Listed>,
    look: Look,
}

/// Which claims were listed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    /// Those that say that they are of the pool.
    OfPool,
    /// Every one.
    All,
}

/// Whether a claim that is there already may be the caller's own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    Stranger,
    MayBeUs,
}

/// After so many losses all claims are listed.
const LOSSES_BEFORE_ALL: usize = 3 * LOSSES_BEFORE_LIST;

/// Claims of one page of a list.
const PAGE: u32 = 500;

const fn wish_of(wish: Option<Wish>) -> Option<IpAddr> {
    match wish {
        Some(Wish::Must(ip) | Wish::Prefer(ip)) => Some(ip),
        None => None,
    }
}

/// What came of trying an address.
pub(crate) enum Attempt {
    Held(HeldClaim, Origin),
    /// This pod's, where that is known.
    AnothersIs(Option<String>),
    /// This pod's, by its other name.
    TwinIs(String),
}

impl Claims<'_> {
    fn collection(&self) -> Collection {
        RESERVATIONS.in_namespace(self.namespace)
    }

    const fn policy() -> RetryPolicy {
        RetryPolicy::new(OnUnknown::Repeat)
    }

    /// Claims an address of `pool`: what is wished for, else what the interface had, else what `outlook` says is next.
    pub async fn claim(
        &self,
        pool: &Pool,
        who: &Who,
        wish: Option<Wish>,
        outlook: &mut impl Outlook,
    ) -> Result<Claimed, ClaimError> {
        let mut tried = Tried::default();
        loop {
            match outlook.next(pool, wish, &tried.lost) {
                Ok(_) if outlook.is_over() => {
                    return Err(ClaimError::Superseded { podref: who.podref.clone() });
                }
                Ok(candidate) => {
                    let expected = wish_of(wish) == Some(candidate) || outlook.may_be_own(candidate);
                    let holder = if expected { Holder::MayBeUs } else { Holder::Stranger };
                    let owner = match self.attempt(pool, who, candidate, (holder, tried.look)).await? {
                        Attempt::Held(claim, origin) => {
                            outlook.won(candidate);
                            return Ok(Claimed { claim, origin });
                        }
                        Attempt::AnothersIs(owner) => owner,
                        Attempt::TwinIs(owner) => {
                            tried.look = Look::FirstToo;
                            Some(owner)
                        }
                    };
                    outlook.lost(candidate);
                    tried.lost.insert(candidate);
                    tried.owners.extend(owner.map(|owner| (candidate, owner)));
                }
                // What seems full is believed only of everything written so far.
                Err(NoCandidate::Exhausted(_)) if tried.listed != Some(Listed::All) && !outlook.is_sure() => {
                    self.list(pool, who, Listed::All, outlook, &mut tried).await?;
                    continue;
                }
                Err(reason) => return Err(no_candidate(reason, &tried, outlook)),
            }
            match tried.listed {
                None if outlook.wants_list(tried.lost.len()) => {
                    self.list(pool, who, Listed::OfPool, outlook, &mut tried).await?;
                }
                // Many are held that do not say of which pool they are.
                Some(Listed::OfPool) if tried.lost.len() >= LOSSES_BEFORE_ALL => {
                    self.list(pool, who, Listed::All, outlook, &mut tried).await?;
                }
                None | Some(_) => {}
            }
        }
    }

    /// Tries to get the claim of one address.
    async fn attempt(
        &self,
        pool: &Pool,
        who: &Who,
        ip: IpAddr,
        (holder, look): (Holder, Look),
    ) -> Result<Attempt, ClaimError> {
        if look == Look::FirstToo
            && let Some(owner) = self.holder_of_twin(pool, who, ip).await?
        {
            return Ok(Attempt::TwinIs(owner));
        }
        match self.lock(pool, who, ip, holder).await? {
            Attempt::Held(claim, origin) => self.look_at_twin(pool, who, ip, (claim, origin)).await,
            lost @ (Attempt::AnothersIs(_) | Attempt::TwinIs(_)) => Ok(lost),
        }
    }

    /// Tries to get the name that orders of the pool take.
    async fn lock(&self, pool: &Pool, who: &Who, ip: IpAddr, holder: Holder) -> Result<Attempt, ClaimError> {
        let name = pool.names().claim(ip)?;
        let wanted = Reservation::new(name.as_str(), pool.holding(who));
        let all = self.collection();
        let mut origin = Origin::New;
        loop {
            let sent = AtomicU32::new(0);
            let create = || {
                sent.fetch_add(1, Ordering::Relaxed);
                self.api.create::<Reservation>(&all, &wanted, self.deadline)
            };
            match retry(self.deadline, Self::policy(), create).await {
                Ok(claim) => return Ok(Attempt::Held(pool.held(ip, &name, &claim), Origin::New)),
                Err(ApiError::AlreadyExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            // Sent once it is not what answers; only a claim that may be ours is worth a look.
            if holder == Holder::Stranger && sent.load(Ordering::Relaxed) == 1 {
                return Ok(Attempt::AnothersIs(None));
            }
            let Some(present) = self.get(&name).await? else { continue };
            if !present.is_of(&who.podref, &who.if_name) {
                return Ok(Attempt::AnothersIs(Some(present.spec.podref)));
            }
            // Made by this very call, whose answer was lost, or taken over by it; or had by an earlier call for the container.
            let is_ours = present.container() == who.container_id && sent.load(Ordering::Relaxed) > 1;
            let got = if is_ours { origin } else { Origin::TakenOver };
            if let Some(claim) = self.take_over(pool, who, ip, &name, present).await? {
                return Ok(Attempt::Held(claim, got));
            }
            origin = Origin::TakenOver;
        }
    }

    /// Makes a claim of the same interface of the same pod the caller's. `None` where it changed since it was read. It is written even if it
    /// is the caller's container's already: an earlier call for it, whose daemon is gone, may have sent its deletion, which still comes.
    pub(crate) async fn take_over(
        &self,
        pool: &Pool,
        who: &Who,
        ip: IpAddr,
        name: &DnsSubdomain,
        mut present: Reservation,
    ) -> Result<Option<HeldClaim>, ClaimError> {
        if present.container() == who.container_id {
            present.renew(fastrand::u64(..));
        } else {
            self.check_successor(who, &present).await?;
            present.assign(pool.holding(who));
        }
        Ok(self.replace(name, &present).await?.map(|claim| pool.held(ip, name, &claim)))
    }

    /// A claim of a pod with the same name and another UID is taken over by its successor; never by a call that is late, for a pod which is
    /// gone while the successor runs.
    pub(crate) async fn check_successor(&self, who: &Who, present: &Reservation) -> Result<(), ClaimError> {
        let (Some(uid), Some(other)) = (who.pod_uid.as_deref(), present.pod_uid()) else { return Ok(()) };
        let Some(pod) = PodName::parse(&who.podref).filter(|_| uid != other) else { return Ok(()) };
        let path = ResourceKind::PODS.in_namespace(&pod.namespace).object(&pod.name);
        let gone = || ClaimError::PodGone { podref: who.podref.clone(), uid: uid.to_owned() };
        match retry(self.deadline, Self::policy(), || self.api.get_metadata(&path, self.deadline)).await {
            Ok(metadata) if PodIdentity::of(&metadata).is(uid) => Ok(()),
            Ok(_) | Err(ApiError::NotFound { .. }) => Err(gone()),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn get(&self, name: &DnsSubdomain) -> Result<Option<Reservation>, ApiError> {
        let path = self.collection().object(name);
        match retry(self.deadline, Self::policy(), || self.api.get(&path, self.deadline)).await {
            Ok(claim) => Ok(Some(claim)),
            Err(ApiError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `None` where it changed since it was read.
    async fn replace(&self, name: &DnsSubdomain, new: &Reservation) -> Result<Option<Reservation>, ApiError> {
        let path = self.collection().object(name);
        match retry(self.deadline, Self::policy(), || self.api.replace(&path, new, self.deadline)).await {
            Ok(claim) => Ok(Some(claim)),
            Err(ApiError::Conflict { .. } | ApiError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Learns which addresses of the pool are claimed, and which one `who` holds already.
    async fn list(
        &self,
        pool: &Pool,
        who: &Who,
        wanted: Listed,
        outlook: &mut impl Outlook,
        tried: &mut Tried,
    ) -> Result<(), ClaimError> {
        let query = match wanted {
            Listed::All => ListQuery::all(Freshness::Latest),
            Listed::OfPool => ListQuery {
                labels: Some(format!("{LABEL_POOL}={}", label(pool.name.as_str()))),
                ..ListQuery::all(Freshness::Latest)
            },
        };
        let mut listing = Listing::default();
        let mut page = ListPage { limit: PAGE, token: None, parts: Parts::Whole };
        loop {
            let all = self.collection();
            let list = || self.api.list_page::<Reservation>(&all, &query, &page, self.deadline);
            let list = match retry(self.deadline, Self::policy(), list).await {
                // It took so long that the rest is of another time.
                Err(ApiError::Gone { .. }) if page.token.is_some() => {
                    page.token = None;
                    listing = Listing::default();
                    continue;
                }
                list => list?,
            };
            list.items.into_iter().for_each(|claim| listing.add(pool, who, claim));
            page.token = list.metadata.continue_.filter(|token| !token.is_empty());
            if page.token.is_none() {
                break;
            }
        }
        // What was lost before is in the list, does not say its pool, or is free by now.
        if wanted == Listed::All {
            tried.lost.clear();
        }
        outlook.learn(&listing);
        tried.listed = Some(wanted);
        tried.owners.append(&mut listing.owners);
        Ok(())
    }

    /// Deletes every claim of a record. What is another's by now is left alone.
    pub async fn release(&self, record: &Record) -> Result<(), ApiError> {
        for claim in &record.claims {
            self.release_one(record, claim).await?;
            crash_point!("release-after-delete");
        }
        match record.stage {
            Stage::Held => Ok(()),
            Stage::Claiming => self.release_by_label(record).await,
        }
    }

    async fn release_one(&self, record: &Record, claim: &HeldClaim) -> Result<(), ApiError> {
        self.delete_while(claim, |present| record.owns(present)).await
    }

    /// Gives a claim back that the caller has just got.
    pub(crate) async fn give_up(&self, who: &Who, claim: &HeldClaim) -> Result<(), ApiError> {
        self.delete_while(claim, |present| present.container() == who.container_id).await
    }

    /// Deletes a claim in the version that is known, or in the one that it has by now if it is still the caller's.
    async fn delete_while(
        &self,
        claim: &HeldClaim,
        is_own: impl Fn(&Reservation) -> bool,
    ) -> Result<(), ApiError> {
        let mut version = claim.resource_version.clone();
        loop {
            match self.delete(&claim.name, &version).await {
                Ok(()) | Err(ApiError::NotFound { .. }) => return Ok(()),
                Err(ApiError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
            match self.get(&claim.name).await? {
                Some(present) if is_own(&present) => {
                    version = present.metadata.resource_version.unwrap_or_default();
                }
                // Deleted by now, or the address is with another container.
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// Finds the container's claims by their label: for records that do not list them all.
    async fn release_by_label(&self, record: &Record) -> Result<(), ApiError> {
        for present in self.of_container(&record.container_id).await? {
            if !record.owns(&present) {
                continue;
            }
            let name = present.metadata.name.clone().and_then(|name| DnsSubdomain::new(name).ok());
            let version = present.metadata.resource_version.clone().unwrap_or_default();
            let Some(name) = name else { continue };
            match self.delete(&name, &version).await {
                Ok(()) | Err(ApiError::NotFound { .. } | ApiError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The claims that say that they are a container's.
    async fn of_container(&self, container_id: &str) -> Result<Vec<Reservation>, ApiError> {
        let labels = Some(format!("{LABEL_CONTAINER}={}", label(container_id)));
        let query = ListQuery { labels, ..ListQuery::all(Freshness::Latest) };
        let all = self.collection();
        let list = || self.api.list::<Reservation>(&all, &query, self.deadline);
        Ok(retry(self.deadline, Self::policy(), list).await?.items)
    }

    /// What an interrupted order of the same interface and container got in each pool, in the order of `pools`.
    pub async fn resumed(&self, pools: &[Pool], who: &Who) -> Result<Vec<Listing>, ApiError> {
        let present = self.of_container(&who.container_id).await?;
        let own = present.into_iter().filter(|claim| claim.container() == who.container_id);
        let mut listings = vec![Listing::default(); pools.len()];
        for claim in own {
            for (listing, pool) in listings.iter_mut().zip(pools) {
                if claim.pool() == Some(pool.name.as_str()) {
                    listing.add(pool, who, claim.clone());
                }
            }
        }
        Ok(listings)
    }

    pub(crate) async fn delete(&self, name: &DnsSubdomain, resource_version: &str) -> Result<(), ApiError> {
        let path = self.collection().object(name);
        let exactly = Preconditions { uid: None, resource_version: Some(resource_version.to_owned()) };
        retry(self.deadline, Self::policy(), || self.api.delete(&path, &exactly, self.deadline)).await
    }

    /// Whether the container still has all its claims; the name of the first it does not have.
    pub async fn first_missing(&self, record: &Record) -> Result<Option<DnsSubdomain>, ApiError> {
        for claim in &record.claims {
            if !self.get(&claim.name).await?.is_some_and(|present| record.owns(&present)) {
                return Ok(Some(claim.name.clone()));
            }
        }
        Ok(None)
    }
}

fn no_candidate(reason: NoCandidate, tried: &Tried, outlook: &impl Outlook) -> ClaimError {
    let holders = match &reason {
        NoCandidate::WishTaken { ip } => {
            tried.owners.get(ip).map(|podref| format!("pod {podref}")).into_iter().collect()
        }
        NoCandidate::Exhausted(_) if tried.listed.is_none() => outlook.holders(),
        NoCandidate::Exhausted(_) => largest_holders(tried.owners.values()),
        NoCandidate::WishOutside { .. } => Vec::new(),
    };
    ClaimError::NoCandidate { reason, holders }
}

/// The five namespaces that hold most.
pub(crate) fn largest_holders<'a>(podrefs: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for podref in podrefs {
        let namespace = podref.split('/').next().unwrap_or_default();
        *counts.entry(namespace).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    counts.into_iter().take(5).map(|(namespace, count)| format!("namespace {namespace:?}: {count}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_five_largest_holders_are_named_most_first() {
        let podrefs: Vec<String> =
            ["a/1", "b/1", "b/2", "c/1", "d/1", "e/1", "f/1", "f/2", "f/3"].map(str::to_owned).to_vec();
        let holders = largest_holders(podrefs.iter());
        assert_eq!(holders.len(), 5);
        assert_eq!(holders[..2], ["namespace \"f\": 3", "namespace \"b\": 2"]);
    }
}
