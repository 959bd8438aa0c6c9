//! What is claimed in the pools that this node uses: where the daemon's candidates come from. It is followed from the API server while a pool
//! is in use and that is worth it (`pace`), and else learned from what orders meet. It may be late or wrong; the create of a claim decides.
//! Orders that are served at the same time here never try the same address.

mod contention;
mod cursor;
mod pool;
mod state;
mod watch_throttle;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use node::client::{ApiClient, ApiError, Change, Parts, Selection, reflect};
use node::names::DnsLabel;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::in_flight::InFlightRequest;
use crate::crd::cached::CachedReservation;
use crate::crd::ip_pool::SeparateUse;
use crate::crd::reservation::{LABEL_POOL, RESERVATIONS, label};
use crate::metrics::Metrics;
use crate::node_state::hints::HintStore;
use crate::node_state::record::Record;
use crate::pool::candidates::CandidateSource;
use crate::pool::range_pool::Pool;
use crate::pool::request::Claimant;
pub use cursor::CacheCursor;
pub use pool::PoolCache;
use watch_throttle::{WatchPause, WatchThrottle};

/// A pool that nobody asked about for so long is not followed any more.
const IDLE: Duration = Duration::from_secs(600);

/// The pools in use in one namespace.
#[derive(Debug)]
pub struct PoolCaches {
    pools: Mutex<BTreeMap<String, Arc<PoolCache>>>,
    hints: HintStore,
    metrics: Metrics,
    /// Pools to be followed from now on.
    started: mpsc::UnboundedSender<Arc<PoolCache>>,
}

/// Pools that came into use, for who follows them.
pub type StartedPools = mpsc::UnboundedReceiver<Arc<PoolCache>>;

impl PoolCaches {
    /// Nothing known yet. `hints` say where plugins on their own went on.
    pub fn new(hints: HintStore, metrics: Metrics) -> (Self, StartedPools) {
        let (started, receiver) = mpsc::unbounded_channel();
        (PoolCaches { pools: Mutex::default(), hints, metrics, started }, receiver)
    }

    /// What is known of a pool; from now on it is in use.
    fn pool(&self, pool: &Pool) -> Arc<PoolCache> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cache) = pools.get(pool.name.as_str()) {
            cache.touch();
            return cache.clone();
        }
        let start = self.hints.get(pool.name.as_str());
        let cache = Arc::new(PoolCache::new(pool.clone(), start, self.metrics.clone()));
        pools.insert(pool.name.to_string(), cache.clone());
        if self.started.send(cache.clone()).is_err() {
            // Nobody follows: then orders teach.
            cache.pause();
        }
        cache
    }

    fn get(&self, pool: &str) -> Option<Arc<PoolCache>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).get(pool).cloned()
    }

    fn forget(&self, pool: &str) {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).remove(pool);
    }

    /// The addresses of a record are given back.
    pub fn released(&self, record: &Record) {
        for claim in &record.claims {
            if let Some(cache) = self.get(&claim.pool) {
                cache.released(record, claim.address.addr());
            }
        }
    }
}

/// What is known, for one order.
#[derive(Debug)]
pub struct RequestCandidates<'a> {
    /// What is known.
    pub cache: &'a PoolCaches,
    /// The order's turn.
    pub in_flight: Option<Arc<InFlightRequest>>,
}

impl CandidateSource for RequestCandidates<'_> {
    type CandidateCursor = CacheCursor;

    fn cursor(&self, pool: &Pool, claimant: &Claimant) -> CacheCursor {
        CacheCursor::new(self.cache.pool(pool), claimant, self.in_flight.clone())
    }

    async fn adopted(
        &self,
        pool: &Pool,
        work: impl Future<Output = Result<SeparateUse, ApiError>> + Send,
    ) -> Result<SeparateUse, ApiError> {
        let cache = self.cache.pool(pool);
        let separation = cache.adopted(pool.overlapping, work).await?;
        cache.synced().await;
        Ok(separation)
    }

    fn used(&self, pool: &Pool) -> Option<u128> {
        self.cache.pool(pool).used()
    }
}

/// Follows each pool that comes into use until it is not used any more. Never returns.
pub async fn follow(cache: Arc<PoolCaches>, api: ApiClient, namespace: DnsLabel, mut started: StartedPools) {
    let mut followed = futures::stream::FuturesUnordered::new();
    loop {
        tokio::select! {
            biased; // in an order that a simulation can replay
            pool = started.recv() => match pool {
                Some(pool) => followed.push(follow_one(cache.clone(), api.clone(), namespace.clone(), pool)),
                None => return,
            },
            Some(()) = followed.next() => {}
        }
    }
}

async fn follow_one(cache: Arc<PoolCaches>, api: ApiClient, namespace: DnsLabel, pool: Arc<PoolCache>) {
    let unused = async {
        let mut look = tokio::time::interval(IDLE / 10);
        loop {
            look.tick().await;
            pool.expire();
            if pool.idle_for() > IDLE {
                return;
            }
        }
    };
    let following = async {
        loop {
            let pause = until_pause(&api, &namespace, &pool).await;
            let lasts = pause.lasts();
            tracing::debug!(pool = %pool.pool().name, ?pause, ?lasts, "is not followed for a while");
            pool.pause();
            tokio::time::sleep(lasts).await;
        }
    };
    tokio::select! {
        biased;
        () = following => {}
        () = unused => {}
    }
    tracing::debug!(pool = %pool.pool().name, "is not in use here any more");
    cache.forget(pool.pool().name.as_str());
}

/// Follows a pool as long as that is worth it.
async fn until_pause(api: &ApiClient, namespace: &DnsLabel, pool: &PoolCache) -> WatchPause {
    let labels = Some(format!("{LABEL_POOL}={}", label(pool.pool().name.as_str())));
    let selection = Selection { labels, fields: None, parts: Parts::Whole };
    let changes = reflect::<CachedReservation>(api.clone(), RESERVATIONS.in_namespace(namespace), selection);
    let mut changes = std::pin::pin!(changes);
    let (mut pace, began, mut listing) = (WatchThrottle::default(), Instant::now(), true);
    while let Some(change) = changes.next().await {
        match change {
            Change::Restarted => listing = true,
            Change::Synced => listing = false,
            Change::Put(_) | Change::Gone(_) => {}
        }
        pool.apply(change);
        let size = pool.size();
        let pause = if listing { WatchThrottle::listed(size) } else { pace.changed(began.elapsed(), size) };
        if let Some(pause) = pause {
            return pause;
        }
    }
    std::future::pending().await // a reflection has no end
}

#[cfg(test)]
mod tests;
