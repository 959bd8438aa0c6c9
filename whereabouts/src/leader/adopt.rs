//! Adoption: what Whereabouts wrote into a pool gets a claim, and a claim follows the container that Whereabouts refreshed. It goes on as long
//! as nodes of both kinds share a cluster; after a change-over there is nothing left to do.

use crate::crd::allocation_state;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cni::crash_point;
use futures::{StreamExt as _, stream};
use ipnet::IpNet;
use k8s_openapi::jiff::Timestamp;
use node::client::{ApiError, OnUnknown, RetryPolicy, retry};
use node::deadline::Deadline;
use node::names::DnsSubdomain;
use serde::de::IgnoredAny;
use tokio::time::Instant;

use super::cluster_cache::{ClusterCache, SharedCache};
use super::context::{AT_ONCE, Context};
use super::networks::{self, PoolNaming, PoolNamings};
use crate::addr::ip;
use crate::claims::adopt::{Adopted, make};
use crate::claims::store::Claims;
use crate::crd::allocation_state::AllocationState;
use crate::crd::cached::{CachedAllocation, CachedPool, CachedReservation};
use crate::crd::ip_pool::SeparateUse;
use crate::crd::packed::{Decimal, Hex};
use crate::crd::reservation::{RESERVATIONS, Reservation, ReservationOwner, ReservationSpec};
use crate::pool::claim_reader::ClaimNameReader;

/// What is to be done for an entry.
#[derive(Clone, Debug)]
pub enum Action {
    /// A claim is to be made.
    Make(Box<Missing>),
    /// The claim of this name, at this version, is to say what this one says.
    Follow(Box<Reservation>),
}

/// A claim that is missing.
#[derive(Clone, Debug)]
pub struct Missing {
    naming_of: PoolNaming,
    separation: SeparateUse,
    range: IpNet,
    ip: IpAddr,
    spec: ReservationSpec,
}

impl Missing {
    fn adopted(&self, now: Timestamp) -> Adopted<'_> {
        let names = self.naming_of.names(self.separation, now);
        Adopted { names, range: self.range, ip: self.ip, spec: self.spec.clone() }
    }
}

/// An entry of a pool, judged.
#[derive(Clone, Debug)]
pub struct Judged<'a> {
    /// Its key.
    pub key: &'a Decimal,
    /// What it says.
    pub entry: &'a CachedAllocation,
    /// Its address.
    pub ip: IpAddr,
    /// The claim on it.
    pub claim: Option<&'a CachedReservation>,
    /// What it calls for.
    pub state: AllocationState,
}

/// Judges every entry of a pool. Keys that are none are left out.
pub fn judge<'a>(pool: &'a CachedPool, cache: &'a ClusterCache, namings: &PoolNamings) -> Vec<Judged<'a>> {
    let name = &*pool.name;
    let Some(range) = pool.range.filter(|_| !pool.entries().is_empty()) else { return Vec::new() };
    let naming_of = namings.get(name, &range, cache);
    let readings = ClaimNameReader::of(name, &range);
    // Two at most: one of each name.
    let mut claims = BTreeMap::<IpAddr, (&CachedReservation, Option<&CachedReservation>)>::new();
    for claim in cache.claims_of(name) {
        let Some(ip) = readings.address(&claim.name) else { continue };
        claims.entry(ip).and_modify(|(_, second)| *second = Some(claim)).or_insert((claim, None));
    }
    let mut judged = Vec::with_capacity(pool.entries().len());
    for (key, ip, entry) in pool.addresses() {
        let claim = match claims.get(&ip) {
            Some((first, Some(second))) if !is_for(first, entry) && is_for(second, entry) => Some(*second),
            Some((first, _)) => Some(*first),
            None => naming_of.as_ref().and_then(|naming_of| unassigned(cache, naming_of, ip, entry)),
        };
        let state = allocation_state::allocation_state(entry, claim, cache.pod(&entry.podref));
        judged.push(Judged { key, entry, ip, claim, state });
    }
    judged
}

fn is_for(claim: &CachedReservation, entry: &CachedAllocation) -> bool {
    claim.podref == entry.podref
}

/// The claim that Whereabouts made for an entry, which does not say its pool.
fn unassigned<'a>(
    cache: &'a ClusterCache,
    naming_of: &PoolNaming,
    ip: IpAddr,
    entry: &CachedAllocation,
) -> Option<&'a CachedReservation> {
    let name = naming_of.shared_name(ip)?;
    let claim = cache.claims().content().get(name.as_str()).map(Arc::as_ref);
    claim.filter(|claim| claim.pool.is_none() && is_for(claim, entry))
}

/// Pool, key and container of an entry.
type Entry = (Arc<str>, Decimal, Hex<32>);

/// Entries without a claim, and since when they were seen so: Whereabouts writes the entry first and its claim a moment later.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    since: BTreeMap<Entry, Duration>,
}

impl Waiting {
    /// What is to be done in these pools now. What is too new for it waits.
    pub fn actions(
        &mut self,
        cache: &ClusterCache,
        pools: impl IntoIterator<Item = Arc<str>>,
        namings: &PoolNamings,
        now: Duration,
        settle: Duration,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        for name in pools {
            let earlier = self.leave(&name);
            let Some(pool) = cache.pools().content().get(&name) else { continue };
            let Some(range) = pool.range else { continue };
            let naming_of = namings.get(&name, &range, cache);
            for judged in judge(pool, cache, namings) {
                match (judged.state, judged.claim, &naming_of) {
                    (AllocationState::ClaimOutdated, Some(claim), _) => {
                        let spec = judged.entry.held();
                        let holding =
                            ReservationOwner { pool: &name, range, pod_uid: None, node: None, spec };
                        let mut wanted = Reservation::new(&claim.name, holding);
                        wanted.metadata.resource_version = claim.version.1.as_ref().map(Decimal::to_string);
                        actions.push(Action::Follow(Box::new(wanted)));
                    }
                    (AllocationState::NeedsClaim, _, Some(naming_of)) => {
                        let shared = (name.clone(), judged.key.clone(), judged.entry.id.clone());
                        let since = earlier.get(&shared).copied().unwrap_or(now);
                        if now.saturating_sub(since) >= settle {
                            let (naming_of, separation) = (naming_of.clone(), pool.separation);
                            let (ip, spec) = (judged.ip, judged.entry.held());
                            let missing = Missing { naming_of, separation, range, ip, spec };
                            actions.push(Action::Make(Box::new(missing)));
                        }
                        self.since.insert(shared, since);
                    }
                    _ => {}
                }
            }
        }
        actions
    }

    /// The pools in which something waits.
    pub fn pools(&self) -> Vec<Arc<str>> {
        let mut pools: Vec<Arc<str>> = self.since.keys().map(|(pool, _, _)| pool.clone()).collect();
        pools.dedup();
        pools
    }

    fn leave(&mut self, pool: &str) -> BTreeMap<Entry, Duration> {
        let (own, others) =
            std::mem::take(&mut self.since).into_iter().partition(|((name, _, _), _)| **name == *pool);
        self.since = others;
        own
    }
}

/// Does what is to be done; what fails is logged, and found again.
pub async fn pass(context: &Context, actions: Vec<Action>) {
    let deadline = Deadline::after(context.timing.request);
    let done = stream::iter(actions).map(|action| async move {
        let claims = Claims { api: &context.api, namespace: &context.namespace, deadline };
        let (ip_or_name, podref, done) = match action {
            Action::Make(missing) => {
                let done = make(&claims, &missing.adopted(node::clock::now())).await;
                (ip::text(missing.ip), missing.spec.podref, done)
            }
            Action::Follow(claim) => {
                let done = follow(context, &claim, deadline).await;
                (claim.metadata.name.unwrap_or_default(), claim.spec.podref, done)
            }
        };
        crash_point!("leader-after-adopt");
        match done {
            Ok(()) => tracing::info!(claim = ip_or_name, podref, "adopted from Whereabouts"),
            Err(error) => tracing::warn!(claim = ip_or_name, %error, "not adopted; trying again"),
        }
    });
    done.buffer_unordered(AT_ONCE).collect::<()>().await;
}

/// What else the claim's object says stays as it is.
async fn follow(context: &Context, wanted: &Reservation, deadline: Deadline) -> Result<(), ApiError> {
    let name = wanted.metadata.name.clone().and_then(|name| DnsSubdomain::new(name).ok());
    let (Some(name), Some(pool), Some(range)) = (name, wanted.pool(), wanted.range()) else {
        return Ok(());
    };
    let path = RESERVATIONS.in_namespace(&context.namespace).object(&name);
    let policy = RetryPolicy::new(OnUnknown::Repeat);
    let get = || context.api.get::<Reservation>(&path, deadline);
    let mut claim = match retry(deadline, policy, get).await {
        Ok(claim) if claim.metadata.resource_version == wanted.metadata.resource_version => claim,
        // It changed since: the next look decides.
        Ok(_) | Err(ApiError::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    claim.assign(ReservationOwner { pool, range, pod_uid: None, node: None, spec: wanted.spec.clone() });
    let replace = || context.api.replace::<IgnoredAny>(&path, &claim, deadline);
    match retry(deadline, policy, replace).await {
        Ok(_) | Err(ApiError::Conflict { .. } | ApiError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What is to be done now in the pools that changed, and in those where something waits.
fn look(context: &Context, shared: &SharedCache, waiting: &mut Waiting, now: Duration) -> Vec<Action> {
    let mut cache = shared.lock();
    if !cache.can_judge() || !cache.networks.is_synced() || !cache.slice_pools.is_synced() {
        return Vec::new();
    }
    let mut pools = cache.take_unjudged();
    pools.extend(waiting.pools());
    // Most need nothing, for which the networks need not be read.
    let no_networks = PoolNamings::default();
    let needs_something = |name: &Arc<str>| {
        let pool = cache.pools().content().get(name);
        pool.is_some_and(|pool| {
            judge(pool, &cache, &no_networks).iter().any(|judged| judged.state != AllocationState::InSync)
        })
    };
    let (unsettled, settled): (Vec<Arc<str>>, Vec<Arc<str>>) = pools.into_iter().partition(needs_something);
    settled.iter().for_each(|pool| drop(waiting.leave(pool)));
    if unsettled.is_empty() {
        return Vec::new();
    }
    let namings =
        PoolNamings::of(&networks::whereabouts_networks(cache.networks.iter(), networks::flat_file), &cache);
    waiting.actions(&cache, unsettled, &namings, now, context.timing.settle)
}

/// Adopts whenever pools change. Never returns.
pub async fn run(context: &Context, shared: &SharedCache) {
    let begin = Instant::now();
    let mut waiting = Waiting::default();
    loop {
        let actions = look(context, shared, &mut waiting, begin.elapsed());
        pass(context, actions).await;
        // Not more often than this: each look reads the pools that changed from end to end.
        tokio::time::sleep(context.timing.settle / 4).await;
        if waiting.since.is_empty() {
            let _ = tokio::time::timeout(context.timing.pass, shared.entries.notified()).await;
        }
    }
}
