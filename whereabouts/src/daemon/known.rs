//! What is claimed in the pools that this node uses: where the daemon's candidates come from. It is followed from the API server while a pool
//! is in use and that is worth it (`pace`), and else learned from what orders meet. It may be late or wrong; the create of a claim decides.
//! Orders that are served at the same time here never try the same address.

mod pace;
mod pool;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use node::client::{ApiClient, ApiError, Change, Parts, Selection, reflect};
use node::names::DnsLabel;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::metrics::Metrics;
use super::turns::Turn;
use crate::hint::HintStore;
use crate::objects::{LABEL_POOL, RESERVATIONS, label};
use crate::order::Who;
use crate::outlook::Memory;
use crate::pool::Pool;
use crate::record::Record;
use crate::seen::SeenClaim;
use crate::twin::Separation;
use pace::{Pace, Pause};
pub use pool::{PoolKnown, Seat};

/// A pool that nobody asked about for so long is not followed any more.
const IDLE: Duration = Duration::from_secs(600);

/// The pools in use in one namespace.
#[derive(Debug)]
pub struct Known {
    pools: Mutex<BTreeMap<String, Arc<PoolKnown>>>,
    hints: HintStore,
    metrics: Metrics,
    /// Pools to be followed from now on.
    started: mpsc::UnboundedSender<Arc<PoolKnown>>,
}

/// Pools that came into use, for who follows them.
pub type Started = mpsc::UnboundedReceiver<Arc<PoolKnown>>;

impl Known {
    /// Nothing known yet. `hints` say where plugins on their own went on.
    pub fn new(hints: HintStore, metrics: Metrics) -> (Self, Started) {
        let (started, receiver) = mpsc::unbounded_channel();
        (Known { pools: Mutex::default(), hints, metrics, started }, receiver)
    }

    /// What is known of a pool; from now on it is in use.
    fn pool(&self, pool: &Pool) -> Arc<PoolKnown> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = pools.get(pool.name.as_str()) {
            known.touch();
            return known.clone();
        }
        let start = self.hints.get(pool.name.as_str());
        let known = Arc::new(PoolKnown::new(pool.clone(), start, self.metrics.clone()));
        pools.insert(pool.name.to_string(), known.clone());
        if self.started.send(known.clone()).is_err() {
            // Nobody follows: then orders teach.
            known.pause();
        }
        known
    }

    fn get(&self, pool: &str) -> Option<Arc<PoolKnown>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).get(pool).cloned()
    }

    fn forget(&self, pool: &str) {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).remove(pool);
    }

    /// The addresses of a record are given back.
    pub fn freed(&self, record: &Record) {
        for claim in &record.claims {
            if let Some(known) = self.get(&claim.pool) {
                known.freed(record, claim.address.addr());
            }
        }
    }
}

/// What is known, for one order.
#[derive(Debug)]
pub struct ForOrder<'a> {
    /// What is known.
    pub known: &'a Known,
    /// The order's turn.
    pub turn: Option<Arc<Turn>>,
}

impl Memory for ForOrder<'_> {
    type Outlook = Seat;

    fn outlook(&self, pool: &Pool, who: &Who) -> Seat {
        self.known.pool(pool).seat(who, self.turn.clone())
    }

    async fn adopted(
        &self,
        pool: &Pool,
        work: impl Future<Output = Result<Separation, ApiError>> + Send,
    ) -> Result<Separation, ApiError> {
        let known = self.known.pool(pool);
        let separation = known.adopted(pool.overlapping, work).await?;
        known.synced().await;
        Ok(separation)
    }

    fn used(&self, pool: &Pool) -> Option<u128> {
        self.known.pool(pool).used()
    }
}

/// Follows each pool that comes into use until it is not used any more. Never returns.
pub async fn follow(known: Arc<Known>, api: ApiClient, namespace: DnsLabel, mut started: Started) {
    let mut followed = futures::stream::FuturesUnordered::new();
    loop {
        tokio::select! {
            biased; // in an order that a simulation can replay
            pool = started.recv() => match pool {
                Some(pool) => followed.push(follow_one(known.clone(), api.clone(), namespace.clone(), pool)),
                None => return,
            },
            Some(()) = followed.next() => {}
        }
    }
}

async fn follow_one(known: Arc<Known>, api: ApiClient, namespace: DnsLabel, pool: Arc<PoolKnown>) {
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
    known.forget(pool.pool().name.as_str());
}

/// Follows a pool as long as that is worth it.
async fn until_pause(api: &ApiClient, namespace: &DnsLabel, pool: &PoolKnown) -> Pause {
    let labels = Some(format!("{LABEL_POOL}={}", label(pool.pool().name.as_str())));
    let selection = Selection { labels, fields: None, parts: Parts::Whole };
    let changes = reflect::<SeenClaim>(api.clone(), RESERVATIONS.in_namespace(namespace), selection);
    let mut changes = std::pin::pin!(changes);
    let (mut pace, began, mut listing) = (Pace::default(), Instant::now(), true);
    while let Some(change) = changes.next().await {
        match change {
            Change::Restarted => listing = true,
            Change::Synced => listing = false,
            Change::Put(_) | Change::Gone(_) => {}
        }
        pool.apply(change);
        let size = pool.size();
        let pause = if listing { Pace::listed(size) } else { pace.changed(began.elapsed(), size) };
        if let Some(pause) = pause {
            return pause;
        }
    }
    std::future::pending().await // a reflection has no end
}

/// The address that a claim of a pool is for.
fn address(pool: &Pool, claim: &SeenClaim) -> Option<std::net::IpAddr> {
    // The label is cut, so that another pool's claims may have the same.
    if claim.pool.as_deref().is_some_and(|name| name != pool.name.as_str()) {
        return None;
    }
    pool.withheld(&claim.name, claim.pool.as_deref())
}
