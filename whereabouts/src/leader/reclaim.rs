//! Reclaiming: the claims of deleted pods are deleted. [`super::reclaim_rules`] has the rules; this file reads pods, deletes claims and
//! creates events.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use cni::crash_point;
use futures::{StreamExt as _, stream};
use nad::{PodIdentity, PodRef};
use node::client::{ApiError, OnUnknown, ResourceKind, RetryPolicy, retry};
use node::deadline::Deadline;
use node::event::{Reporter, Severity, Subject, about_pod};
use node::names::DnsSubdomain;
use serde::de::IgnoredAny;
use tokio::time::Instant;

use super::adopt::classify;
use super::cluster_cache::{ClusterCache, SharedCache};
use super::context::{AT_ONCE, Context};
use super::networks::{self, PoolNamings};
use super::reclaim_rules::{
    LivePod, Observation, PodView, ReclaimCandidate, TrackedClaims, Verdict, deletable, observe,
    record_answers, verdict,
};
use crate::addr::ip;
use crate::claims::store::Claims;
use crate::crd::allocation_state::AllocationState;
use crate::crd::cached::Via;
use crate::crd::ip_pool;
use crate::crd::packed::Decimal;
use crate::crd::reservation::RESERVATIONS;
use crate::pool::claim_reader::ClaimNameReader;

/// Component and reasons of the events, as Whereabouts' tools write them.
const COMPONENT: &str = "pod-ip-controlloop";
const DONE: &str = "IPAddressGarbageCollected";
const FAILED: &str = "IPAddressGarbageCollectionFailed";

/// The most claims of one pass, so that it ends within its time limit.
const MAX_PER_PASS: usize = 1_000;

/// The least time between two passes.
const MIN_GAP: Duration = Duration::from_secs(1);

/// An expired candidate, with the data for its deletion and its event.
#[derive(Clone, Debug)]
pub(super) struct ReclaimTarget {
    pub candidate: ReclaimCandidate,
    /// The claim's address as text; the claim's name if it has no address.
    address: String,
    /// The claim's pool; `None` for claims that Whereabouts made and that name no pool.
    pool: Option<DnsSubdomain>,
    /// The allocation that Whereabouts wrote for the claim.
    upstream: Option<UpstreamAllocation>,
}

/// An allocation that Whereabouts wrote into a pool's object.
#[derive(Clone, Debug)]
struct UpstreamAllocation {
    key: u64,
    container: String,
}

/// What one pass decided.
#[derive(Clone, Debug, Default)]
pub(super) struct PassDecision {
    /// The candidates, for the next pass.
    pub candidates: TrackedClaims,
    /// Candidates whose pods are to be read, see [`confirm`].
    pub unconfirmed: Vec<ReclaimCandidate>,
    /// Candidates to delete if their pods are still gone, see [`pass`].
    pub targets: Vec<ReclaimTarget>,
}

impl PassDecision {
    /// Whether more claims may be left than one pass handles.
    const fn is_truncated(&self) -> bool {
        self.targets.len() == MAX_PER_PASS || self.unconfirmed.len() == MAX_PER_PASS
    }
}

/// Decides from every claim in the cache.
pub(super) fn decide(
    cache: &ClusterCache,
    earlier: &TrackedClaims,
    now: Duration,
    grace: Duration,
) -> PassDecision {
    let pod_of = |podref: &str| cache.pod(podref);
    let pods =
        if cache.has_claims_pools_and_pods() { PodView::Complete(&pod_of) } else { PodView::Incomplete };
    let claims = cache.claims().iter().map(|(_, claim)| claim);
    let Observation { candidates, mut unconfirmed, expired } = observe(claims, pods, earlier, now, grace);
    unconfirmed.truncate(MAX_PER_PASS);
    let reused = if expired.is_empty() { BTreeSet::new() } else { reused_by_upstream(cache, &expired) };
    let targets = expired.into_iter().filter(|candidate| !reused.contains(&candidate.name));
    let targets = targets.take(MAX_PER_PASS).map(|candidate| target(cache, candidate)).collect();
    PassDecision { candidates, unconfirmed, targets }
}

/// Claims whose address Whereabouts gave to a new container. The claim still names the old pod until [`super::adopt`] updates it.
fn reused_by_upstream(cache: &ClusterCache, expired: &[ReclaimCandidate]) -> BTreeSet<DnsSubdomain> {
    let pools: BTreeSet<&str> =
        expired.iter().filter_map(|candidate| cache.pool_of(candidate.name.as_str())).collect();
    let objects = pools.into_iter().filter_map(|pool| cache.pools().content().get(pool));
    let namings = PoolNamings::default();
    let classified = objects.flat_map(|pool| classify(pool, cache, &namings));
    let reused = classified.filter(|found| found.state == AllocationState::ClaimOutdated);
    reused.filter_map(|found| DnsSubdomain::new(&*found.claim?.name).ok()).collect()
}

fn target(cache: &ClusterCache, candidate: ReclaimCandidate) -> ReclaimTarget {
    let claim = cache.claims().content().get(candidate.name.as_str());
    let pool = claim.and_then(|claim| claim.pool.as_deref());
    let range = claim.and_then(|claim| claim.range);
    let address = pool
        .zip(range)
        .and_then(|(pool, range)| ClaimNameReader::of(pool, &range).address(candidate.name.as_str()));
    let upstream =
        address.zip(pool).and_then(|(address, pool)| upstream_allocation(cache, &candidate, address, pool));
    let pool = pool.and_then(|pool| DnsSubdomain::new(pool).ok());
    let address = address.map_or_else(|| candidate.name.to_string(), ip::text);
    ReclaimTarget { candidate, address, pool, upstream }
}

/// The allocation that Whereabouts wrote for a claim's pod. One that this project wrote is removed with the next write of the view.
fn upstream_allocation(
    cache: &ClusterCache,
    candidate: &ReclaimCandidate,
    address: IpAddr,
    pool: &str,
) -> Option<UpstreamAllocation> {
    let object = cache.pools().content().get(pool)?;
    let key = ip_pool::entry_key(&object.range?, address)?;
    let allocation = object.entry(&Decimal::from(key)).filter(|allocation| allocation.via == Via::Absent)?;
    let podref = candidate.pod.to_string();
    let container = allocation.id.to_string();
    (*allocation.podref == podref).then_some(UpstreamAllocation { key, container })
}

/// Reads the pods of unconfirmed candidates, and records the answers (rule 2).
pub(super) async fn confirm(
    context: &Context,
    candidates: &mut TrackedClaims,
    unconfirmed: Vec<ReclaimCandidate>,
    now: impl Fn() -> Duration,
) {
    let deadline = Deadline::after(context.timing.request);
    let answers = stream::iter(unconfirmed).map(|candidate| async move {
        let live = live_pod(context, &candidate.pod, deadline).await;
        (candidate, live)
    });
    let answers: Vec<(ReclaimCandidate, LivePod)> = answers.buffered(AT_ONCE).collect().await;
    // The time after the last answer: no grace time begins before its own answer.
    record_answers(candidates, &answers, now());
}

/// Reads the pods of the targets again, and deletes the claims whose pods are gone (rules 4 and 5). Returns the claims whose pods exist: their
/// observations are void.
///
/// `network_name` returns the name of a pool's network, for the event.
pub(super) async fn pass(
    context: &Context,
    targets: Vec<ReclaimTarget>,
    network_name: impl Fn(&str) -> Option<String>,
) -> Vec<DnsSubdomain> {
    let deadline = Deadline::after(context.timing.request);
    let answers = stream::iter(targets).map(|target| async move {
        let live = live_pod(context, &target.candidate.pod, deadline).await;
        (target, live)
    });
    let answers: Vec<(ReclaimTarget, LivePod)> = answers.buffered(AT_ONCE).collect().await;
    let alive = answers.iter().filter(|(target, live)| verdict(&target.candidate, live) == Verdict::Keep);
    let alive: Vec<DnsSubdomain> = alive.map(|(target, _)| target.candidate.name.clone()).collect();
    let by_candidate = answers.iter().map(|(target, live)| (target.candidate.clone(), live.clone()));
    let deletable: BTreeSet<DnsSubdomain> =
        deletable(by_candidate.collect()).into_iter().map(|claim| claim.name).collect();
    let targets = answers
        .into_iter()
        .map(|(target, _)| target)
        .filter(|target| deletable.contains(&target.candidate.name));
    let network_name = &network_name;
    let deletions = stream::iter(targets).map(|target| async move {
        let result = delete(context, &target, deadline).await;
        let failed = result.is_err();
        report(context, &target, result, network_name, deadline).await;
        failed
    });
    let mut deletions = deletions.buffer_unordered(AT_ONCE);
    while let Some(failed) = deletions.next().await {
        // The API server has a problem: leave the rest to a later pass.
        if failed {
            break;
        }
    }
    alive
}

/// Reads a pod from the API server: a watch may lag behind.
pub(super) async fn live_pod(context: &Context, pod: &PodRef, deadline: Deadline) -> LivePod {
    let path = pod.object();
    let get = || context.api.get_metadata(&path, deadline);
    match retry(deadline, RetryPolicy::new(OnUnknown::Repeat), get).await {
        Ok(metadata) => LivePod::Present(PodIdentity::of(&metadata)),
        Err(ApiError::NotFound { .. }) => LivePod::Gone,
        Err(error) => {
            tracing::warn!(%pod, %error, "cannot read the pod of a claim or an entry: nothing is freed in this pass");
            LivePod::Unknown
        }
    }
}

/// The result of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deletion {
    Done,
    /// The claim changed or was deleted since it was observed.
    TooLate,
}

async fn delete(context: &Context, target: &ReclaimTarget, deadline: Deadline) -> Result<Deletion, ApiError> {
    let path = RESERVATIONS.in_namespace(&context.namespace).object(&target.candidate.name);
    let preconditions = target.candidate.preconditions();
    let delete = || context.api.delete(&path, &preconditions, deadline);
    match retry(deadline, RetryPolicy::new(OnUnknown::Repeat), delete).await {
        // A crash here leaves Whereabouts' allocation. The next leader adopts it: it gets a claim, which is reclaimed again.
        Ok(()) => crash_point!("leader-after-reclaim"),
        Err(ApiError::NotFound { .. } | ApiError::Conflict { .. }) => return Ok(Deletion::TooLate),
        Err(error) => return Err(error),
    }
    if let (Some(pool), Some(UpstreamAllocation { key, container })) = (&target.pool, &target.upstream) {
        let claims = Claims { api: &context.api, namespace: &context.namespace, deadline };
        claims.remove_entry(pool, key, container).await?;
    }
    Ok(Deletion::Done)
}

/// Logs a deletion and creates an event for the pod. If the event cannot be created, nothing else changes.
async fn report(
    context: &Context,
    target: &ReclaimTarget,
    result: Result<Deletion, ApiError>,
    network_name: impl Fn(&str) -> Option<String>,
    deadline: Deadline,
) {
    let ReclaimCandidate { name: claim, pod, .. } = &target.candidate;
    let pool = target.pool.as_ref().map_or("", DnsSubdomain::as_str);
    // The texts are Whereabouts'.
    let (severity, reason, message) = match result {
        Ok(Deletion::TooLate) => return,
        Ok(Deletion::Done) => {
            context.metrics.reclaimed();
            let name = network_name(pool).unwrap_or_else(|| pool.to_owned());
            let message =
                format!("successful cleanup of IP address [{}] from network {name}", target.address);
            (Severity::Normal, DONE, message)
        }
        Err(error) => {
            (Severity::Warning, FAILED, format!("failed to garbage collect addresses for pod {pod}: {error}"))
        }
    };
    tracing::info!(%claim, pool, "{message}");
    let subject = Subject::from(pod.clone());
    let reporter = Reporter { component: COMPONENT, host: "" };
    let event = about_pod(&subject, severity, reason, &message, reporter, node::clock::now());
    let events = ResourceKind::EVENTS.in_namespace(&subject.namespace);
    if let Err(error) = context.api.create::<IgnoredAny>(&events, &event, deadline).await {
        tracing::debug!(%error, "event not created");
    }
}

/// Reclaims in every period, and soon after a pod was deleted. Never returns.
pub(super) async fn run(context: &Context, shared: &SharedCache) {
    let began = Instant::now();
    let mut candidates = TrackedClaims::new();
    loop {
        let (decision, network_names) = {
            let cache = shared.lock();
            let decision = decide(&cache, &candidates, began.elapsed(), context.timing.grace);
            // The names are needed only for events, and the networks' configurations are expensive to parse.
            let names = if decision.targets.is_empty() {
                BTreeMap::new()
            } else {
                networks::network_name_by_pool(&cache)
            };
            (decision, names)
        };
        let is_truncated = decision.is_truncated();
        let PassDecision { candidates: next, unconfirmed, targets } = decision;
        context
            .metrics
            .set_reclaim_candidates(next.values().filter(|tracked| tracked.is_candidate()).count());
        // New candidates are observed again soon, so that their pods are read and the grace time begins.
        let has_new = next.keys().any(|name| !candidates.contains_key(name));
        candidates = next;
        confirm(context, &mut candidates, unconfirmed, || began.elapsed()).await;
        for alive in pass(context, targets, |pool| network_names.get(pool).cloned()).await {
            candidates.remove(alive.as_str());
        }
        tokio::time::sleep(MIN_GAP.min(context.timing.pass)).await;
        if !is_truncated && !has_new {
            let _ = tokio::time::timeout(context.timing.pass, shared.reclaim_work.notified()).await;
        }
    }
}
