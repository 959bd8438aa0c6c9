//! Entries of the pools' objects that protect an address only while their pod exists: entries without a claim, and entries of an address that
//! another pod has claimed. They may be removed once their pod has been gone for the grace time, as claims are reclaimed: the sandbox of a pod
//! that was deleted by force uses the address until its DEL. The API server itself must say that the pod is gone: a watch can lag behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use nad::PodRef;
use node::deadline::Deadline;

use super::adopt::{AllocationId, ClassifiedAllocation};
use super::cluster_cache::ClusterCache;
use super::context::{AT_ONCE, Context};
use super::reclaim::live_pod;
use super::reclaim_rules::LivePod;
use crate::crd::allocation_state::AllocationState;

/// The most pods that one pass reads.
const MAX_PER_PASS: usize = 256;

/// What is known about such entries.
#[derive(Debug, Default)]
pub(super) struct VoidEntries {
    /// Pools that have such entries: they are looked at again from time to time, because their pods may end.
    pools: BTreeSet<Arc<str>>,
    /// Entries whose pods are to be read: the cache does not have them.
    unconfirmed: BTreeSet<(AllocationId, PodRef)>,
    /// Entries whose pods are gone, and when the API server first said so.
    gone_since: BTreeMap<AllocationId, Duration>,
    /// Entries whose pods have been gone for the grace time.
    void: BTreeSet<AllocationId>,
}

/// Also one that needs a claim: the claim of another pod, which it was disputed with, may have been deleted just now.
const fn protects_while_its_pod_exists(state: AllocationState) -> bool {
    use AllocationState::{Disputed, NeedsClaim, Unclaimed};
    matches!(state, Unclaimed | Disputed | NeedsClaim)
}

impl VoidEntries {
    /// The state of an allocation, with what is known about its pod.
    pub fn state(&self, pool: &Arc<str>, found: &ClassifiedAllocation<'_>) -> AllocationState {
        let is_void =
            protects_while_its_pod_exists(found.state) && self.void.contains(&AllocationId::of(pool, found));
        if is_void { AllocationState::Released } else { found.state }
    }

    /// Notes which of a pool's allocations protect an address only while their pod exists.
    pub fn note(&mut self, pool: &Arc<str>, classified: &[ClassifiedAllocation<'_>], cache: &ClusterCache) {
        self.pools.remove(pool);
        self.void.retain(|entry| entry.pool != *pool);
        let mut gone_since = std::mem::take(&mut self.gone_since);
        let of_others = gone_since.extract_if(.., |entry, _| entry.pool != *pool);
        self.gone_since.extend(of_others);
        for found in classified {
            if !protects_while_its_pod_exists(found.state) {
                continue;
            }
            self.pools.insert(pool.clone());
            // A podref that is none belongs to no pod: somebody reserved the address by hand.
            let pod = found.allocation.podref.parse::<PodRef>().ok();
            let Some(pod) = pod.filter(|_| cache.pod(&found.allocation.podref).is_none()) else { continue };
            let entry = AllocationId::of(pool, found);
            self.gone_since.extend(gone_since.remove_entry(&entry));
            self.unconfirmed.insert((entry, pod));
        }
    }

    /// The pools to look at again.
    pub fn pools(&self) -> impl Iterator<Item = Arc<str>> {
        self.pools.iter().cloned()
    }

    /// Reads the pods of the entries that were noted, at `now`. Returns the pools with entries whose pods have been gone for the grace time.
    pub async fn confirm(&mut self, context: &Context, now: Duration) -> BTreeSet<Arc<str>> {
        let deadline = Deadline::after(context.timing.request);
        let unconfirmed = std::mem::take(&mut self.unconfirmed).into_iter().take(MAX_PER_PASS);
        let answers = stream::iter(unconfirmed)
            .map(|(entry, pod)| async move { (live_pod(context, &pod, deadline).await, entry) });
        let answers: Vec<(LivePod, AllocationId)> = answers.buffer_unordered(AT_ONCE).collect().await;
        let mut pools = BTreeSet::new();
        for (live, entry) in answers {
            match live {
                LivePod::Gone => {
                    let since = *self.gone_since.entry(entry.clone()).or_insert(now);
                    if now.saturating_sub(since) >= context.timing.grace {
                        pools.insert(entry.pool.clone());
                        self.void.insert(entry);
                    }
                }
                LivePod::Present(_) => drop(self.gone_since.remove(&entry)),
                LivePod::Unknown => {}
            }
        }
        pools
    }
}
