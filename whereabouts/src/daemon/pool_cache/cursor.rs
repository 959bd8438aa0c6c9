//! One order's place in a pool: which address it tries, and what is learned from it.

use crate::pool::request::Claimant;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::pool::{FULL_LIFETIME, PoolCache, interface};
use super::state::{AddressHolder, SyncState};
use crate::addr::ip;
use crate::conf::request::RequestedAddress;
use crate::daemon::in_flight::InFlightRequest;
use crate::pool::candidates::{CandidateCursor, Listing};
use crate::pool::choose;
use crate::pool::choose::{CONFLICTS_BEFORE_LIST, KnownAddresses, NoCandidate, Preferences};
use crate::pool::holders::largest_holders;
use crate::pool::range_pool::Pool;
use crate::pool::search::{Reason, SearchTrace};

/// One order's place in a pool. What it tries nobody else here tries, until it is dropped.
#[derive(Debug)]
pub struct CacheCursor {
    cache: Arc<PoolCache>,
    owner: u64,
    trying: Option<IpAddr>,
    in_flight: Option<Arc<InFlightRequest>>,
    /// How it came to its candidate, where there are no news to go by.
    trace: Option<SearchTrace>,
}

impl CandidateCursor for CacheCursor {
    fn next(
        &mut self,
        pool: &Pool,
        requested: Option<RequestedAddress>,
        lost: &BTreeSet<IpAddr>,
    ) -> Result<IpAddr, NoCandidate> {
        self.let_go();
        let mut state = self.cache.state();
        let previous = state.of_interface.get(&self.owner).copied();
        let callers = state.callers();
        let spread = choose::spread(state.contention.window(), callers, lost.len());
        if state.sync != SyncState::Synced {
            let trace =
                self.trace.get_or_insert_with(|| SearchTrace::new(state.lowest, state.contention.window()));
            let is_known = requested.is_some() || previous.is_some();
            trace.step(lost, if is_known { Reason::Known } else { Reason::Free }, spread, callers);
        }
        let hints = Preferences { requested, previous, start: state.lowest, ahead: 0, spread };
        let view = KnownAddresses { used: &state.used, lost };
        let ip = choose::next(&pool.range, &pool.free, view, hints, fastrand::u64(..))?;
        // Wished for, or held already, it is not this order's to let go.
        if state.used.insert(ip) {
            state.tried.insert(ip);
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
        state.tried.remove(&ip);
        state.hold(ip, AddressHolder::ThisNode);
        state.of_interface.insert(self.owner, ip);
        self.trying = None;
        let trace = self.trace.take().filter(|_| state.sync != SyncState::Synced);
        let Some(trace) = trace else { return state.contention.not_this_time() };
        let pool = self.cache.pool();
        let notes = trace.allocated(pool, ip);
        if notes.is_empty() {
            state.contention.fewer();
        }
        for note in notes {
            state.note(trace.start().unwrap_or_else(|| pool.free.first()), note);
        }
    }

    fn conflicted(&mut self, ip: IpAddr) {
        self.cache.metrics.conflict();
        let mut state = self.cache.state();
        state.tried.remove(&ip);
        state.hold(ip, AddressHolder::Others);
        // Without news who is met may have been there for long.
        if state.sync == SyncState::Synced {
            state.contention.again();
        }
        if state.of_interface.get(&self.owner) == Some(&ip) {
            state.of_interface.remove(&self.owner);
        }
        self.trying = None;
    }

    fn may_be_callers(&self, ip: IpAddr) -> bool {
        self.cache.state().of_interface.get(&self.owner) == Some(&ip)
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
            state.of_interface.insert(self.owner, own);
        }
        state.learn(|ip| listing.owners.contains_key(ip), listing.owners.keys());
        self.trace = None;
        let none_free = self.cache.pool().free.first_free(&state.used).is_none();
        state.full = none_free.then(|| (Instant::now(), largest_holders(listing.owners.values())));
    }
}

impl CacheCursor {
    /// Nothing tried yet.
    pub(super) fn new(
        cache: Arc<PoolCache>,
        claimant: &Claimant,
        in_flight: Option<Arc<InFlightRequest>>,
    ) -> Self {
        CacheCursor {
            cache,
            owner: interface(&claimant.podref, &claimant.if_name),
            trying: None,
            in_flight,
            trace: None,
        }
    }

    fn let_go(&mut self) {
        if let Some(ip) = self.trying.take() {
            let mut state = self.cache.state();
            state.tried.remove(&ip);
            state.free(ip);
        }
    }
}

impl Drop for CacheCursor {
    fn drop(&mut self) {
        self.let_go();
    }
}
