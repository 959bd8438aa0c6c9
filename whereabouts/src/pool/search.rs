//! How a plugin without a daemon, which has no list of the claims, searches a pool, and which hints it writes for later calls. Pure.
//!
//! [`crate::pool::choose`] picks the candidate. How it was found decides the hints after its claim was created:
//!
//! | candidate | hints |
//! |---|---|
//! | requested or previous address | none |
//! | the first free address from `start` on | `Next`: the address after it |
//! | a random one, because of other callers | `Spread`: the window, if there were conflicts |
//! | a random one, only because of conflicts in this call, two or more of them beyond the first row | `Next`: the address after the last conflict |
//! | a random one, only because of conflicts in this call, fewer of them | `Next`: the end of the first row; `Spread`: the window |
//!
//! The first row are the conflicts from `start` on without a gap. Conflicts beyond it at random addresses show that the pool is dense up to the
//! last one; then `Spread` is added only if the window is wide. Without them the first addresses are contended for.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::addr::ip;
use crate::pool::candidates::Listing;
use crate::pool::choose::{
    self, CONFLICTS_BEFORE_LIST, CallerCount, ConcurrentCallers, KnownAddresses, NoCandidate, Preferences,
};
use crate::pool::range_pool::Pool;

/// This number of conflicts above the start, without concurrent callers, shows that every address up to the last one has a claim.
const CONFLICTS_OF_A_DENSE_POOL: usize = 2;

/// A window wider than this is noted too: the next calls then need not find the end of a long row of claims by conflicts of their own.
const WIDE: u32 = 1 << 12;

/// What earlier calls on this node noted about a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolHints {
    /// The address that the interface had before.
    pub previous: Option<IpAddr>,
    /// The address to start at: all addresses below have claims, as far as is known.
    pub start: Option<IpAddr>,
    /// The window that a recent call needed; 0 if there was no contention.
    pub spread: u32,
}

/// A hint to write after an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// All addresses below this one have claims, as far as is known.
    Next(IpAddr),
    /// There were conflicts with other callers; this window was wide enough.
    Spread(u32),
}

/// The new start of a pool whose hint is `current`, after a call that began at `start` found `next`. `None` keeps the hint: it was lowered
/// meanwhile (an address was released), or another call raised it further.
pub fn raised(current: Option<IpAddr>, start: Option<IpAddr>, next: IpAddr) -> Option<IpAddr> {
    let is_newer = current.is_some_and(|current| start.is_none_or(|start| current < start) || current > next);
    (!is_newer).then_some(next)
}

/// The search of one call in a pool.
#[derive(Clone, Debug)]
pub struct Search {
    hints: PoolHints,
    used: BTreeSet<IpAddr>,
    /// The number of conflicts before the pool was last listed. Only later ones widen the window. `None` right after a list.
    conflicts_before_list: Option<usize>,
    trace: SearchTrace,
}

/// How a call without a list of the claims found its candidate, to derive hints from it.
#[derive(Clone, Debug)]
pub(crate) struct SearchTrace {
    start: Option<IpAddr>,
    /// The window that a recent call needed.
    spread: u32,
    /// The conflicts before the current candidate was chosen.
    conflicts: BTreeSet<IpAddr>,
    found: Found,
}

/// Why an address is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It is the requested address, or the interface had it before.
    Known,
    /// It is free, as far as is known.
    Free,
}

/// How the current candidate was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// As the requested or the previous address.
    Known,
    /// As the first free address from the start on.
    InOrder,
    /// At random in a window of this size, because of concurrent callers or recent contention.
    AmongCallers(u32),
    /// At random in a window of this size, only because of conflicts in this call.
    Ahead(u32),
}

impl SearchTrace {
    /// A search that begins at `start`. `spread` is the window that a recent call needed.
    pub(crate) const fn new(start: Option<IpAddr>, spread: u32) -> Self {
        SearchTrace { start, spread, conflicts: BTreeSet::new(), found: Found::Known }
    }

    /// The address at which the search began.
    pub(crate) const fn start(&self) -> Option<IpAddr> {
        self.start
    }

    /// Records how the next candidate is chosen: after `conflicts`, in a window of `spread` addresses.
    pub(crate) fn step(
        &mut self,
        conflicts: &BTreeSet<IpAddr>,
        reason: Reason,
        spread: u32,
        callers: CallerCount,
    ) {
        self.conflicts.clone_from(conflicts);
        self.found = match (reason, spread, callers) {
            (Reason::Known, _, _) => Found::Known,
            (Reason::Free, 0, _) => Found::InOrder,
            (Reason::Free, _, CallerCount::Few) if self.spread == 0 => Found::Ahead(spread),
            (Reason::Free, _, _) => Found::AmongCallers(spread),
        };
    }

    /// The hints to write after the claim of `ip` was created.
    pub(crate) fn allocated(&self, pool: &Pool, ip: IpAddr) -> Vec<Hint> {
        match self.found {
            Found::Known => Vec::new(),
            Found::InOrder => vec![Hint::Next(ip::add(ip, 1).unwrap_or(ip))],
            // No conflict this time: the earlier hint expires.
            Found::AmongCallers(_) if self.conflicts.is_empty() => Vec::new(),
            Found::AmongCallers(spread) => vec![Hint::Spread(spread)],
            Found::Ahead(spread) => self.after_conflicts(pool, ip, spread),
        }
    }

    /// Tells a dense pool from contention for its first addresses.
    fn after_conflicts(&self, pool: &Pool, ip: IpAddr, spread: u32) -> Vec<Hint> {
        let first = self.start.unwrap_or_else(|| pool.free.first());
        // The first address from the start on that did not conflict. `None` if the conflicts wrapped around.
        let end_of_row = pool.free.first_free_from(&self.conflicts, first).filter(|next| *next >= first);
        let Some(end_of_row) = end_of_row else { return vec![Hint::Spread(spread)] };
        let above: Vec<IpAddr> = self.conflicts.range(end_of_row..).copied().collect();
        match above.iter().rfind(|conflict| **conflict < ip) {
            Some(last) if above.len() >= CONFLICTS_OF_A_DENSE_POOL => {
                let next = Hint::Next(ip::add(*last, 1).unwrap_or(ip));
                // The pool may be dense far beyond the last conflict.
                if spread > WIDE { vec![next, Hint::Spread(spread)] } else { vec![next] }
            }
            Some(_) | None => vec![Hint::Next(end_of_row), Hint::Spread(spread)],
        }
    }
}

impl Search {
    /// A search that has tried nothing yet.
    pub const fn new(hints: PoolHints) -> Self {
        let trace = SearchTrace::new(hints.start, hints.spread);
        Search { hints, used: BTreeSet::new(), conflicts_before_list: Some(0), trace }
    }

    /// The next address to try. `conflicts` are all addresses that this call has tried.
    ///
    /// # Errors
    /// [`NoCandidate`].
    pub fn next(
        &mut self,
        pool: &Pool,
        requested: Option<IpAddr>,
        conflicts: &BTreeSet<IpAddr>,
        callers: ConcurrentCallers,
        random: u64,
    ) -> Result<IpAddr, NoCandidate> {
        let before_list = *self.conflicts_before_list.get_or_insert(conflicts.len());
        let since_list = conflicts.len().saturating_sub(before_list);
        let spread = choose::spread(self.hints.spread, callers.size, since_list);
        let is_known = requested.is_some() || self.hints.previous.is_some();
        let reason = if is_known { Reason::Known } else { Reason::Free };
        self.trace.step(conflicts, reason, spread, callers.size);
        // A random choice needs no order among the callers of this node.
        let ahead = if spread == 0 { callers.ahead } else { 0 };
        let PoolHints { previous, start, .. } = self.hints;
        let preferences = Preferences { requested, previous, start, ahead, spread };
        let known = KnownAddresses { used: &self.used, conflicts };
        choose::next(&pool.range, &pool.free, known, preferences, random)
    }

    /// The hints to write after the claim of `ip` was created.
    pub fn allocated(&self, pool: &Pool, ip: IpAddr) -> Vec<Hint> {
        self.trace.allocated(pool, ip)
    }

    /// Records a list of the pool's claims. Returns the lowest free address.
    pub fn learn(&mut self, pool: &Pool, listing: &Listing) -> Option<IpAddr> {
        self.used.extend(listing.owners.keys());
        self.hints.previous = listing.own;
        self.hints.start = None;
        self.trace.start = None;
        self.conflicts_before_list = None;
        pool.free.first_free(&self.used)
    }

    /// Whether the caller may own the claim of `ip` already, from an earlier call.
    pub fn may_be_callers(&self, ip: IpAddr) -> bool {
        self.hints.previous == Some(ip)
    }

    /// Whether to list the pool's claims after this number of conflicts.
    pub const fn wants_list(conflicts: usize) -> bool {
        conflicts >= CONFLICTS_BEFORE_LIST
    }
}

#[cfg(test)]
mod tests;
