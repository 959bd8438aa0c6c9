//! What the leader sees of the cluster: claims, pools, pods, nodes and networks, as they are now; and which pools changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use node::client::{ApiClient, Change, Collection, Effect, Parts, ResourceKind, Selection, Store, reflect};
use node::names::DnsLabel;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use super::networks::{DEFINITIONS, Definition};
use crate::crd::cached::{CachedObject, CachedPool, CachedReservation};
use crate::crd::interner::Interner;
use crate::crd::ip_pool::POOLS;
use crate::crd::node_slice_pool::{NODE_SLICE_POOLS, NodeSlicePool};
use crate::crd::pod::PodIdentity;
use crate::crd::reservation::RESERVATIONS;

/// The mirrors, for tasks that run at the same time. They are locked to look, never across a wait.
#[derive(Debug, Default)]
pub struct SharedCache {
    cache: Mutex<ClusterCache>,
    /// Claims, pools, networks or slices changed: pools are to be judged and written.
    pub pools: Notify,
    /// The same, for who adopts.
    pub entries: Notify,
    /// Networks, nodes or slices changed.
    pub slices: Notify,
    /// A pod is gone.
    pub pods: Notify,
}

impl SharedCache {
    /// The mirrors as they are now.
    pub fn lock(&self) -> MutexGuard<'_, ClusterCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What there is, by name; claims, pools and slices those of our namespace.
#[derive(Debug, Default)]
pub struct ClusterCache {
    claims: Store<Arc<str>, Arc<CachedReservation>>,
    pools: Store<Arc<str>, CachedPool>,
    /// By `namespace/name`.
    pub pods: Store<Box<str>, PodIdentity>,
    /// The nodes' names.
    pub nodes: Store<String, ()>,
    /// By `namespace/name`.
    pub networks: Store<String, Definition>,
    /// Which slices are whose.
    pub slice_pools: Store<String, NodeSlicePool>,
    /// The claims of each pool.
    members: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// What many claims have in common.
    texts: Interner,
    /// Pools whose view may be out of date.
    unwritten: BTreeSet<Arc<str>>,
    /// Pools whose entries may need claims.
    unjudged: BTreeSet<Arc<str>>,
}

impl ClusterCache {
    /// Every claim.
    pub const fn claims(&self) -> &Store<Arc<str>, Arc<CachedReservation>> {
        &self.claims
    }

    /// Every pool.
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

    /// The pool that a claim is of.
    pub fn pool_of(&self, claim: &str) -> Option<&str> {
        self.claims.content().get(claim)?.pool.as_deref()
    }

    /// The pod of this name.
    pub fn pod(&self, podref: &str) -> Option<&PodIdentity> {
        self.pods.content().get(podref)
    }

    /// Whether entries can be judged: what is absent here is absent.
    pub fn can_judge(&self) -> bool {
        self.claims.is_synced() && self.pools.is_synced() && self.pods.is_synced()
    }

    /// The pools whose view may be out of date since this was last asked.
    pub fn take_unwritten(&mut self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.unwritten)
    }

    /// The pools whose entries may need claims since this was last asked.
    pub fn take_unjudged(&mut self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.unjudged)
    }

    /// Takes a change of a claim over.
    pub fn apply_claim(&mut self, change: Change<CachedReservation>) {
        let texts = &mut self.texts;
        let change = change.map(|claim| (claim.name.clone(), Arc::new(claim.shared(texts))));
        match self.claims.apply(change) {
            Effect::Nothing => {}
            Effect::Put(name, was) => self.changed(&name, was),
            Effect::Gone(name, was) => self.changed(&name, Some(was)),
            Effect::Replaced { put, gone } => {
                put.into_iter().for_each(|(name, was)| self.changed(&name, was));
                gone.into_iter().for_each(|(name, was)| self.changed(&name, Some(was)));
                self.texts.forget_unused();
            }
        }
    }

    /// A claim is not what it was.
    fn changed(&mut self, name: &Arc<str>, was: Option<Arc<CachedReservation>>) {
        let old = was.and_then(|was| was.pool.clone());
        let new = self.claims.content().get(name).and_then(|claim| claim.pool.clone());
        if let Some(old) = old {
            if Some(&old) != new.as_ref() {
                self.leave(&old, name);
            }
            self.touch(old);
        }
        if let Some(new) = new {
            self.members.entry(new.clone()).or_default().insert(name.clone());
            self.touch(new);
        }
    }

    fn leave(&mut self, pool: &str, claim: &str) {
        let Some(members) = self.members.get_mut(pool) else { return };
        members.remove(claim);
        if members.is_empty() {
            self.members.remove(pool);
        }
    }

    /// Takes a change of a pool over.
    pub fn apply_pool(&mut self, change: Change<CachedPool>) {
        match self.pools.apply(change.map(|pool| (pool.name.clone(), pool))) {
            Effect::Nothing => {}
            Effect::Put(name, _) | Effect::Gone(name, _) => self.touch(name),
            Effect::Replaced { put, gone } => {
                let names = put.into_iter().map(|(name, _)| name);
                names.chain(gone.into_iter().map(|(name, _)| name)).for_each(|name| self.touch(name));
            }
        }
    }

    /// Every pool is to be looked at again.
    pub fn touch_unwritten(&mut self) {
        self.unwritten.extend(self.pools.content().keys().chain(self.members.keys()).cloned());
    }

    /// Networks changed: what could not be judged before perhaps can.
    pub fn touch_all(&mut self) {
        self.unjudged.extend(self.pools.content().keys().cloned());
    }

    fn touch(&mut self, pool: Arc<str>) {
        self.unjudged.insert(pool.clone());
        self.unwritten.insert(pool);
    }
}

/// Keeps the mirrors up to date. Never returns.
pub async fn feed(shared: &SharedCache, api: &ApiClient, namespace: &DnsLabel) {
    let here = |kind: ResourceKind| kind.in_namespace(namespace);
    let claims = follow(api, here(RESERVATIONS), Parts::Whole, |change: Change<CachedReservation>| {
        shared.lock().apply_claim(change);
        shared.pools.notify_one();
        shared.entries.notify_one();
    });
    let pools = follow(api, here(POOLS), Parts::Whole, |change: Change<CachedPool>| {
        shared.lock().apply_pool(change);
        shared.pools.notify_one();
        shared.entries.notify_one();
    });
    let pods =
        follow(api, ResourceKind::PODS.in_cluster(), Parts::Metadata, |change: Change<CachedObject>| {
            let change = change.map(|pod| (format!("{}/{}", pod.namespace, pod.name).into(), pod.identity));
            if matches!(shared.lock().pods.apply(change), Effect::Gone(..) | Effect::Replaced { .. }) {
                shared.pods.notify_one();
            }
        });
    let nodes =
        follow(api, ResourceKind::NODES.in_cluster(), Parts::Metadata, |change: Change<CachedObject>| {
            if shared.lock().nodes.apply(change.map(|node| (node.name, ()))) != Effect::Nothing {
                shared.slices.notify_one();
            }
        });
    let networks = follow(api, DEFINITIONS.in_cluster(), Parts::Whole, |change: Change<Definition>| {
        let mut cache = shared.lock();
        cache.networks.apply(change.map(|mut network| {
            network.metadata.managed_fields = None;
            (qualified(&network.metadata), network)
        }));
        cache.touch_all();
        shared.slices.notify_one();
        shared.entries.notify_one();
    });
    let slice_pools = follow(api, here(NODE_SLICE_POOLS), Parts::Whole, |change: Change<NodeSlicePool>| {
        let mut cache = shared.lock();
        cache.slice_pools.apply(change.map(|mut slices| (named(&mut slices.metadata), slices)));
        cache.touch_all();
        shared.slices.notify_one();
        shared.entries.notify_one();
    });
    futures::join!(claims, pools, pods, nodes, networks, slice_pools);
}

async fn follow<T: DeserializeOwned + Send + 'static>(
    api: &ApiClient,
    collection: Collection,
    parts: Parts,
    mut apply: impl FnMut(Change<T>),
) {
    let mut changes = std::pin::pin!(reflect::<T>(api.clone(), collection, Selection::all(parts)));
    while let Some(change) = changes.next().await {
        apply(change);
    }
}

/// The name; and what is large and not needed goes.
fn named(metadata: &mut ObjectMeta) -> String {
    metadata.managed_fields = None;
    metadata.name.clone().unwrap_or_default()
}

fn qualified(metadata: &ObjectMeta) -> String {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", text(&metadata.namespace), text(&metadata.name))
}
