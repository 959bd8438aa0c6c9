//! Adoption: Whereabouts' allocations get claims.
//!
//! While nodes with Whereabouts and nodes with this plugin share a cluster, Whereabouts allocates an address by an entry in the pool's
//! object, and this plugin allocates it by a claim. The leader turns each entry of Whereabouts into a claim:
//!
//! 1. An allocation without a claim gets one ([`crate::claims::adopt::ensure_claim`]), after the naming of the pool was fixed
//!    ([`crate::claims::naming`]). Whereabouts writes the allocation first and its own claim a moment later, so the leader waits for `settle`
//!    (2 s) before it creates the claim. It does not wait where Whereabouts took over an allocation of ours: that had a claim, which the DEL of
//!    the earlier sandbox has deleted, so each moment without one may give the address to another pod.
//! 2. An allocation with a newer container than its claim updates the claim: Whereabouts gave the address to the pod's next sandbox. The
//!    update carries the resourceVersion of the cached claim, so a claim that our plugin took over meanwhile is not changed.
//! 3. An allocation whose address another pod has claimed stays while its pod exists: the request that made the claim may give way to it, or
//!    the claim may be one of a pod that Whereabouts deleted. [`super::views`] removes it once its pod is gone.
//! 4. Nothing is done for allocations that this project wrote; [`super::ip_pool_view`] tells who wrote an allocation.
//!
//! If the leader dies between two steps, the next leader decides from the same objects and continues. Once all nodes run this plugin, no
//! allocation needs a claim any more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cni::crash_point;
use futures::{StreamExt as _, stream};
use ipnet::IpNet;
use node::client::{ApiError, OnUnknown, RetryPolicy, retry};
use node::deadline::Deadline;
use node::names::DnsSubdomain;
use serde::de::IgnoredAny;
use tokio::time::Instant;

use super::cluster_cache::{ClusterCache, SharedCache};
use super::context::{AT_ONCE, Context};
use super::networks::{self, PoolNaming, PoolNamings};
use crate::addr::ip;
use crate::claims::adopt::{Adopted, AllocationToAdopt, ensure_claim};
use crate::claims::naming::naming_of;
use crate::claims::store::Claims;
use crate::crd::allocation_state::{AllocationState, Remover, allocation_state};
use crate::crd::cached::{CachedAllocation, CachedPool, CachedReservation, Via};
use crate::crd::ip_pool::ClaimNaming;
use crate::crd::packed::{Decimal, Hex};
use crate::crd::reservation::{RESERVATIONS, Reservation, ReservationOwner, ReservationSpec};
use crate::metrics::TaskOutcome;
use crate::pool::claim_names::PoolLock;
use crate::pool::claim_reader::ClaimNameReader;

/// The time limit to adopt one pool that Whereabouts filled: it may have 7,500 allocations, and the API server may be slow.
const FIX_LIMIT: Duration = Duration::from_secs(300);

/// What an allocation needs.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Create its claim.
    CreateClaim(Box<MissingClaim>),
    /// Write this owner into the claim, if it still has this resourceVersion.
    UpdateClaim(Box<Reservation>),
}

/// A claim that an allocation lacks.
#[derive(Clone, Debug)]
pub(super) struct MissingClaim {
    pool_naming: PoolNaming,
    range: IpNet,
    ip: IpAddr,
    spec: ReservationSpec,
}

impl MissingClaim {
    /// Creates the claim.
    async fn create(&self, claims: &Claims<'_>, naming: ClaimNaming) -> Result<(), ApiError> {
        let names = self.pool_naming.names(naming);
        let allocation = AllocationToAdopt { names, range: self.range, ip: self.ip, spec: self.spec.clone() };
        if ensure_claim(claims, &allocation).await? == Adopted::SharedNamesTaken
            && naming == ClaimNaming::Address
        {
            tracing::warn!(
                pool = %names.pool, address = %self.ip, pod = self.spec.podref,
                "Whereabouts gave an address that an overlapping pool holds, and claims of this pool are named by address: when the other pod \
                 is gone, the address may be given again while this one runs; let all networks of the range have the same \
                 enable_overlapping_ranges, and change the last nodes over"
            );
        }
        Ok(())
    }
}

/// An allocation with its claim and its state.
#[derive(Clone, Debug)]
pub(super) struct ClassifiedAllocation<'a> {
    /// Its key in the object: the address's offset in the range.
    pub key: &'a Decimal,
    /// The allocation.
    pub allocation: &'a CachedAllocation,
    /// Its address.
    pub ip: IpAddr,
    /// The claim of its address.
    pub claim: Option<&'a CachedReservation>,
    /// What it needs.
    pub state: AllocationState,
}

/// Classifies every allocation of a pool. Keys that are no offset in the range are skipped.
pub(super) fn classify<'a>(
    pool: &'a CachedPool,
    cache: &'a ClusterCache,
    namings: &PoolNamings,
) -> Vec<ClassifiedAllocation<'a>> {
    let name = &*pool.name;
    let Some(range) = pool.range.filter(|_| !pool.entries().is_empty()) else { return Vec::new() };
    let pool_naming = namings.get(name, &range, cache);
    let reader = ClaimNameReader::of(name, &range);
    // At most two per address: one of each name.
    let mut claims = BTreeMap::<IpAddr, (&CachedReservation, Option<&CachedReservation>)>::new();
    for claim in cache.claims_of(name) {
        let Some(ip) = reader.address(&claim.name) else { continue };
        claims.entry(ip).and_modify(|(_, second)| *second = Some(claim)).or_insert((claim, None));
    }
    let mut classified = Vec::with_capacity(pool.entries().len());
    for (key, ip, allocation) in pool.addresses() {
        let claim = match claims.get(&ip) {
            Some((first, Some(second))) => Some(relevant(first, second, allocation)),
            Some((first, None)) => Some(*first),
            None => pool_naming.as_ref().and_then(|naming| upstream_claim(cache, naming, ip, allocation)),
        };
        let remover = remover(pool, ip, allocation, cache);
        let state = allocation_state(allocation, claim, cache.pod(&allocation.podref), remover);
        classified.push(ClassifiedAllocation { key, allocation, ip, claim, state });
    }
    classified
}

/// Who removes an allocation when its claim is gone.
fn remover(pool: &CachedPool, ip: IpAddr, allocation: &CachedAllocation, cache: &ClusterCache) -> Remover {
    match PoolLock::of(pool.naming) {
        PoolLock::ClaimAndEntry => Remover::Owner,
        PoolLock::Claim if cache.saw_claim_deleted(&pool.name, ip, &allocation.id) => {
            Remover::LeaderWhoSawTheClaim
        }
        PoolLock::Claim => Remover::Leader,
    }
}

/// Which of an address's two claims decides: one of the allocation's pod; of two, one that names another container and may be outdated.
fn relevant<'a>(
    first: &'a CachedReservation,
    second: &'a CachedReservation,
    allocation: &CachedAllocation,
) -> &'a CachedReservation {
    match (is_same_pod(first, allocation), is_same_pod(second, allocation)) {
        (true, true) if first.container == allocation.id => second,
        (false, true) => second,
        (true, _) | (false, false) => first,
    }
}

fn is_same_pod(claim: &CachedReservation, allocation: &CachedAllocation) -> bool {
    claim.podref == allocation.podref
}

/// The claim that Whereabouts made for an allocation. It names no pool, so it is found by its name and its pod.
fn upstream_claim<'a>(
    cache: &'a ClusterCache,
    pool_naming: &PoolNaming,
    ip: IpAddr,
    allocation: &CachedAllocation,
) -> Option<&'a CachedReservation> {
    let name = pool_naming.upstream_name(ip)?;
    let claim = cache.claims().content().get(name.as_str()).map(Arc::as_ref);
    claim.filter(|claim| claim.pool.is_none() && is_same_pod(claim, allocation))
}

/// An allocation, as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AllocationId {
    /// The pool.
    pub pool: Arc<str>,
    key: Decimal,
    container: Hex<32>,
}

impl AllocationId {
    /// Of an allocation in this pool.
    pub fn of(pool: &Arc<str>, found: &ClassifiedAllocation<'_>) -> Self {
        AllocationId { pool: pool.clone(), key: found.key.clone(), container: found.allocation.id.clone() }
    }
}

/// Allocations without a claim that are younger than `settle`, with the time when the leader first read them.
#[derive(Clone, Debug, Default)]
pub(super) struct PendingAdoptions {
    first_seen: BTreeMap<AllocationId, Duration>,
}

impl PendingAdoptions {
    /// The actions for these pools at `now`. Allocations that are too young for an action become pending.
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
            let earlier = self.take(&name);
            let Some(pool) = cache.pools().content().get(&name) else { continue };
            let Some(range) = pool.range else { continue };
            let pool_naming = namings.get(&name, &range, cache);
            for found in classify(pool, cache, namings) {
                match (found.state, found.claim, &pool_naming) {
                    (AllocationState::ClaimOutdated, Some(claim), _) => {
                        let whole = pool_naming.as_ref().map_or(&*name, PoolNaming::whole);
                        actions.push(update_claim(&name, whole, range, found.allocation, claim));
                    }
                    // Without a naming the claim's name is unknown: wait for the network or the node.
                    (AllocationState::NeedsClaim, _, Some(pool_naming)) => {
                        let id = AllocationId::of(&name, &found);
                        let first_seen = earlier.get(&id).copied().unwrap_or(now);
                        let was_claimed = matches!(found.allocation.via, Via::Other(_));
                        if was_claimed || now.saturating_sub(first_seen) >= settle {
                            actions.push(Action::CreateClaim(Box::new(MissingClaim {
                                pool_naming: pool_naming.clone(),
                                range,
                                ip: found.ip,
                                spec: found.allocation.spec(),
                            })));
                        }
                        // It stays pending until its claim is in the cache: the action may fail.
                        self.first_seen.insert(id, first_seen);
                    }
                    _ => {}
                }
            }
        }
        actions
    }

    /// The pools with pending allocations.
    pub fn pools(&self) -> Vec<Arc<str>> {
        let mut pools: Vec<Arc<str>> = self.first_seen.keys().map(|id| id.pool.clone()).collect();
        pools.dedup();
        pools
    }

    /// Removes and returns the pending allocations of a pool.
    fn take(&mut self, pool: &str) -> BTreeMap<AllocationId, Duration> {
        let (own, others) =
            std::mem::take(&mut self.first_seen).into_iter().partition(|(id, _)| *id.pool == *pool);
        self.first_seen = others;
        own
    }
}

fn update_claim(
    pool: &str,
    whole: &str,
    range: IpNet,
    allocation: &CachedAllocation,
    claim: &CachedReservation,
) -> Action {
    let owner = ReservationOwner { pool, whole, range, pod_uid: None, node: None, spec: allocation.spec() };
    let mut update = Reservation::new(&claim.name, owner);
    update.metadata.resource_version = claim.version.1.as_ref().map(Decimal::to_string);
    Action::UpdateClaim(Box::new(update))
}

/// How the claims of the pools of missing claims are named. A naming that is not fixed yet is fixed here: once for each pool, because all of
/// its allocations get their claims before. A pool that fails is logged and left out.
async fn fix_namings(context: &Context, actions: &[Action]) -> BTreeMap<String, ClaimNaming> {
    let mut namings = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for action in actions {
        let Action::CreateClaim(missing) = action else { continue };
        let MissingClaim { pool_naming, range, .. } = &**missing;
        if !seen.insert(pool_naming.pool()) {
            continue;
        }
        let deadline = Deadline::after(FIX_LIMIT);
        let claims = Claims { api: &context.api, namespace: &context.namespace, deadline };
        match naming_of(&claims, pool_naming.named(*range)).await {
            Ok(naming) => drop(namings.insert(pool_naming.pool().to_owned(), naming)),
            Err(error) => tracing::warn!(pool = pool_naming.pool(), %error, "pool not adopted; trying again"),
        }
    }
    namings
}

/// Runs the actions. One that fails is logged; the next pass finds the allocation again.
pub(super) async fn pass(context: &Context, actions: Vec<Action>) {
    let namings = &fix_namings(context, &actions).await;
    let deadline = Deadline::after(context.timing.request);
    let done = stream::iter(actions).map(|action| async move {
        let claims = Claims { api: &context.api, namespace: &context.namespace, deadline };
        let (ip_or_name, podref, result) = match action {
            Action::CreateClaim(missing) => {
                let Some(naming) = namings.get(missing.pool_naming.pool()) else {
                    return context.metrics.adoption(TaskOutcome::Failed);
                };
                let result = missing.create(&claims, *naming).await;
                (ip::text(missing.ip), missing.spec.podref, result)
            }
            Action::UpdateClaim(claim) => {
                let result = write_owner(context, &claim, deadline).await;
                (claim.metadata.name.unwrap_or_default(), claim.spec.podref, result)
            }
        };
        // A crash here leaves the claim without the view. The next leader writes the view from the claims.
        crash_point!("leader-after-adopt");
        context.metrics.adoption(if result.is_ok() { TaskOutcome::Done } else { TaskOutcome::Failed });
        match result {
            Ok(()) => tracing::info!(claim = ip_or_name, podref, "allocation of Whereabouts adopted"),
            Err(error) => {
                tracing::warn!(claim = ip_or_name, podref, %error, "allocation of Whereabouts not adopted; trying again");
            }
        }
    });
    done.buffer_unordered(AT_ONCE).collect::<()>().await;
}

/// Writes the owner in `update` into the claim of the same name, and keeps everything else of the claim.
async fn write_owner(context: &Context, update: &Reservation, deadline: Deadline) -> Result<(), ApiError> {
    let name = update.metadata.name.clone().and_then(|name| DnsSubdomain::new(name).ok());
    let (Some(name), Some(pool), Some(range)) = (name, update.pool(), update.range()) else {
        return Ok(());
    };
    let path = RESERVATIONS.in_namespace(&context.namespace).object(&name);
    let policy = RetryPolicy::new(OnUnknown::Repeat);
    let get = || context.api.get::<Reservation>(&path, deadline);
    let mut claim = match retry(deadline, policy, get).await {
        Ok(claim) if claim.metadata.resource_version == update.metadata.resource_version => claim,
        // The claim changed since the decision: the next pass decides again.
        Ok(_) | Err(ApiError::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    // The label that is there was written with the pool's configuration at hand.
    let known = claim.whole().or(update.whole()).unwrap_or(pool).to_owned();
    let spec = update.spec.clone();
    claim.assign(ReservationOwner { pool, whole: &known, range, pod_uid: None, node: None, spec });
    let replace = || context.api.replace::<IgnoredAny>(&path, &claim, deadline);
    match retry(deadline, policy, replace).await {
        Ok(_) | Err(ApiError::Conflict { .. } | ApiError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The actions for the pools that changed and for those with pending allocations.
fn next_actions(
    context: &Context,
    shared: &SharedCache,
    pending: &mut PendingAdoptions,
    now: Duration,
) -> Vec<Action> {
    let mut cache = shared.lock();
    if !cache.has_claims_pools_and_pods() || !cache.networks.is_synced() || !cache.slice_pools.is_synced() {
        return Vec::new();
    }
    let mut pools = cache.take_pools_to_adopt();
    pools.extend(pending.pools());
    // Most pools need nothing. This is decided without the networks, whose configurations are expensive to parse.
    let no_namings = PoolNamings::default();
    let needs_action = |name: &Arc<str>| {
        let pool = cache.pools().content().get(name);
        let is_for_adoption = |found: &ClassifiedAllocation<'_>| {
            matches!(found.state, AllocationState::NeedsClaim | AllocationState::ClaimOutdated)
        };
        pool.is_some_and(|pool| classify(pool, &cache, &no_namings).iter().any(is_for_adoption))
    };
    let (unsettled, settled): (Vec<Arc<str>>, Vec<Arc<str>>) = pools.into_iter().partition(needs_action);
    settled.iter().for_each(|pool| drop(pending.take(pool)));
    if unsettled.is_empty() {
        return Vec::new();
    }
    let networks = networks::parse_networks(cache.networks.iter(), networks::flat_file);
    let namings = PoolNamings::of(&networks, &cache);
    pending.actions(&cache, unsettled, &namings, now, context.timing.settle)
}

/// Adopts allocations whenever pools change. Never returns.
pub(super) async fn run(context: &Context, shared: &SharedCache) {
    let began = Instant::now();
    let mut pending = PendingAdoptions::default();
    loop {
        let actions = next_actions(context, shared, &mut pending, began.elapsed());
        pass(context, actions).await;
        // The shortest time between two passes: each one reads the changed pools completely.
        tokio::time::sleep(context.timing.settle / 4).await;
        if pending.first_seen.is_empty() {
            let _ = tokio::time::timeout(context.timing.pass, shared.adoption_work.notified()).await;
        }
    }
}
