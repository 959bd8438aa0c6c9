//! One order's place in a pool: which address it tries, and what is learned from it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::state::{News, Whose};
use super::{FULL, PoolKnown};
use crate::choose::{self, Hints, LOSSES_BEFORE_LIST, NoCandidate, View, Wish};
use crate::claim::largest_holders;
use crate::daemon::turns::Turn;
use crate::ip;
use crate::outlook::{Listing, Outlook};
use crate::pool::Pool;
use crate::search::{Reason, Trail};

/// One order's place in a pool. What it tries nobody else here tries, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    known: Arc<PoolKnown>,
    owner: u64,
    trying: Option<IpAddr>,
    turn: Option<Arc<Turn>>,
    /// How it came to its candidate, where there are no news to go by.
    trail: Option<Trail>,
}

impl Outlook for Seat {
    fn next(
        &mut self,
        pool: &Pool,
        wish: Option<Wish>,
        lost: &BTreeSet<IpAddr>,
    ) -> Result<IpAddr, NoCandidate> {
        self.let_go();
        let mut state = self.known.state();
        let previous = state.of_interface.get(&self.owner).copied();
        let crowd = state.crowd();
        let spread = choose::spread(state.met.window(), crowd, lost.len());
        if state.news != News::Followed {
            let trail = self.trail.get_or_insert_with(|| Trail::new(state.lowest, state.met.window()));
            let is_known = wish.is_some() || previous.is_some();
            trail.step(lost, if is_known { Reason::Known } else { Reason::Free }, spread, crowd);
        }
        let hints = Hints { wish, previous, start: state.lowest, ahead: 0, spread };
        let view = View { used: &state.used, lost };
        let ip = choose::next(&pool.range, &pool.free, view, hints, fastrand::u64(..))?;
        // Wished for, or held already, it is not this order's to let go.
        if state.used.insert(ip) {
            state.tried.insert(ip);
            self.trying = Some(ip);
            let in_order = wish.is_none() && spread == 0;
            if in_order && state.lowest.is_none_or(|lowest| lowest <= ip) {
                state.lowest = ip::add(ip, 1);
            }
        }
        Ok(ip)
    }

    fn won(&mut self, ip: IpAddr) {
        let mut state = self.known.state();
        state.tried.remove(&ip);
        state.hold(ip, Whose::Own);
        state.of_interface.insert(self.owner, ip);
        self.trying = None;
        let trail = self.trail.take().filter(|_| state.news != News::Followed);
        let Some(trail) = trail else { return state.met.not_this_time() };
        let pool = self.known.pool();
        let notes = trail.won(pool, ip);
        if notes.is_empty() {
            state.met.fewer();
        }
        for note in notes {
            state.note(trail.start().unwrap_or_else(|| pool.free.first()), note);
        }
    }

    fn lost(&mut self, ip: IpAddr) {
        self.known.metrics.conflict();
        let mut state = self.known.state();
        state.tried.remove(&ip);
        state.hold(ip, Whose::Others);
        // Without news who is met may have been there for long.
        if state.news == News::Followed {
            state.met.again();
        }
        if state.of_interface.get(&self.owner) == Some(&ip) {
            state.of_interface.remove(&self.owner);
        }
        self.trying = None;
    }

    fn may_be_own(&self, ip: IpAddr) -> bool {
        self.known.state().of_interface.get(&self.owner) == Some(&ip)
    }

    fn is_over(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.is_over())
    }

    fn wants_list(&self, losses: usize) -> bool {
        losses >= LOSSES_BEFORE_LIST && self.known.state().news != News::Followed
    }

    fn is_sure(&self) -> bool {
        self.known.state().full.as_ref().is_some_and(|(at, _)| at.elapsed() < FULL)
    }

    fn holders(&self) -> Vec<String> {
        self.known.state().full.as_ref().map(|(_, holders)| holders.clone()).unwrap_or_default()
    }

    fn learn(&mut self, listing: &Listing) {
        let mut state = self.known.state();
        if let Some(own) = listing.own {
            state.of_interface.insert(self.owner, own);
        }
        state.learn(|ip| listing.owners.contains_key(ip), listing.owners.keys());
        self.trail = None;
        let none_free = self.known.pool.free.first_free(&state.used).is_none();
        state.full = none_free.then(|| (Instant::now(), largest_holders(listing.owners.values())));
    }
}

impl Seat {
    /// Nothing tried yet. `owner` is the interface, as the state has it.
    pub(super) const fn new(known: Arc<PoolKnown>, owner: u64, turn: Option<Arc<Turn>>) -> Self {
        Seat { known, owner, trying: None, turn, trail: None }
    }

    fn let_go(&mut self) {
        if let Some(ip) = self.trying.take() {
            let mut state = self.known.state();
            state.tried.remove(&ip);
            state.free(ip);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.let_go();
    }
}
