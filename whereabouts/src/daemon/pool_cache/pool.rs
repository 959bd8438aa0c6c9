//! The cache of one pool: which addresses are held, which are being tried, and where to search next.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use node::client::Change;
use node::names::DnsSubdomain;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::Instant;

use super::state::{Evidence, State, SyncState};
use crate::crd::cached::{CachedReservation, OwnerKind};
use crate::crd::ip_pool::ClaimNaming;
use crate::metrics::Metrics;
use crate::node_state::record::Record;
pub(super) use crate::pool::claim_names::NAMING_LIFETIME;
use crate::pool::held_claim::HeldClaim;
use crate::pool::range_pool::Pool;

/// How long a pool counts as full after a list showed it full, unless an address is released before.
pub(super) const FULL_LIFETIME: Duration = Duration::from_secs(1);

/// How long the first requests of a pool wait for its first list. With the list the first candidate is usually free; without it a few tries
/// find a free address.
pub(super) const FIRST_LIST_WAIT: Duration = Duration::from_millis(500);

/// The cache of one pool.
#[derive(Debug)]
pub struct PoolCache {
    pool: Pool,
    pub(super) metrics: Metrics,
    state: Mutex<State>,
    /// When the pool's object was read, and how its claims are named. Locked during the read, so that concurrent requests wait for it.
    naming: AsyncMutex<Option<(Instant, ClaimNaming)>>,
    /// This node's claims that count, each with its container and the naming under which it counts. See [`crate::pool::claim_names`].
    pins: Mutex<BTreeMap<DnsSubdomain, (String, ClaimNaming)>>,
    /// Notified when the first list is complete, or will not come because the watch is paused.
    first_list: Notify,
}

impl PoolCache {
    /// An empty cache; the search begins at `start`.
    pub(super) fn new(pool: Pool, start: Option<IpAddr>, metrics: Metrics) -> Self {
        PoolCache {
            pool,
            metrics,
            state: Mutex::new(State::new(start)),
            naming: AsyncMutex::new(None),
            pins: Mutex::default(),
            first_list: Notify::new(),
        }
    }

    /// The pool as it was when it came into use.
    pub(super) const fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock. A half-changed state would cost tries, never correctness.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn touch(&self) {
        self.state().last_used = Instant::now();
    }

    pub(super) fn idle_for(&self) -> Duration {
        self.state().last_used.elapsed()
    }

    /// How the pool's claims are named. Runs `read` unless there is a recent result. Of concurrent requests one runs it.
    pub(super) async fn naming<E>(
        &self,
        read: impl Future<Output = Result<ClaimNaming, E>>,
    ) -> Result<ClaimNaming, E> {
        let mut known = self.naming.lock().await;
        if let Some((_, naming)) = known.filter(|(at, _)| at.elapsed() < NAMING_LIFETIME) {
            return Ok(naming);
        }
        let naming = read.await?;
        *known = Some((Instant::now(), naming));
        Ok(naming)
    }

    /// Forgets how the pool's claims are named, unless a request reads it just now.
    pub(super) fn forget_naming(&self) {
        if let Ok(mut known) = self.naming.try_lock() {
            *known = None;
        }
    }

    fn pins(&self) -> MutexGuard<'_, BTreeMap<DnsSubdomain, (String, ClaimNaming)>> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a claim of this node counts under this naming.
    pub(super) fn has_pin(&self, naming: ClaimNaming) -> bool {
        self.pins().values().any(|(_, counted)| *counted == naming)
    }

    /// A claim of this node counts.
    pub(super) fn set_pin(&self, container: &str, naming: ClaimNaming, claim: &HeldClaim) {
        self.pins().insert(claim.name.clone(), (container.to_owned(), naming));
    }

    /// The claims of a record are about to be deleted.
    pub(super) fn remove_pins(&self, record: &Record) {
        let is_of = |name: &DnsSubdomain, container: &str| {
            container == record.container_id || record.claims.iter().any(|claim| claim.is_named(name))
        };
        self.pins().retain(|name, (container, _)| !is_of(name, container));
    }

    /// Waits for the first list, at most [`FIRST_LIST_WAIT`].
    pub(super) async fn synced(&self) {
        // Created before the check: a notification between the check and the wait is not lost.
        let first_list = self.first_list.notified();
        if self.state().sync == SyncState::Listing {
            let _ = tokio::time::timeout(FIRST_LIST_WAIT, first_list).await;
        }
    }

    /// The watch is paused: from now on only the results of requests update the cache.
    pub(super) fn pause(&self) {
        self.state().pause();
        self.first_list.notify_waiters();
    }

    /// The number of used addresses; during a list, the number listed so far.
    pub(super) fn size(&self) -> usize {
        self.state().size()
    }

    /// The number of allocatable addresses that are held; `None` unless the cache is synced.
    pub(super) fn used(&self) -> Option<u128> {
        let state = self.state();
        (state.sync == SyncState::Synced).then(|| self.pool.free.count_used(&state.used) as u128)
    }

    /// What the watch shows about an address of a record.
    pub(super) fn evidence(&self, record: &Record, ip: IpAddr) -> Evidence {
        let state = self.state();
        if state.sync != SyncState::Synced {
            return Evidence::Unknown;
        }
        // An interface with two addresses of one pool is known by one of them only.
        let own = state.by_interface.get(&interface(&record.podref, &record.if_name));
        match (own == Some(&ip), state.used.contains(&ip)) {
            (true, _) => Evidence::Held,
            (false, true) => Evidence::Unknown,
            (false, false) => Evidence::Missing,
        }
    }

    /// This node has released an address of a record.
    pub(super) fn released(&self, record: &Record, ip: IpAddr) {
        // The record does not say which of the two the claim's owner was.
        for owner in [&record.podref, &record.container_id] {
            self.state().deleted(interface(owner, &record.if_name), ip);
        }
    }

    /// Applies a watch event of the pool's claims.
    pub(super) fn apply(&self, change: Change<CachedReservation>) {
        let parsed = |claim: &CachedReservation| {
            let container = || claim.container.to_string();
            let interface = match claim.owner {
                OwnerKind::Pod => interface(&claim.podref, &claim.ifname),
                OwnerKind::Container => interface(&container(), &claim.ifname),
            };
            address(&self.pool, claim).map(|ip| (interface, ip))
        };
        match change {
            Change::Restarted => self.state().begin_list(),
            Change::Put(claim) => {
                if let Some((interface, ip)) = parsed(&claim) {
                    self.state().put(interface, ip);
                }
            }
            Change::Gone(claim) => {
                // Somebody else deleted it: a user, or the leader.
                self.pins().retain(|name, _| name.as_str() != &*claim.name);
                if let Some((interface, ip)) = parsed(&claim) {
                    self.state().deleted(interface, ip);
                }
            }
            Change::Synced => {
                self.state().end_list();
                self.first_list.notify_waiters();
            }
        }
    }

    /// Drops addresses that no watch event confirmed in time.
    pub(super) fn expire(&self) {
        self.state().expire();
    }
}

/// A hash of the owner ([`Claimant::owner`](crate::pool::request::Claimant::owner)) and the interface name.
pub(super) fn interface(owner: &str, if_name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (owner, if_name).hash(&mut hasher);
    hasher.finish()
}

/// The address of a claim of the pool.
fn address(pool: &Pool, claim: &CachedReservation) -> Option<IpAddr> {
    // The pool label is cut to 63 characters, so the watch can also show claims of a pool with the same beginning.
    if claim.pool.as_deref().is_some_and(|name| name != pool.name.as_str()) {
        return None;
    }
    pool.blocked_address(&claim.name, claim.pool.as_deref())
}
