//! How a plugin on its own, which sees no list of claims, goes through a pool; and what it notes for those who come after it. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::addr::ip;
use crate::conf::request::RequestedAddress;
use crate::pool::candidates::Listing;
use crate::pool::choose;
use crate::pool::choose::{
    CONFLICTS_BEFORE_LIST, CallerCount, ConcurrentCallers, KnownAddresses, NoCandidate, Preferences,
};
use crate::pool::range_pool::Pool;

/// So many losses in windows of growing width, with no crowd about, say that all up to there is claimed.
const CONFLICTS_OF_A_DENSE_POOL: usize = 2;

/// From a window as wide as this the end of what is claimed is found step by step, not by every call anew.
const FAR: u32 = 1 << 12;

/// What earlier calls on this node noted about a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolHints {
    /// What the interface had before.
    pub previous: Option<IpAddr>,
    /// All addresses below are taken, as far as is known.
    pub start: Option<IpAddr>,
    /// The window that was needed a moment ago; 0 if nobody was met.
    pub spread: u32,
}

/// What is worth noting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// All addresses below this one are taken, as far as is known.
    Next(IpAddr),
    /// Others were met; this window is wide enough.
    Spread(u32),
}

/// Where to begin from now on: where `next` is news to what is noted `now`. A call that began at `start` knows nothing of a note that was
/// lowered since (an address was freed) or that another call has raised further: those stand, and the answer is `None`.
pub fn raised(now: Option<IpAddr>, start: Option<IpAddr>, next: IpAddr) -> Option<IpAddr> {
    let stands = now.is_some_and(|now| start.is_none_or(|start| now < start) || now > next);
    (!stands).then_some(next)
}

/// One call's way through a pool.
#[derive(Clone, Debug)]
pub struct Search {
    notes: PoolHints,
    used: BTreeSet<IpAddr>,
    /// Losses before the pool was listed; none right after a list.
    conflicts_before_list: Option<usize>,
    trace: SearchTrace,
}

/// How one call came to its candidate, and what is to be learned from that. Of whoever sees no list of claims.
#[derive(Clone, Debug)]
pub struct SearchTrace {
    start: Option<IpAddr>,
    /// The window that was needed a moment before.
    spread: u32,
    /// What the present candidate was chosen without.
    lost: BTreeSet<IpAddr>,
    way: Found,
}

/// Why an address is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was wished for, or the interface had it.
    Known,
    /// It is free, as far as is known.
    Free,
}

/// How the present candidate was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// By wish or by memory.
    Known,
    /// All below it are taken, as far as is known.
    InOrder,
    /// By chance in a window of this size, because others were met or are about.
    AmongCallers(u32),
    /// By chance too, but only because so many tries were lost.
    Ahead(u32),
}

impl SearchTrace {
    /// Nothing tried yet: where the search begins, and the window that was needed a moment ago.
    pub const fn new(start: Option<IpAddr>, spread: u32) -> Self {
        SearchTrace { start, spread, lost: BTreeSet::new(), way: Found::Known }
    }

    /// Where the search began.
    pub const fn start(&self) -> Option<IpAddr> {
        self.start
    }

    /// A candidate was chosen without `lost`, by chance among `spread` more.
    pub fn step(&mut self, lost: &BTreeSet<IpAddr>, reason: Reason, spread: u32, callers: CallerCount) {
        self.lost.clone_from(lost);
        self.way = match (reason, spread, callers) {
            (Reason::Known, _, _) => Found::Known,
            (Reason::Free, 0, _) => Found::InOrder,
            (Reason::Free, _, CallerCount::Few) if self.spread == 0 => Found::Ahead(spread),
            (Reason::Free, _, _) => Found::AmongCallers(spread),
        };
    }

    /// What to note when the claim of `ip` was got.
    pub fn allocated(&self, pool: &Pool, ip: IpAddr) -> Vec<Hint> {
        match self.way {
            Found::Known => Vec::new(),
            Found::InOrder => vec![Hint::Next(ip::add(ip, 1).unwrap_or(ip))],
            // Nobody was met this time: what was noted of earlier meetings grows old.
            Found::AmongCallers(_) if self.lost.is_empty() => Vec::new(),
            Found::AmongCallers(spread) => vec![Hint::Spread(spread)],
            Found::Ahead(spread) => self.after_conflicts(pool, ip, spread),
        }
    }

    /// The pool is dense up to the last loss before `ip`; or its first addresses are contended for.
    fn after_conflicts(&self, pool: &Pool, ip: IpAddr, spread: u32) -> Vec<Hint> {
        let first = self.start.unwrap_or_else(|| pool.free.first());
        let in_a_row = pool.free.first_free_from(&self.lost, first).filter(|next| *next >= first);
        let Some(next) = in_a_row else { return vec![Hint::Spread(spread)] };
        let above: Vec<IpAddr> = self.lost.range(next..).copied().collect();
        match above.iter().rfind(|lost| **lost < ip) {
            Some(last) if above.len() >= CONFLICTS_OF_A_DENSE_POOL => {
                let next = Hint::Next(ip::add(*last, 1).unwrap_or(ip));
                // How far it is dense beyond the last loss nobody knows: where that may be far, the next calls need not find out anew.
                if spread > FAR { vec![next, Hint::Spread(spread)] } else { vec![next] }
            }
            Some(_) | None => vec![Hint::Next(next), Hint::Spread(spread)],
        }
    }
}

impl Search {
    /// Nothing tried yet.
    pub const fn new(notes: PoolHints) -> Self {
        let trace = SearchTrace::new(notes.start, notes.spread);
        Search { notes, used: BTreeSet::new(), conflicts_before_list: Some(0), trace }
    }

    /// The next address to try. `lost` are all that this call tried.
    ///
    /// # Errors
    /// [`NoCandidate`].
    pub fn next(
        &mut self,
        pool: &Pool,
        requested: Option<RequestedAddress>,
        lost: &BTreeSet<IpAddr>,
        callers: ConcurrentCallers,
        random: u64,
    ) -> Result<IpAddr, NoCandidate> {
        let conflicts = lost.len().saturating_sub(*self.conflicts_before_list.get_or_insert(lost.len()));
        let spread = choose::spread(self.notes.spread, callers.size, conflicts);
        let is_known = requested.is_some() || self.notes.previous.is_some();
        self.trace.step(lost, if is_known { Reason::Known } else { Reason::Free }, spread, callers.size);
        let ahead = if spread == 0 { callers.ahead } else { 0 };
        let hints =
            Preferences { requested, previous: self.notes.previous, start: self.notes.start, ahead, spread };
        choose::next(&pool.range, &pool.free, KnownAddresses { used: &self.used, lost }, hints, random)
    }

    /// What to note when the claim of `ip` was got.
    pub fn allocated(&self, pool: &Pool, ip: IpAddr) -> Vec<Hint> {
        self.trace.allocated(pool, ip)
    }

    /// Takes a list of the pool's claims in. Below the address that is returned all are taken.
    pub fn learn(&mut self, pool: &Pool, listing: &Listing) -> Option<IpAddr> {
        self.used.extend(listing.owners.keys());
        self.notes.previous = listing.own;
        self.notes.start = None;
        self.trace.start = None;
        self.conflicts_before_list = None;
        pool.free.first_free(&self.used)
    }

    /// Whether a candidate may be the caller's own already.
    pub fn may_be_callers(&self, ip: IpAddr) -> bool {
        self.notes.previous == Some(ip)
    }

    /// Whether to list the pool's claims after so many losses.
    pub const fn wants_list(conflicts: usize) -> bool {
        conflicts >= CONFLICTS_BEFORE_LIST
    }
}

#[cfg(test)]
mod tests;
