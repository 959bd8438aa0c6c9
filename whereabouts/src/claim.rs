//! Claims: the only module that creates, takes over and deletes them. A claim is held when the API server has made it in the caller's
//! name, and at no other time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cni::crash_point;
use node::client::{
    ApiClient, ApiError, Collection, Freshness, ListQuery, OnUnknown, Preconditions, RetryPolicy, retry,
};
use node::deadline::Deadline;
use node::names::{DnsLabel, DnsSubdomain};

use crate::choose::{self, Hints, LOSSES_BEFORE_RANDOM, NoCandidate, View};
use crate::naming::{self, NamingError};
use crate::objects::{LABEL_CONTAINER, RESERVATIONS, Reservation, ReservationSpec, label};
use crate::pool::Pool;
use crate::record::{HeldClaim, Record, Stage};

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

/// Who claims.
#[derive(Clone, Debug)]
pub struct Claimant<'a> {
    /// `namespace/name` of the pod.
    pub podref: &'a str,
    /// The interface.
    pub if_name: &'a str,
    /// The container.
    pub container_id: &'a str,
    /// The pod's UID, where the runtime tells it.
    pub pod_uid: Option<&'a str>,
}

/// A claim that was got, and what it says about where to look next time.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The claim.
    pub claim: HeldClaim,
    /// Whether it was held for this interface before this call: it is not to be given back when the call fails.
    pub origin: Origin,
    /// Whether every address below it is taken, as far as is known.
    pub search: Search,
}

/// Where a claim comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Origin {
    New,
    TakenOver,
}

/// How its address was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Search {
    InOrder,
    OutOfOrder,
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
}

fn held_by(holders: &[String]) -> String {
    if holders.is_empty() { String::new() } else { format!("; held by {}", holders.join(", ")) }
}

/// What is known about a pool in the course of one call.
#[derive(Default)]
struct Knowledge {
    used: BTreeSet<IpAddr>,
    lost: BTreeSet<IpAddr>,
    /// Holders by address.
    owners: BTreeMap<IpAddr, String>,
    listed: Option<Freshness>,
}

enum Attempt {
    Held(HeldClaim, Origin),
    AnothersIs(String),
}

impl Claims<'_> {
    fn collection(&self) -> Collection {
        RESERVATIONS.in_namespace(self.namespace)
    }

    const fn policy() -> RetryPolicy {
        RetryPolicy::new(OnUnknown::Repeat)
    }

    /// Claims an address of `pool`: what is wished for, else what the interface had, else the lowest that is free.
    pub async fn claim(
        &self,
        pool: &Pool,
        who: &Claimant<'_>,
        mut hints: Hints,
    ) -> Result<Claimed, ClaimError> {
        let mut known = Knowledge::default();
        loop {
            let view = View { used: &known.used, lost: &known.lost };
            let candidate = match choose::next(&pool.range, &pool.free, view, hints, random()) {
                Ok(candidate) => candidate,
                Err(NoCandidate::Exhausted(_)) if known.listed != Some(Freshness::Latest) => {
                    hints.previous = self.list(pool, who, Freshness::Latest, &mut known).await?;
                    continue;
                }
                Err(reason) => return Err(no_candidate(reason, &known)),
            };
            match self.attempt(pool, who, candidate).await? {
                Attempt::Held(claim, origin) => {
                    let plain = hints.wish.is_none()
                        && hints.previous.is_none()
                        && known.lost.len() < LOSSES_BEFORE_RANDOM;
                    let search = if plain { Search::InOrder } else { Search::OutOfOrder };
                    return Ok(Claimed { claim, origin, search });
                }
                Attempt::AnothersIs(owner) => {
                    known.lost.insert(candidate);
                    known.owners.insert(candidate, owner);
                }
            }
            if known.lost.len() == LOSSES_BEFORE_RANDOM && known.listed.is_none() {
                hints.previous = self.list(pool, who, Freshness::Cached, &mut known).await?;
                hints.start = None;
            }
        }
    }

    /// Tries to get the claim of one address.
    async fn attempt(&self, pool: &Pool, who: &Claimant<'_>, ip: IpAddr) -> Result<Attempt, ClaimError> {
        let name = pool.claim_name(ip)?;
        let wanted = Reservation::new(name.as_str(), pool.name.as_str(), who.spec(), who.pod_uid);
        let held = |claim: &Reservation| HeldClaim {
            name: name.clone(),
            resource_version: claim.metadata.resource_version.clone().unwrap_or_default(),
            pool: pool.name.to_string(),
            address: pool.with_prefix(ip),
        };
        let all = self.collection();
        loop {
            let create = || self.api.create::<Reservation>(&all, &wanted, self.deadline);
            match retry(self.deadline, Self::policy(), create).await {
                Ok(claim) => return Ok(Attempt::Held(held(&claim), Origin::New)),
                Err(ApiError::AlreadyExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let Some(mut present) = self.get(&name).await? else { continue };
            if !present.is_of(who.podref, who.if_name) {
                return Ok(Attempt::AnothersIs(present.spec.podref));
            }
            // Made by this very call, whose answer was lost; or by the same interface of the same pod in an earlier sandbox.
            if present.container() == who.container_id {
                return Ok(Attempt::Held(held(&present), Origin::New));
            }
            present.assign(pool.name.as_str(), who.spec(), who.pod_uid);
            if let Some(claim) = self.replace(&name, &present).await? {
                return Ok(Attempt::Held(held(&claim), Origin::TakenOver));
            }
        }
    }

    async fn get(&self, name: &DnsSubdomain) -> Result<Option<Reservation>, ApiError> {
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

    /// Learns which addresses of the pool are claimed; the one that `who` holds already is returned.
    async fn list(
        &self,
        pool: &Pool,
        who: &Claimant<'_>,
        freshness: Freshness,
        known: &mut Knowledge,
    ) -> Result<Option<IpAddr>, ClaimError> {
        let query = ListQuery::all(freshness);
        let all = self.collection();
        let list = || self.api.list::<Reservation>(&all, &query, self.deadline);
        let list = retry(self.deadline, Self::policy(), list).await?;
        known.used.append(&mut known.lost);
        known.listed = Some(freshness);
        let mut own = None;
        for claim in list.items {
            let name = claim.metadata.name.as_deref().unwrap_or_default();
            let Some(ip) =
                naming::claimed_address(name, pool.scope()).filter(|ip| pool.range.net.contains(ip))
            else {
                continue;
            };
            if claim.is_of(who.podref, who.if_name) && own.is_none() {
                own = Some(ip);
            }
            known.used.insert(ip);
            known.owners.insert(ip, claim.spec.podref);
        }
        Ok(own)
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
        let mut version = claim.resource_version.clone();
        loop {
            match self.delete(&claim.name, &version).await {
                Ok(()) | Err(ApiError::NotFound { .. }) => return Ok(()),
                Err(ApiError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
            match self.get(&claim.name).await? {
                Some(present) if record.owns(&present) => {
                    version = present.metadata.resource_version.unwrap_or_default();
                }
                // Deleted by now, or the address is with another container.
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// Finds the container's claims by their label: for records that do not list them all.
    async fn release_by_label(&self, record: &Record) -> Result<(), ApiError> {
        let labels = Some(format!("{LABEL_CONTAINER}={}", label(&record.container_id)));
        let query = ListQuery { labels, ..ListQuery::all(Freshness::Latest) };
        let all = self.collection();
        let list = || self.api.list::<Reservation>(&all, &query, self.deadline);
        let list = retry(self.deadline, Self::policy(), list).await?;
        for present in list.items.iter().filter(|present| record.owns(present)) {
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

    async fn delete(&self, name: &DnsSubdomain, resource_version: &str) -> Result<(), ApiError> {
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

impl Claimant<'_> {
    fn spec(&self) -> ReservationSpec {
        ReservationSpec {
            podref: self.podref.to_owned(),
            ifname: self.if_name.to_owned(),
            containerid: self.container_id.to_owned(),
        }
    }
}

impl Record {
    /// Whether a claim is this attachment's. The container decides, never the pod alone: a late DEL of an old sandbox must not free
    /// the address of the pod's new one.
    fn owns(&self, claim: &Reservation) -> bool {
        claim.container() == self.container_id
            && (claim.spec.ifname == self.if_name || claim.spec.ifname.is_empty())
    }
}

fn no_candidate(reason: NoCandidate, known: &Knowledge) -> ClaimError {
    let holders = match &reason {
        NoCandidate::WishTaken { ip } => {
            known.owners.get(ip).map(|podref| format!("pod {podref}")).into_iter().collect()
        }
        NoCandidate::Exhausted(_) => largest_holders(known.owners.values()),
        NoCandidate::WishOutside { .. } => Vec::new(),
    };
    ClaimError::NoCandidate { reason, holders }
}

/// The five namespaces that hold most.
fn largest_holders<'a>(podrefs: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for podref in podrefs {
        let namespace = podref.split('/').next().unwrap_or_default();
        *counts.entry(namespace).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    counts.into_iter().take(5).map(|(namespace, count)| format!("namespace {namespace:?}: {count}")).collect()
}

fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
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
