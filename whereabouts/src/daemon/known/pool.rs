//! One pool in use: what is held, what is being tried, where to look next.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use node::client::Change;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::Instant;

use super::super::metrics::Metrics;
use super::super::turns::Turn;
use super::address;
use crate::choose::{self, CrowdSize, Hints, LOSSES_BEFORE_LIST, NoCandidate, View, Wish};
use crate::claim::largest_holders;
use crate::conf::OverlappingRanges;
use crate::hint::SPREAD_FOR;
use crate::ip;
use crate::order::Who;
use crate::outlook::{Listing, Outlook};
use crate::pool::Pool;
use crate::seen::SeenClaim;
use crate::twin::Separation;

/// How long an address counts as held that was seen to be another's, or was won here, and that the API server's news do not show.
const UNSEEN: Duration = Duration::from_secs(60);

/// How long a pool that a list showed full counts as full when nothing is freed.
const FULL: Duration = Duration::from_secs(1);

/// How long a pool counts as adopted; the leader adopts what Whereabouts adds.
const ADOPTED: Duration = Duration::from_secs(60);

/// The window among whose free addresses orders choose after a few meetings with others, and the widest after many.
const WINDOWS: RangeInclusive<u32> = 1 << 6..=1 << 16;

/// So many meetings, one shortly after the other, are no chance.
const MEETINGS: u32 = 3;

/// How long the first order of a pool waits for the list of its claims: with it the first candidate is usually free.
const FIRST_LIST: Duration = Duration::from_secs(3);

/// One pool in use.
#[derive(Debug)]
pub struct PoolKnown {
    pool: Pool,
    metrics: Metrics,
    state: Mutex<State>,
    /// When the pool was seen adopted, and what it said; held while someone looks.
    adopted: AsyncMutex<Option<(Instant, Separation)>>,
    /// Told when the first list is there, or will never be.
    first_list: Notify,
}

#[derive(Debug)]
struct State {
    /// Held or being tried, as far as is known.
    used: BTreeSet<IpAddr>,
    /// Of these, what orders try at the moment.
    tried: BTreeSet<IpAddr>,
    /// Of these, what the API server's news have not shown yet or never will, with when it was learned.
    unseen: BTreeMap<IpAddr, Instant>,
    /// The address of each interface, by a hash of pod and interface: only ever a first guess.
    of_interface: BTreeMap<u64, IpAddr>,
    /// What a new list has so far.
    listing: Option<Listed>,
    synced: bool,
    /// Whether the first list is there, or will never be.
    answers: bool,
    /// All below are used.
    lowest: Option<IpAddr>,
    /// Where orders of other nodes were met.
    met: Met,
    full: Option<(Instant, Vec<String>)>,
    asked: Instant,
}

/// Meetings with orders of other nodes: claims that were there first and that the API server's news had not shown.
#[derive(Debug, Default)]
struct Met {
    last: Option<Instant>,
    times: u32,
    window: u32,
}

#[derive(Debug, Default)]
struct Listed {
    used: Vec<IpAddr>,
    of_interface: Vec<(u64, IpAddr)>,
}

impl PoolKnown {
    /// Nothing known but where to begin.
    pub fn new(pool: Pool, start: Option<IpAddr>, metrics: Metrics) -> Self {
        let state = State {
            used: BTreeSet::new(),
            tried: BTreeSet::new(),
            unseen: BTreeMap::new(),
            of_interface: BTreeMap::new(),
            listing: None,
            synced: false,
            answers: false,
            lowest: start,
            met: Met::default(),
            full: None,
            asked: Instant::now(),
        };
        PoolKnown {
            pool,
            metrics,
            state: Mutex::new(state),
            adopted: AsyncMutex::new(None),
            first_list: Notify::new(),
        }
    }

    /// The pool as it was when it came into use.
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock; a state that is half changed costs tries, never correctness.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn touch(&self) {
        self.state().asked = Instant::now();
    }

    pub(super) fn idle_for(&self) -> Duration {
        self.state().asked.elapsed()
    }

    /// Sees to it that the pool is adopted, by `work` unless that is known. Of orders at the same time one does it. What the pool said is
    /// remembered; what will not do for this kind of order is asked for again.
    pub(super) async fn adopted<E>(
        &self,
        overlapping: OverlappingRanges,
        work: impl Future<Output = Result<Separation, E>>,
    ) -> Result<Separation, E> {
        let mut adopted = self.adopted.lock().await;
        let known = adopted.filter(|(at, said)| at.elapsed() < ADOPTED && said.will_do(overlapping));
        if let Some((_, said)) = known {
            return Ok(said);
        }
        let said = work.await?;
        *adopted = Some((Instant::now(), said));
        Ok(said)
    }

    /// Waits for the first list, but not for long.
    pub(super) async fn synced(&self) {
        let told = self.first_list.notified();
        if !self.state().answers {
            let _ = tokio::time::timeout(FIRST_LIST, told).await;
        }
    }

    pub(super) fn never_synced(&self) {
        self.state().answers = true;
        self.first_list.notify_waiters();
    }

    /// How many addresses that may be given out are held; `None` before that is known.
    pub(super) fn used(&self) -> Option<u128> {
        let state = self.state();
        state.synced.then(|| self.pool.free.count_used(&state.used) as u128)
    }

    pub(super) fn freed(&self, ip: IpAddr) {
        self.state().free(ip);
    }

    /// Takes in what the API server tells.
    pub fn apply(&self, change: Change<SeenClaim>) {
        let mut state = self.state();
        match change {
            Change::Restarted => state.listing = Some(Listed::default()),
            Change::Put(claim) => {
                let Some(ip) = address(&self.pool, &claim) else { return };
                let owner = interface(&claim.podref, &claim.ifname);
                match &mut state.listing {
                    Some(listed) => {
                        listed.used.push(ip);
                        listed.of_interface.push((owner, ip));
                    }
                    None => {
                        state.unseen.remove(&ip);
                        state.used.insert(ip);
                        state.of_interface.insert(owner, ip);
                    }
                }
            }
            Change::Gone(claim) => {
                let Some(ip) = address(&self.pool, &claim) else { return };
                let owner = interface(&claim.podref, &claim.ifname);
                if state.of_interface.get(&owner) == Some(&ip) {
                    state.of_interface.remove(&owner);
                }
                if !state.tried.contains(&ip) {
                    state.free(ip);
                }
            }
            Change::Synced => {
                state.swap();
                state.answers = true;
                self.first_list.notify_waiters();
            }
        }
    }

    /// Forgets what was never confirmed.
    pub(super) fn expire(&self) {
        let mut state = self.state();
        let old: Vec<IpAddr> =
            state.unseen.iter().filter(|(_, at)| at.elapsed() > UNSEEN).map(|(ip, _)| *ip).collect();
        for ip in old {
            state.free(ip);
        }
    }

    /// A place in the pool for one order.
    pub fn seat(self: &Arc<Self>, who: &Who, turn: Option<Arc<Turn>>) -> Seat {
        Seat { known: self.clone(), owner: interface(&who.podref, &who.if_name), trying: None, turn }
    }
}

impl State {
    /// Who else looks for an address: orders of this node that try one at the moment. Who comes later passes over what they try anyway.
    fn crowd(&self) -> CrowdSize {
        CrowdSize::of(self.tried.len() + 1)
    }

    fn free(&mut self, ip: IpAddr) {
        self.used.remove(&ip);
        self.unseen.remove(&ip);
        self.full = None;
        if self.lowest.is_some_and(|lowest| ip < lowest) {
            self.lowest = Some(ip);
        }
    }

    fn hold(&mut self, ip: IpAddr) {
        self.used.insert(ip);
        self.unseen.insert(ip, Instant::now());
    }

    fn swap(&mut self) {
        let Some(listed) = self.listing.take() else { return };
        // Made at once of everything, sets are dense: half as large as if they had grown.
        self.used = listed.used.into_iter().collect();
        self.unseen.retain(|ip, at| !self.used.contains(ip) && at.elapsed() <= UNSEEN);
        self.used.extend(self.tried.iter().chain(self.unseen.keys()));
        self.of_interface = listed.of_interface.into_iter().collect();
        self.lowest = None;
        self.full = None;
        self.synced = true;
    }
}

impl Met {
    /// The window that is wide enough now; 0 if nobody was met lately.
    fn window(&self) -> u32 {
        if self.is_recent() { self.window } else { 0 }
    }

    fn is_recent(&self) -> bool {
        self.last.is_some_and(|at| at.elapsed() < SPREAD_FOR)
    }

    fn again(&mut self) {
        if !self.is_recent() {
            *self = Met::default();
        }
        self.last = Some(Instant::now());
        self.times += 1;
        if self.times >= MEETINGS {
            self.window = (self.window * 2).clamp(*WINDOWS.start(), *WINDOWS.end());
        }
    }

    fn not_this_time(&mut self) {
        self.window -= self.window.div_ceil(16);
    }
}

/// One order's place in a pool. What it tries nobody else here tries, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    known: Arc<PoolKnown>,
    owner: u64,
    trying: Option<IpAddr>,
    turn: Option<Arc<Turn>>,
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
        let spread = choose::spread(state.met.window(), state.crowd(), lost.len());
        let hints = Hints { wish, previous, start: state.lowest, ahead: 0, spread };
        let view = View { used: &state.used, lost };
        let ip = choose::next(&pool.range, &pool.free, view, hints, node::entropy::random())?;
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
        state.hold(ip);
        state.met.not_this_time();
        state.of_interface.insert(self.owner, ip);
        self.trying = None;
    }

    fn lost(&mut self, ip: IpAddr) {
        self.known.metrics.conflict();
        let mut state = self.known.state();
        state.tried.remove(&ip);
        state.hold(ip);
        state.met.again();
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
        losses >= LOSSES_BEFORE_LIST && !self.known.state().synced
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
        let now = Instant::now();
        let gone: Vec<IpAddr> =
            state.used.iter().filter(|ip| !listing.owners.contains_key(ip)).copied().collect();
        for ip in gone {
            if !state.tried.contains(&ip) {
                state.free(ip);
            }
        }
        for ip in listing.owners.keys() {
            if state.used.insert(*ip) {
                state.unseen.insert(*ip, now);
            }
        }
        state.lowest = None;
        let none_free = self.known.pool.free.first_free(&state.used).is_none();
        state.full = none_free.then(|| (now, largest_holders(listing.owners.values())));
    }
}

impl Seat {
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

fn interface(podref: &str, if_name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (podref, if_name).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
