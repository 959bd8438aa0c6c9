//! Reclaiming: claims whose pod is gone are deleted, after a grace time and after the API server was asked for that very pod.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use cni::crash_point;
use futures::{StreamExt as _, stream};
use node::client::{ApiError, OnUnknown, Patch, ResourceKind, RetryPolicy, retry};
use node::deadline::Deadline;
use node::event::{Reporter, Severity, Subject, about_pod};
use node::names::{DnsSubdomain, PodUid};
use serde_json::json;
use tokio::time::Instant;

use super::adopt::judge;
use super::cluster_cache::{ClusterCache, SharedCache};
use super::context::{AT_ONCE, Context};
use super::networks::{self, PoolNamings};
use super::reclaim_rules::{
    LivePod, Observation, PodView, ReclaimCandidate, TrackedClaims, Verdict, observe, record_answers,
    releases, verdict,
};
use crate::addr::ip;
use crate::crd::allocation_state::AllocationState;
use crate::crd::cached::Via;
use crate::crd::ip_pool::POOLS;
use crate::crd::packed::Decimal;
use crate::crd::pod::PodIdentity;
use crate::crd::reservation::RESERVATIONS;
use crate::pool::claim_reader::ClaimNameReader;

/// Who says it, as Whereabouts' tools do.
const COMPONENT: &str = "pod-ip-controlloop";
const DONE: &str = "IPAddressGarbageCollected";
const FAILED: &str = "IPAddressGarbageCollectionFailed";

/// So many claims are dealt with in one pass, so that it ends in time.
const AT_A_TIME: usize = 1_000;

/// The shortest time between two looks when pods go one after the other.
const APART: Duration = Duration::from_secs(1);

/// A claim that is due, with what there is to say about it.
#[derive(Clone, Debug)]
pub struct ReclaimTarget {
    /// The claim.
    pub due: ReclaimCandidate,
    /// Its address, as text.
    pub address: String,
    /// Its pool; `None` for claims that Whereabouts made and that no pool has.
    pub pool: Option<DnsSubdomain>,
    /// What Whereabouts wrote about it in its pool: key and container.
    pub entry: Option<(String, String)>,
}

/// What a look yields.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// For the next one.
    pub candidates: TrackedClaims,
    /// Whose pods are to be asked for, see [`confirm`].
    pub unconfirmed: Vec<ReclaimCandidate>,
    /// What is due, with what there is to say about it.
    pub lost: Vec<ReclaimTarget>,
}

impl Look {
    /// Whether there may be more to do than one pass does.
    const fn is_cut(&self) -> bool {
        self.lost.len() == AT_A_TIME || self.unconfirmed.len() == AT_A_TIME
    }
}

/// Looks at every claim.
pub fn look(cache: &ClusterCache, earlier: &TrackedClaims, now: Duration, grace: Duration) -> Look {
    let lookup = |podref: &str| cache.pod(podref);
    let pods = if cache.can_judge() { PodView::Complete(&lookup) } else { PodView::Incomplete };
    let claims = cache.claims().iter().map(|(_, claim)| claim);
    let Observation { candidates, mut unconfirmed, due } = observe(claims, pods, earlier, now, grace);
    unconfirmed.truncate(AT_A_TIME);
    let held_back = if due.is_empty() { BTreeSet::new() } else { held_back(cache, &due) };
    let due = due.into_iter().filter(|due| !held_back.contains(&due.name)).take(AT_A_TIME);
    Look { candidates, unconfirmed, lost: due.map(|due| lost(cache, due)).collect() }
}

/// Claims that Whereabouts uses again under another container, as an entry says that was not taken over yet.
fn held_back(cache: &ClusterCache, due: &[ReclaimCandidate]) -> BTreeSet<DnsSubdomain> {
    let pools: BTreeSet<&str> = due.iter().filter_map(|due| cache.pool_of(due.name.as_str())).collect();
    let objects = pools.into_iter().filter_map(|pool| cache.pools().content().get(pool));
    let namings = PoolNamings::default();
    let judged = objects.flat_map(|pool| judge(pool, cache, &namings));
    let followed = judged.filter(|judged| judged.state == AllocationState::ClaimOutdated);
    followed.filter_map(|judged| DnsSubdomain::new(&*judged.claim?.name).ok()).collect()
}

fn lost(cache: &ClusterCache, due: ReclaimCandidate) -> ReclaimTarget {
    let claim = cache.claims().content().get(due.name.as_str());
    let pool = claim.and_then(|claim| claim.pool.as_deref());
    let range = claim.and_then(|claim| claim.range);
    let address = pool
        .zip(range)
        .and_then(|(pool, range)| ClaimNameReader::of(pool, &range).address(due.name.as_str()));
    let entry = address.zip(pool).and_then(|(address, pool)| upstream_entry(cache, &due, address, pool));
    let pool = pool.and_then(|pool| DnsSubdomain::new(pool).ok());
    let text = address.map_or_else(|| due.name.to_string(), ip::text);
    ReclaimTarget { address: text, pool, entry, due }
}

/// What Whereabouts wrote about the claim in its pool. What we wrote goes with the next view.
fn upstream_entry(
    cache: &ClusterCache,
    due: &ReclaimCandidate,
    address: IpAddr,
    pool: &str,
) -> Option<(String, String)> {
    let object = cache.pools().content().get(pool)?;
    let key = ip::offset(address, object.range?.network())?.to_string();
    let entry = object.entry(&Decimal::of(&key)).filter(|entry| entry.via == Via::Absent)?;
    let podref = format!("{}/{}", due.pod.namespace, due.pod.name);
    (*entry.podref == podref).then(|| (key, entry.id.to_string()))
}

/// Asks for the pods of candidates. The grace time of those that are gone begins with the answer.
pub async fn confirm(
    context: &Context,
    candidates: &mut TrackedClaims,
    unconfirmed: Vec<ReclaimCandidate>,
    now: impl Fn() -> Duration,
) {
    let deadline = Deadline::after(context.timing.request);
    let asked = stream::iter(unconfirmed).map(|due| async move {
        let live = live_pod(context, &due, deadline).await;
        (due, live)
    });
    let answers: Vec<(ReclaimCandidate, LivePod)> = asked.buffered(AT_ONCE).collect().await;
    record_answers(candidates, &answers, now());
}

/// Asks for the pod of each claim, and deletes the claims of those that are gone. `network` names the network of a pool, for the event.
///
/// Returns the claims whose pod turned out to live: what was seen of them before counts no more.
pub async fn pass(
    context: &Context,
    lost: Vec<ReclaimTarget>,
    network: impl Fn(&str) -> Option<String>,
) -> Vec<DnsSubdomain> {
    let deadline = Deadline::after(context.timing.request);
    let asked = stream::iter(lost).map(|lost| async move {
        let live = live_pod(context, &lost.due, deadline).await;
        (lost, live)
    });
    let asked: Vec<(ReclaimTarget, LivePod)> = asked.buffered(AT_ONCE).collect().await;
    let judged = asked.iter().map(|(lost, live)| (lost.due.clone(), live.clone())).collect();
    let living = asked.iter().filter(|(lost, live)| verdict(&lost.due, live) == Verdict::Keep);
    let living: Vec<DnsSubdomain> = living.map(|(lost, _)| lost.due.name.clone()).collect();
    let confirmed: BTreeSet<DnsSubdomain> = releases(judged).into_iter().map(|due| due.name).collect();
    let gone = asked.into_iter().map(|(lost, _)| lost).filter(|lost| confirmed.contains(&lost.due.name));
    let network = &network;
    let released = stream::iter(gone).map(|lost| async move {
        let result = release(context, &lost, deadline).await;
        let failed = result.is_err();
        tell(context, &lost, result, network, deadline).await;
        failed
    });
    let mut released = released.buffer_unordered(AT_ONCE);
    while let Some(failed) = released.next().await {
        // The API server is not well: the rest is found again.
        if failed {
            break;
        }
    }
    living
}

async fn live_pod(context: &Context, due: &ReclaimCandidate, deadline: Deadline) -> LivePod {
    let path = ResourceKind::PODS.in_namespace(&due.pod.namespace).object(&due.pod.name);
    let get = || context.api.get_metadata(&path, deadline);
    match retry(deadline, RetryPolicy::new(OnUnknown::Repeat), get).await {
        Ok(metadata) => LivePod::Present(PodIdentity::of(&metadata)),
        Err(ApiError::NotFound { .. }) => LivePod::Gone,
        Err(error) => {
            tracing::warn!(claim = %due.name, %error, "nobody knows whether this claim's pod lives: nothing is reclaimed now");
            LivePod::Unknown
        }
    }
}

/// Whether a claim was there to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Release {
    Done,
    /// It is another's by now, or gone.
    TooLate,
}

async fn release(context: &Context, lost: &ReclaimTarget, deadline: Deadline) -> Result<Release, ApiError> {
    let path = RESERVATIONS.in_namespace(&context.namespace).object(&lost.due.name);
    let exactly = lost.due.preconditions();
    let delete = || context.api.delete(&path, &exactly, deadline);
    match retry(deadline, RetryPolicy::new(OnUnknown::Repeat), delete).await {
        Ok(()) => crash_point!("leader-after-reclaim"),
        Err(ApiError::NotFound { .. } | ApiError::Conflict { .. }) => return Ok(Release::TooLate),
        Err(error) => return Err(error),
    }
    if let (Some(pool), Some((key, id))) = (&lost.pool, &lost.entry) {
        remove_entry(context, pool, key, id, deadline).await?;
    }
    Ok(Release::Done)
}

/// As long as it is that container's.
async fn remove_entry(
    context: &Context,
    pool: &DnsSubdomain,
    key: &str,
    id: &str,
    deadline: Deadline,
) -> Result<(), ApiError> {
    let path = POOLS.in_namespace(&context.namespace).object(pool);
    let patch = Patch::Json(json!([
        { "op": "test", "path": format!("/spec/allocations/{key}/id"), "value": id },
        { "op": "remove", "path": format!("/spec/allocations/{key}") },
    ]));
    let remove = || context.api.patch::<serde::de::IgnoredAny>(&path, &patch, deadline);
    match retry(deadline, RetryPolicy::new(OnUnknown::Repeat), remove).await {
        Ok(_) | Err(ApiError::Invalid { .. } | ApiError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Tells the pod's owner. An event that cannot be made is no reason to do anything.
async fn tell(
    context: &Context,
    lost: &ReclaimTarget,
    result: Result<Release, ApiError>,
    network: impl Fn(&str) -> Option<String>,
    deadline: Deadline,
) {
    let pool = lost.pool.as_ref().map_or("", DnsSubdomain::as_str);
    let (severity, reason, message) = match result {
        Ok(Release::TooLate) => return,
        Ok(Release::Done) => {
            context.metrics.reclaimed();
            let name = network(pool).unwrap_or_else(|| pool.to_owned());
            let message = format!("successful cleanup of IP address [{}] from network {name}", lost.address);
            (Severity::Normal, DONE, message)
        }
        Err(error) => {
            let pod = format!("{}/{}", lost.due.pod.namespace, lost.due.pod.name);
            (Severity::Warning, FAILED, format!("failed to garbage collect addresses for pod {pod}: {error}"))
        }
    };
    tracing::info!(claim = %lost.due.name, pool, "{message}");
    let subject = Subject {
        namespace: lost.due.pod.namespace.clone(),
        name: lost.due.pod.name.clone(),
        uid: lost.due.pod_uid.as_ref().and_then(|uid| PodUid::new(uid.clone()).ok()),
    };
    let reporter = Reporter { component: COMPONENT, host: "" };
    let event =
        about_pod(&subject, severity, reason, &message, reporter, k8s_openapi::jiff::Timestamp::now());
    let events = ResourceKind::EVENTS.in_namespace(&subject.namespace);
    let created = context.api.create::<serde::de::IgnoredAny>(&events, &event, deadline).await;
    if let Err(error) = created {
        tracing::debug!(%error, "no event");
    }
}

/// Reclaims at every pass, and soon after a pod is gone. Never returns.
pub async fn run(context: &Context, shared: &SharedCache) {
    let begin = Instant::now();
    let mut candidates = TrackedClaims::new();
    loop {
        let (seen_now, names) = {
            let cache = shared.lock();
            let look = look(&cache, &candidates, begin.elapsed(), context.timing.grace);
            let names = if look.lost.is_empty() { Default::default() } else { networks::names(&cache) };
            (look, names)
        };
        let is_cut = seen_now.is_cut();
        let Look { candidates: next, unconfirmed, lost } = seen_now;
        context.metrics.candidates(next.len());
        // New ones are looked at again soon: then they are asked for.
        let has_new = next.keys().any(|name| !candidates.contains_key(name));
        candidates = next;
        confirm(context, &mut candidates, unconfirmed, || begin.elapsed()).await;
        for living in pass(context, lost, |pool| names.get(pool).cloned()).await {
            candidates.remove(living.as_str());
        }
        tokio::time::sleep(APART.min(context.timing.pass)).await;
        if !is_cut && !has_new {
            let _ = tokio::time::timeout(context.timing.pass, shared.pods.notified()).await;
        }
    }
}
