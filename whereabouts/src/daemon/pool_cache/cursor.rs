//! The cursor of one request in a pool: which address it tries, and what the result teaches.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::pool::{FULL_LIFETIME, PoolCache, interface};
use super::state::{AddressHolder, SyncState};
use crate::addr::ip;
use crate::daemon::in_flight::InFlightRequest;
use crate::pool::candidates::{CandidateCursor, Listing};
use crate::pool::choose::{self, CONFLICTS_BEFORE_LIST, KnownAddresses, NoCandidate, Preferences};
use crate::pool::holders::holders;
use crate::pool::range_pool::Pool;
use crate::pool::request::Claimant;
use crate::pool::search::{Reason, SearchTrace};

/// The cursor of one request in a pool. No other request of this node tries its candidate, until the cursor is dropped.
#[derive(Debug)]
pub(crate) struct CacheCursor {
    cache: Arc<PoolCache>,
    /// A hash of owner and interface name.
    interface: u64,
    /// The candidate that this cursor has reserved in the cache.
    trying: Option<IpAddr>,
    in_flight: Option<Arc<InFlightRequest>>,
    /// How the candidate was chosen, while the cache is not synced.
    trace: Option<SearchTrace>,
}

impl CandidateCursor for CacheCursor {
    fn next(
        &mut self,
        pool: &Pool,
        requested: Option<IpAddr>,
        conflicts: &BTreeSet<IpAddr>,
    ) -> Result<IpAddr, NoCandidate> {
        self.release_candidate();
        let mut state = self.cache.state();
        let previous = state.by_interface.get(&self.interface).copied();
        let callers = state.callers();
        let spread = choose::spread(state.contention.window(), callers, conflicts.len());
        if state.sync != SyncState::Synced {
            let trace =
                self.trace.get_or_insert_with(|| SearchTrace::new(state.lowest, state.contention.window()));
            let is_known = requested.is_some() || previous.is_some();
            trace.step(conflicts, if is_known { Reason::Known } else { Reason::Free }, spread, callers);
        }
        let hints = Preferences { requested, previous, start: state.lowest, ahead: 0, spread };
        let view = KnownAddresses { used: &state.used, conflicts };
        let ip = choose::next(&pool.range, &pool.free, view, hints, fastrand::u64(..))?;
        // An address that was in `used` before, because it is requested or held already, is not this cursor's to release.
        if state.used.insert(ip) {
            state.trying.insert(ip);
            self.trying = Some(ip);
            let in_order = requested.is_none() && spread == 0;
            if in_order && state.lowest.is_none_or(|lowest| lowest <= ip) {
                state.lowest = ip::add(ip, 1);
            }
        }
        Ok(ip)
    }

    fn allocated(&mut self, ip: IpAddr) {
        let mut state = self.cache.state();
        state.trying.remove(&ip);
        state.hold(ip, AddressHolder::ThisNode);
        state.by_interface.insert(self.interface, ip);
        self.trying = None;
        let trace = self.trace.take().filter(|_| state.sync != SyncState::Synced);
        let Some(trace) = trace else { return state.contention.narrow() };
        let pool = self.cache.pool();
        let hints = trace.allocated(pool, ip);
        if hints.is_empty() {
            state.contention.narrow_and_keep();
        }
        for hint in hints {
            state.apply_hint(trace.start().unwrap_or_else(|| pool.free.first()), hint);
        }
    }

    fn conflicted(&mut self, ip: IpAddr) {
        self.cache.metrics.conflict();
        let mut state = self.cache.state();
        state.trying.remove(&ip);
        state.hold(ip, AddressHolder::OtherNode);
        // Without a watch the conflicting claim may be old, which is no contention.
        if state.sync == SyncState::Synced {
            state.contention.conflicted();
        }
        if state.by_interface.get(&self.interface) == Some(&ip) {
            state.by_interface.remove(&self.interface);
        }
        self.trying = None;
    }

    fn may_be_callers(&self, ip: IpAddr) -> bool {
        self.cache.state().by_interface.get(&self.interface) == Some(&ip)
    }

    fn is_superseded(&self) -> bool {
        self.in_flight.as_ref().is_some_and(|in_flight| in_flight.is_superseded())
    }

    fn wants_list(&self, conflicts: usize) -> bool {
        conflicts >= CONFLICTS_BEFORE_LIST && self.cache.state().sync != SyncState::Synced
    }

    fn knows_full(&self) -> bool {
        self.cache.state().full.as_ref().is_some_and(|(at, _)| at.elapsed() < FULL_LIFETIME)
    }

    fn holders(&self) -> Vec<String> {
        self.cache.state().full.as_ref().map(|(_, holders)| holders.clone()).unwrap_or_default()
    }

    fn learn(&mut self, listing: &Listing) {
        let mut state = self.cache.state();
        if let Some(own) = listing.own {
            state.by_interface.insert(self.interface, own);
        }
        state.learn(|ip| listing.owners.contains_key(ip), listing.owners.keys());
        self.trace = None;
        let free = &self.cache.pool().free;
        let none_free = free.first_free(&state.used).is_none();
        state.full = none_free.then(|| (Instant::now(), holders(free, &listing.owners)));
    }
}

impl CacheCursor {
    /// A cursor without a candidate.
    pub(super) fn new(
        cache: Arc<PoolCache>,
        claimant: &Claimant,
        in_flight: Option<Arc<InFlightRequest>>,
    ) -> Self {
        CacheCursor {
            cache,
            interface: interface(claimant.owner(), &claimant.if_name),
            trying: None,
            in_flight,
            trace: None,
        }
    }

    fn release_candidate(&mut self) {
        if let Some(ip) = self.trying.take() {
            let mut state = self.cache.state();
            state.trying.remove(&ip);
            state.release(ip);
        }
    }
}

impl Drop for CacheCursor {
    fn drop(&mut self) {
        self.release_candidate();
    }
}
