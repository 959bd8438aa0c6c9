//! The caches of the pools that this node uses: the daemon's candidate source. A cache is filled by a watch while its pool is in use and the
//! watch is worth its cost (`watch_throttle`), and by the results of requests otherwise. It can be stale: the create of a claim decides.
//! Concurrent requests of this node never try the same address.

mod contention;
mod cursor;
mod pool;
mod state;
mod watch_throttle;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use node::client::{ApiClient, ApiError, Change, Parts, Selection, reflect};
use node::names::DnsLabel;
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;

use super::in_flight::{InFlightRequest, WatchedRecord};
use crate::crd::cached::CachedReservation;
use crate::crd::ip_pool::ClaimNaming;
use crate::crd::reservation::{LABEL_POOL, RESERVATIONS, label};
use crate::metrics::Metrics;
use crate::node_state::hints::HintStore;
use crate::node_state::record::Record;
use crate::pool::candidates::CandidateSource;
use crate::pool::held_claim::HeldClaim;
use crate::pool::range_pool::Pool;
use crate::pool::request::Claimant;
use cursor::CacheCursor;
use pool::PoolCache;
pub(super) use state::Evidence;
use watch_throttle::{WatchPause, WatchThrottle};

/// A pool without a request for this long is dropped from the caches.
const IDLE: Duration = Duration::from_secs(600);

/// The deletions that [`PoolCaches::deleted_claims`] keeps for a slow reader. Some hundred claims may be deleted before a watch is paused.
const KEPT_DELETIONS: usize = 1_024;

/// A claim whose deletion the watch of a pool has shown, as it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeletedClaim {
    /// Its name.
    pub name: Arc<str>,
    /// Its container.
    pub container: String,
    /// Its interface.
    pub if_name: Arc<str>,
}

/// The caches of the pools in use, in one namespace.
#[derive(Debug)]
pub struct PoolCaches {
    pools: Mutex<BTreeMap<String, Arc<PoolCache>>>,
    hints: HintStore,
    /// Whether the plugins' records are in this process's folder: one was seen.
    sees_records: AtomicBool,
    metrics: Metrics,
    /// Pools that came into use, for [`follow`].
    started: mpsc::UnboundedSender<Arc<PoolCache>>,
    deleted: broadcast::Sender<DeletedClaim>,
}

/// The pools that come into use, for [`follow`].
pub type StartedPools = mpsc::UnboundedReceiver<Arc<PoolCache>>;

impl PoolCaches {
    /// Returns caches without a pool. A new pool's search begins where the `hints` of plugins without a daemon ended.
    pub fn new(hints: HintStore, metrics: Metrics) -> (Self, StartedPools) {
        let (started, receiver) = mpsc::unbounded_channel();
        let (deleted, _) = broadcast::channel(KEPT_DELETIONS);
        let (pools, sees_records) = (Mutex::default(), AtomicBool::default());
        (PoolCaches { pools, hints, sees_records, metrics, started, deleted }, receiver)
    }

    /// The deletions of claims that the watches of the pools show from now on.
    pub(super) fn deleted_claims(&self) -> broadcast::Receiver<DeletedClaim> {
        self.deleted.subscribe()
    }

    /// What is known about a claim of a record. This does not count as a use of its pool.
    pub(super) fn evidence(&self, record: &Record, claim: &HeldClaim) -> Evidence {
        let cache = self.get(&claim.pool);
        cache.map_or(Evidence::Unknown, |cache| cache.evidence(record, claim.address.addr()))
    }

    /// The cache of a pool, which is in use from now on.
    fn cache_of(&self, pool: &Pool) -> Arc<PoolCache> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cache) = pools.get(pool.name.as_str()) {
            cache.touch();
            return cache.clone();
        }
        let start = self.hints.start(pool.name.as_str());
        let cache = Arc::new(PoolCache::new(pool.clone(), start, self.metrics.clone()));
        pools.insert(pool.name.to_string(), cache.clone());
        if self.started.send(cache.clone()).is_err() {
            // Nothing watches the pool: do not wait for a list.
            cache.pause();
        }
        cache
    }

    fn get(&self, pool: &str) -> Option<Arc<PoolCache>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).get(pool).cloned()
    }

    fn remove(&self, pool: &str) {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).remove(pool);
    }

    /// The claims of a record are about to be deleted.
    pub(super) fn remove_pins(&self, record: &Record) {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        // All pools: a record that was written before its claims does not list them.
        pools.values().for_each(|pool| pool.remove_pins(record));
    }

    /// The record that the plugin wrote before it sent this request. `None` if the node's records are not in the folder of this process.
    pub(super) fn record_of(&self, claimant: &Claimant) -> Option<WatchedRecord> {
        let Claimant { container_id, if_name, .. } = claimant.clone();
        if self.hints.has_record(&container_id, &if_name) {
            self.sees_records.store(true, Ordering::Relaxed);
        }
        let store = self.hints.clone();
        self.sees_records.load(Ordering::Relaxed).then_some(WatchedRecord { store, container_id, if_name })
    }

    /// The addresses of a record are released.
    pub(super) fn released(&self, record: &Record) {
        for claim in &record.claims {
            if let Some(cache) = self.get(&claim.pool) {
                cache.released(record, claim.address.addr());
            }
        }
    }
}

/// The candidate source of one request.
#[derive(Debug)]
pub(super) struct RequestCandidates<'a> {
    pub caches: &'a PoolCaches,
    /// `None` for requests that nothing supersedes: release and status.
    pub in_flight: Option<Arc<InFlightRequest>>,
}

impl CandidateSource for RequestCandidates<'_> {
    type CandidateCursor = CacheCursor;

    fn cursor(&self, pool: &Pool, claimant: &Claimant) -> CacheCursor {
        CacheCursor::new(self.caches.cache_of(pool), claimant, self.in_flight.clone())
    }

    async fn naming(
        &self,
        pool: &Pool,
        read: impl Future<Output = Result<ClaimNaming, ApiError>> + Send,
    ) -> Result<ClaimNaming, ApiError> {
        let cache = self.caches.cache_of(pool);
        let naming = cache.naming(read).await?;
        cache.synced().await;
        Ok(naming)
    }

    fn forget(&self, pool: &Pool) {
        self.caches.cache_of(pool).forget_naming();
    }

    fn has_pin(&self, pool: &Pool) -> bool {
        self.caches.cache_of(pool).has_pin(pool.naming())
    }

    fn set_pin(&self, pool: &Pool, claimant: &Claimant, claim: &HeldClaim) {
        self.caches.cache_of(pool).set_pin(&claimant.container_id, pool.naming(), claim);
    }

    fn used(&self, pool: &Pool) -> Option<u128> {
        self.caches.cache_of(pool).used()
    }
}

/// Watches each pool from its first request until it is idle. Never returns while `caches` exist.
pub async fn follow(caches: Arc<PoolCaches>, api: ApiClient, namespace: DnsLabel, mut started: StartedPools) {
    let mut followed = futures::stream::FuturesUnordered::new();
    loop {
        tokio::select! {
            biased; // The simulation replays a seed only if the branches are polled in a fixed order.
            pool = started.recv() => match pool {
                Some(pool) => followed.push(follow_one(caches.clone(), api.clone(), namespace.clone(), pool)),
                None => return,
            },
            Some(()) = followed.next() => {}
        }
    }
}

async fn follow_one(caches: Arc<PoolCaches>, api: ApiClient, namespace: DnsLabel, pool: Arc<PoolCache>) {
    let until_idle = async {
        let mut check = tokio::time::interval(IDLE / 10);
        loop {
            check.tick().await;
            pool.expire();
            if pool.idle_for() > IDLE {
                return;
            }
        }
    };
    let watching = async {
        loop {
            let pause = watch_until_pause(&api, &namespace, &pool, &caches.deleted).await;
            let duration = pause.duration();
            tracing::debug!(pool = %pool.pool().name, ?pause, ?duration, "watch of the pool's claims is paused");
            pool.pause();
            tokio::time::sleep(duration).await;
        }
    };
    tokio::select! {
        biased; // As in `follow`.
        () = watching => {}
        () = until_idle => {}
    }
    tracing::debug!(pool = %pool.pool().name, "pool is idle on this node; watch ends");
    caches.remove(pool.pool().name.as_str());
}

/// Watches a pool's claims until the throttle pauses the watch.
async fn watch_until_pause(
    api: &ApiClient,
    namespace: &DnsLabel,
    pool: &PoolCache,
    deleted: &broadcast::Sender<DeletedClaim>,
) -> WatchPause {
    let labels = Some(format!("{LABEL_POOL}={}", label(pool.pool().name.as_str())));
    let selection = Selection { labels, fields: None, parts: Parts::Whole };
    let changes = reflect::<CachedReservation>(api.clone(), RESERVATIONS.in_namespace(namespace), selection);
    let mut changes = std::pin::pin!(changes);
    let (mut throttle, began, mut listing) = (WatchThrottle::default(), Instant::now(), true);
    while let Some(change) = changes.next().await {
        match &change {
            Change::Restarted => listing = true,
            Change::Synced => listing = false,
            Change::Gone(claim) => {
                let (name, if_name) = (claim.name.clone(), claim.ifname.clone());
                // Nobody listens in tests.
                let _ = deleted.send(DeletedClaim { name, container: claim.container.to_string(), if_name });
            }
            Change::Put(_) => {}
        }
        pool.apply(change);
        let size = pool.size();
        // List items are no changes: only the size counts.
        let pause =
            if listing { WatchThrottle::listed(size) } else { throttle.changed(began.elapsed(), size) };
        if let Some(pause) = pause {
            return pause;
        }
    }
    std::future::pending().await // reflect() never ends
}

#[cfg(test)]
mod tests;
