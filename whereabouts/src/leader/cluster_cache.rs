//! The leader's cache of the cluster: claims, pools, pods, nodes, networks and slices, kept up to date by watches. It also records which pools
//! changed since the leader's tasks last read them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use nad::{NetworkAttachmentDefinition, PodIdentity};
use node::client::{ApiClient, Change, Effect, Parts, ResourceKind, Selection, Store, reflect};
use node::names::DnsLabel;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use crate::crd::cached::{CachedObject, CachedPool, CachedReservation};
use crate::crd::interner::Interner;
use crate::crd::ip_pool::POOLS;
use crate::crd::node_slice_pool::{NODE_SLICE_POOLS, NodeSlicePool};
use crate::crd::packed::Hex;
use crate::crd::reservation::RESERVATIONS;
use crate::metrics::Metrics;
use crate::pool::claim_reader::ClaimNameReader;

/// The cache, shared by the leader's tasks. A task locks it to read, and never across an `await`.
#[derive(Debug, Default)]
pub struct SharedCache {
    cache: Mutex<ClusterCache>,
    /// Wakes `views`: claims, pools, networks or slices changed.
    pub view_work: Notify,
    /// Wakes `adopt`: claims, pools, networks or slices changed.
    pub adoption_work: Notify,
    /// Wakes `slices`: networks, nodes or slices changed.
    pub slice_work: Notify,
    /// Wakes `reclaim`: a pod was deleted.
    pub reclaim_work: Notify,
    /// Wakes `network_check`: networks changed.
    pub network_work: Notify,
}

impl SharedCache {
    /// Locks the cache.
    pub fn lock(&self) -> MutexGuard<'_, ClusterCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cached objects by name. Claims, pools and slices are those of one namespace, the others those of the whole cluster.
#[derive(Debug, Default)]
pub struct ClusterCache {
    claims: Store<Arc<str>, Arc<CachedReservation>>,
    pools: Store<Arc<str>, CachedPool>,
    /// Pods, by `namespace/name`.
    pub pods: Store<Box<str>, PodIdentity>,
    /// The nodes' names.
    pub nodes: Store<String, ()>,
    /// NetworkAttachmentDefinitions, by `namespace/name`.
    pub networks: Store<String, NetworkAttachmentDefinition>,
    /// NodeSlicePools.
    pub slice_pools: Store<String, NodeSlicePool>,
    /// The names of each pool's claims.
    members: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// The addresses of each pool whose claim was deleted, with its container: at most one for each address.
    deleted_claims: BTreeMap<Arc<str>, BTreeMap<IpAddr, Hex<32>>>,
    /// Strings that many claims have in common.
    interner: Interner,
    /// Pools whose view may be out of date.
    stale_views: BTreeSet<Arc<str>>,
    /// Pools whose allocations may need claims.
    to_adopt: BTreeSet<Arc<str>>,
    /// Counts the changes of networks and slices.
    networks_version: u64,
}

impl ClusterCache {
    /// All claims.
    pub const fn claims(&self) -> &Store<Arc<str>, Arc<CachedReservation>> {
        &self.claims
    }

    /// All pools.
    pub const fn pools(&self) -> &Store<Arc<str>, CachedPool> {
        &self.pools
    }

    /// The claims of a pool.
    pub fn claims_of(&self, pool: &str) -> impl Iterator<Item = &CachedReservation> {
        let names = self.members.get(pool).into_iter().flatten();
        names.filter_map(|name| self.claims.content().get(name).map(Arc::as_ref))
    }

    /// The pools that have claims.
    pub fn claimed_pools(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(Arc::as_ref)
    }

    /// The pool that the claim of this name belongs to.
    pub fn pool_of(&self, claim: &str) -> Option<&str> {
        self.claims.content().get(claim)?.pool.as_deref()
    }

    /// The pod with this podref.
    pub fn pod(&self, podref: &str) -> Option<&PodIdentity> {
        self.pods.content().get(podref)
    }

    /// Whether an entry of a pool's object shows a claim whose deletion this cache saw.
    pub fn saw_claim_deleted(&self, pool: &str, ip: IpAddr, container: &Hex<32>) -> bool {
        self.deleted_claims.get(pool).and_then(|deleted| deleted.get(&ip)) == Some(container)
    }

    /// Whether claims, pools and pods are listed completely, so that an object that is not cached does not exist.
    pub fn has_claims_pools_and_pods(&self) -> bool {
        self.claims.is_synced() && self.pools.is_synced() && self.pods.is_synced()
    }

    /// Returns the pools whose view may be out of date, and forgets them.
    pub fn take_stale_views(&mut self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.stale_views)
    }

    /// Returns the pools whose allocations may need claims, and forgets them.
    pub fn take_pools_to_adopt(&mut self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.to_adopt)
    }

    /// Applies a watch event of a claim.
    pub fn apply_claim(&mut self, change: Change<CachedReservation>) {
        let interner = &mut self.interner;
        let change = change.map(|claim| (claim.name.clone(), Arc::new(claim.interned(interner))));
        match self.claims.apply(change) {
            Effect::Nothing => {}
            Effect::Put(name, was) => self.claim_changed(&name, was),
            Effect::Gone(name, was) => self.claim_changed(&name, Some(was)),
            Effect::Replaced { put, gone } => {
                put.into_iter().for_each(|(name, was)| self.claim_changed(&name, was));
                gone.into_iter().for_each(|(name, was)| self.claim_changed(&name, Some(was)));
                self.interner.remove_unused();
            }
        }
    }

    /// Updates the members of the claim's old and new pool, and marks both pools.
    fn claim_changed(&mut self, name: &Arc<str>, was: Option<Arc<CachedReservation>>) {
        match (self.claims.content().get(name).cloned(), &was) {
            (Some(claim), _) => self.forget_deleted(&claim),
            (None, Some(was)) => self.remember_deleted(was),
            (None, None) => {}
        }
        let old = was.and_then(|was| was.pool.clone());
        let new = self.claims.content().get(name).and_then(|claim| claim.pool.clone());
        if let Some(old) = old {
            if Some(&old) != new.as_ref() {
                self.remove_member(&old, name);
            }
            self.mark(old);
        }
        if let Some(new) = new {
            self.members.entry(new.clone()).or_default().insert(name.clone());
            self.mark(new);
        }
    }

    /// Remembers the container of a deleted claim until the address has another one or the pool's object shows it no more. An entry that shows it
    /// may come to the cache later: the leader's own write, which was decided while the claim was there.
    fn remember_deleted(&mut self, claim: &CachedReservation) {
        if let Some((pool, address)) = place(claim) {
            self.deleted_claims.entry(pool).or_default().insert(address, claim.container.clone());
        }
    }

    /// Forgets the deleted claim of an address that has a claim now.
    fn forget_deleted(&mut self, claim: &CachedReservation) {
        if let Some((pool, address)) = place(claim)
            && let Some(deleted) = self.deleted_claims.get_mut(&pool)
        {
            deleted.remove(&address);
        }
    }

    fn remove_member(&mut self, pool: &str, claim: &str) {
        let Some(members) = self.members.get_mut(pool) else { return };
        members.remove(claim);
        if members.is_empty() {
            self.members.remove(pool);
        }
    }

    /// Applies a watch event of a pool.
    pub fn apply_pool(&mut self, change: Change<CachedPool>) {
        match self.pools.apply(change.map(|pool| (pool.name.clone(), pool))) {
            Effect::Nothing => {}
            Effect::Put(name, _) | Effect::Gone(name, _) => self.pool_changed(name),
            Effect::Replaced { put, gone } => {
                let names = put.into_iter().map(|(name, _)| name);
                names.chain(gone.into_iter().map(|(name, _)| name)).for_each(|name| self.pool_changed(name));
            }
        }
    }

    fn pool_changed(&mut self, name: Arc<str>) {
        self.forget_removed(&name);
        self.mark(name);
    }

    /// Forgets the deleted claims of a pool whose entries are gone too: an entry that shows one of them later was restored by somebody. The
    /// leader's own write does not bring it back, because it names the version of the object that it was decided from.
    fn forget_removed(&mut self, name: &Arc<str>) {
        let Some(deleted) = self.deleted_claims.get_mut(name) else { return };
        let Some(pool) = self.pools.content().get(name) else {
            return drop(self.deleted_claims.remove(name));
        };
        let left: BTreeSet<IpAddr> = pool.addresses().map(|(_, address, _)| address).collect();
        deleted.retain(|address, _| left.contains(address));
        if deleted.is_empty() {
            self.deleted_claims.remove(name);
        }
    }

    /// Changes whenever a network or a NodeSlicePool does: what is derived from them, which costs much to parse, is then derived again.
    pub const fn networks_version(&self) -> u64 {
        self.networks_version
    }

    /// Applies a watch event of a network.
    pub fn apply_network(&mut self, change: Change<NetworkAttachmentDefinition>) {
        let named = |nad: NetworkAttachmentDefinition| {
            (format!("{}/{}", nad.metadata.namespace, nad.metadata.name), nad)
        };
        if self.networks.apply(change.map(named)) != Effect::Nothing {
            self.networks_changed();
        }
    }

    /// Applies a watch event of a NodeSlicePool.
    pub fn apply_slice_pool(&mut self, change: Change<NodeSlicePool>) {
        let change = change.map(|mut slices| (named(&mut slices.metadata), slices));
        if self.slice_pools.apply(change) != Effect::Nothing {
            self.networks_changed();
        }
    }

    /// Marks every pool for adoption: a changed network may determine how a pool's claims are named.
    fn networks_changed(&mut self) {
        self.networks_version += 1;
        self.to_adopt.extend(self.pools.content().keys().cloned());
    }

    /// Marks the view of every pool as out of date.
    pub fn mark_all_views(&mut self) {
        self.stale_views.extend(self.pools.content().keys().chain(self.members.keys()).cloned());
    }

    fn mark(&mut self, pool: Arc<str>) {
        self.to_adopt.insert(pool.clone());
        self.stale_views.insert(pool);
    }
}

/// The pool and the address of a claim.
fn place(claim: &CachedReservation) -> Option<(Arc<str>, IpAddr)> {
    let (pool, range) = claim.pool.as_ref().zip(claim.range)?;
    Some((pool.clone(), ClaimNameReader::of(pool, &range).address(&claim.name)?))
}

/// Keeps the cache up to date. Never returns.
pub async fn watch(shared: &SharedCache, api: &ApiClient, namespace: &DnsLabel, metrics: &Metrics) {
    let watcher = Watcher { api, namespace, metrics };
    let (here, everywhere) = (Scope::Namespace, Scope::Cluster);
    let claims = watcher.watch(RESERVATIONS, here, Parts::Whole, |change: Change<CachedReservation>| {
        shared.lock().apply_claim(change);
        shared.view_work.notify_one();
        shared.adoption_work.notify_one();
    });
    let pools = watcher.watch(POOLS, here, Parts::Whole, |change: Change<CachedPool>| {
        shared.lock().apply_pool(change);
        shared.view_work.notify_one();
        shared.adoption_work.notify_one();
    });
    let pods =
        watcher.watch(ResourceKind::PODS, everywhere, Parts::Metadata, |change: Change<CachedObject>| {
            let change = change.map(|pod| (format!("{}/{}", pod.namespace, pod.name).into(), pod.identity));
            if matches!(shared.lock().pods.apply(change), Effect::Gone(..) | Effect::Replaced { .. }) {
                shared.reclaim_work.notify_one();
            }
        });
    let nodes =
        watcher.watch(ResourceKind::NODES, everywhere, Parts::Metadata, |change: Change<CachedObject>| {
            // Kubelets update their nodes often; only a node that appears or disappears matters here.
            if shared.lock().nodes.apply(change.map(|node| (node.name, ()))) != Effect::Nothing {
                shared.slice_work.notify_one();
            }
        });
    let networks = watcher.watch(
        NetworkAttachmentDefinition::KIND,
        everywhere,
        Parts::Whole,
        |change: Change<NetworkAttachmentDefinition>| {
            shared.lock().apply_network(change);
            for work in [&shared.slice_work, &shared.adoption_work, &shared.view_work, &shared.network_work] {
                work.notify_one();
            }
        },
    );
    let slice_pools = watcher.watch(NODE_SLICE_POOLS, here, Parts::Whole, |change: Change<NodeSlicePool>| {
        shared.lock().apply_slice_pool(change);
        for work in [&shared.slice_work, &shared.adoption_work, &shared.view_work] {
            work.notify_one();
        }
    });
    futures::join!(claims, pools, pods, nodes, networks, slice_pools);
}

/// Where the objects of a kind are watched.
#[derive(Clone, Copy)]
enum Scope {
    Namespace,
    Cluster,
}

struct Watcher<'a> {
    api: &'a ApiClient,
    namespace: &'a DnsLabel,
    metrics: &'a Metrics,
}

impl Watcher<'_> {
    async fn watch<T: DeserializeOwned + Send + 'static>(
        &self,
        kind: ResourceKind,
        scope: Scope,
        parts: Parts,
        mut apply: impl FnMut(Change<T>),
    ) {
        let collection = match scope {
            Scope::Namespace => kind.in_namespace(self.namespace),
            Scope::Cluster => kind.in_cluster(),
        };
        let mut lists = Lists::default();
        let mut changes = std::pin::pin!(reflect::<T>(self.api.clone(), collection, Selection::all(parts)));
        while let Some(change) = changes.next().await {
            if lists.is_restart(&change) {
                self.metrics.watch_restart(kind);
            }
            apply(change);
        }
    }
}

/// Whether a watch has begun its first list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Lists {
    #[default]
    NoneYet,
    Some,
}

impl Lists {
    /// Whether a watch event begins a list other than the first one: the watch could not resume, for example after a 410.
    fn is_restart<T>(&mut self, change: &Change<T>) -> bool {
        match change {
            Change::Restarted => std::mem::replace(self, Lists::Some) == Lists::Some,
            Change::Put(_) | Change::Gone(_) | Change::Synced => false,
        }
    }
}

/// The object's name. Drops the managedFields, which are large and not needed.
fn named(metadata: &mut ObjectMeta) -> String {
    metadata.managed_fields = None;
    metadata.name.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_after_the_first_one_is_a_restart() {
        let mut lists = Lists::default();
        let changes = [
            Change::Restarted,
            Change::Put(()),
            Change::Synced,
            Change::Restarted,
            Change::Synced,
            Change::Restarted,
        ];
        let restarts = changes.map(|change| lists.is_restart(&change));
        assert_eq!(restarts, [false, false, false, true, false, true]);
    }
}
