//! One pool in use: what is held, what is being tried, where to look next.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use node::client::Change;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::Instant;

use super::state::{State, SyncState};
use crate::conf::OverlappingRanges;
use crate::crd::cached::CachedReservation;
use crate::crd::ip_pool::SeparateUse;
use crate::metrics::Metrics;
use crate::node_state::record::Record;
use crate::pool::range_pool::Pool;

/// How long a pool that a list showed full counts as full when nothing is freed.
pub(super) const FULL_LIFETIME: Duration = Duration::from_secs(1);

/// How long a pool counts as adopted; the leader adopts what Whereabouts adds.
pub(super) const ADOPTION_LIFETIME: Duration = Duration::from_secs(60);

/// How long the first order of a pool waits for the list of its claims: with it the first candidate is usually free, without it a few tries
/// find one.
pub(super) const FIRST_LIST_WAIT: Duration = Duration::from_millis(500);

/// One pool in use.
#[derive(Debug)]
pub struct PoolCache {
    pool: Pool,
    pub(super) metrics: Metrics,
    state: Mutex<State>,
    /// When the pool was seen adopted, and what it said; held while someone looks.
    adopted: AsyncMutex<Option<(Instant, SeparateUse)>>,
    /// Told when the first list is there, or will never be.
    first_list: Notify,
}

impl PoolCache {
    /// Nothing known but where to begin.
    pub fn new(pool: Pool, start: Option<IpAddr>, metrics: Metrics) -> Self {
        PoolCache {
            pool,
            metrics,
            state: Mutex::new(State::new(start)),
            adopted: AsyncMutex::new(None),
            first_list: Notify::new(),
        }
    }

    /// The pool as it was when it came into use.
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock; a state that is half changed costs tries, never correctness.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn touch(&self) {
        self.state().last_used = Instant::now();
    }

    pub(super) fn idle_for(&self) -> Duration {
        self.state().last_used.elapsed()
    }

    /// Sees to it that the pool is adopted, by `work` unless that is known. Of orders at the same time one does it. What the pool said is
    /// remembered; what will not do for this kind of order is asked for again.
    pub(super) async fn adopted<E>(
        &self,
        overlapping: OverlappingRanges,
        work: impl Future<Output = Result<SeparateUse, E>>,
    ) -> Result<SeparateUse, E> {
        let mut adopted = self.adopted.lock().await;
        let cache =
            adopted.filter(|(at, said)| at.elapsed() < ADOPTION_LIFETIME && said.suffices_for(overlapping));
        if let Some((_, said)) = cache {
            return Ok(said);
        }
        let said = work.await?;
        *adopted = Some((Instant::now(), said));
        Ok(said)
    }

    /// Waits for the first list, but not for long.
    pub(super) async fn synced(&self) {
        let received = self.first_list.notified();
        if self.state().sync == SyncState::Listing {
            let _ = tokio::time::timeout(FIRST_LIST_WAIT, received).await;
        }
    }

    /// There will be no news now: orders teach.
    pub(super) fn pause(&self) {
        self.state().pause();
        self.first_list.notify_waiters();
    }

    /// How many addresses are held as far as is known, while it is being listed those told so far.
    pub(super) fn size(&self) -> usize {
        self.state().size()
    }

    /// How many addresses that may be given out are held; `None` where that is not known.
    pub(super) fn used(&self) -> Option<u128> {
        let state = self.state();
        (state.sync == SyncState::Synced).then(|| self.pool.free.count_used(&state.used) as u128)
    }

    /// A claim of a record was given back.
    pub(super) fn released(&self, record: &Record, ip: IpAddr) {
        self.state().gone(interface(&record.podref, &record.if_name), ip);
    }

    /// Takes in what the API server tells.
    pub fn apply(&self, change: Change<CachedReservation>) {
        let received = |claim: &CachedReservation| {
            address(&self.pool, claim).map(|ip| (interface(&claim.podref, &claim.ifname), ip))
        };
        match change {
            Change::Restarted => self.state().begin_list(),
            Change::Put(claim) => {
                if let Some((owner, ip)) = received(&claim) {
                    self.state().put(owner, ip);
                }
            }
            Change::Gone(claim) => {
                if let Some((owner, ip)) = received(&claim) {
                    self.state().gone(owner, ip);
                }
            }
            Change::Synced => {
                self.state().end_list();
                self.first_list.notify_waiters();
            }
        }
    }

    /// Forgets what was never confirmed.
    pub(super) fn expire(&self) {
        self.state().expire();
    }
}

pub(super) fn interface(podref: &str, if_name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (podref, if_name).hash(&mut hasher);
    hasher.finish()
}

/// The address that a claim of a pool is for.
fn address(pool: &Pool, claim: &CachedReservation) -> Option<std::net::IpAddr> {
    // The label is cut, so that another pool's claims may have the same.
    if claim.pool.as_deref().is_some_and(|name| name != pool.name.as_str()) {
        return None;
    }
    pool.blocked_address(&claim.name, claim.pool.as_deref())
}
