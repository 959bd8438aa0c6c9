//! Entries of the pools' objects that protect an address only while their pod exists: entries without a claim, and entries of an address that
//! another pod has claimed. They may be removed once their pod is gone, which the API server itself must say: a watch can lag behind.

use std::collections::BTreeSet;
use std::sync::Arc;

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
    /// Entries whose pods are gone.
    void: BTreeSet<AllocationId>,
}

impl VoidEntries {
    /// The state of an allocation, with what is known about its pod.
    pub fn state(&self, pool: &Arc<str>, found: &ClassifiedAllocation<'_>) -> AllocationState {
        match found.state {
            AllocationState::Unclaimed | AllocationState::Disputed
                if self.void.contains(&AllocationId::of(pool, found)) =>
            {
                AllocationState::Released
            }
            state => state,
        }
    }

    /// Notes which of a pool's allocations protect an address only while their pod exists.
    pub fn note(&mut self, pool: &Arc<str>, classified: &[ClassifiedAllocation<'_>], cache: &ClusterCache) {
        self.pools.remove(pool);
        self.void.retain(|entry| entry.pool != *pool);
        for found in classified {
            if !matches!(found.state, AllocationState::Unclaimed | AllocationState::Disputed) {
                continue;
            }
            self.pools.insert(pool.clone());
            // A podref that is none belongs to no pod: somebody reserved the address by hand.
            let pod = found.allocation.podref.parse::<PodRef>().ok();
            let gone = pod.filter(|_| cache.pod(&found.allocation.podref).is_none());
            self.unconfirmed.extend(gone.map(|pod| (AllocationId::of(pool, found), pod)));
        }
    }

    /// The pools to look at again.
    pub fn pools(&self) -> impl Iterator<Item = Arc<str>> {
        self.pools.iter().cloned()
    }

    /// Reads the pods of the entries that were noted. Returns the pools with entries whose pods are gone.
    pub async fn confirm(&mut self, context: &Context) -> BTreeSet<Arc<str>> {
        let deadline = Deadline::after(context.timing.request);
        let unconfirmed = std::mem::take(&mut self.unconfirmed).into_iter().take(MAX_PER_PASS);
        let answers = stream::iter(unconfirmed).map(|(entry, pod)| async move {
            // Any other answer, and any error, leaves the entry as it is.
            (live_pod(context, &pod, deadline).await == LivePod::Gone).then_some(entry)
        });
        let gone: Vec<Option<AllocationId>> = answers.buffer_unordered(AT_ONCE).collect().await;
        let mut pools = BTreeSet::new();
        for entry in gone.into_iter().flatten() {
            pools.insert(entry.pool.clone());
            self.void.insert(entry);
        }
        pools
    }
}
