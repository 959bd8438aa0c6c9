//! The state of one pool in the cache. Requests and watch events change it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::contention::ContentionTracker;
use crate::pool::choose::CallerCount;
use crate::pool::search::{self, Hint};

/// How long an address counts as held without a watch event for it. Such an address conflicted, or was allocated here.
pub(super) const UNCONFIRMED_LIFETIME: Duration = Duration::from_secs(60);

/// What a pool's cache shows about a recorded claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::daemon) enum Evidence {
    /// The interface holds the address.
    Held,
    /// Nobody holds it.
    Missing,
    /// The pool is not watched, or another interface holds it.
    Unknown,
}

/// Whether the pool's claims are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyncState {
    /// The first list is in progress.
    Listing,
    /// The cache is complete, and watch events update it.
    Synced,
    /// The watch is paused, see [`super::watch_throttle`]: the cache ages.
    Paused,
}

/// The holder of an address that no watch event has confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressHolder {
    ThisNode,
    OtherNode,
}

/// The state of one pool.
#[derive(Debug)]
pub(super) struct State {
    /// Addresses that are held or being tried, as far as is known.
    pub used: BTreeSet<IpAddr>,
    /// Those of `used` that requests of this node are trying now.
    pub trying: BTreeSet<IpAddr>,
    /// Those of `used` that no watch event has confirmed, with the time of their last change.
    unconfirmed: BTreeMap<IpAddr, (Instant, AddressHolder)>,
    /// The address of each interface, by a hash of podref and interface name. A collision costs one try.
    pub by_interface: BTreeMap<u64, IpAddr>,
    /// The content so far of a list in progress.
    listing: Option<PartialList>,
    /// Whether the claims are watched.
    pub sync: SyncState,
    /// All addresses below are used, as far as is known.
    pub lowest: Option<IpAddr>,
    /// Conflicts with other nodes.
    pub contention: ContentionTracker,
    /// When a list showed that no address is free, and the largest holders.
    pub full: Option<(Instant, Vec<String>)>,
    /// The time of the last request.
    pub last_used: Instant,
}

#[derive(Debug, Default)]
struct PartialList {
    used: Vec<IpAddr>,
    by_interface: Vec<(u64, IpAddr)>,
}

impl State {
    pub fn new(start: Option<IpAddr>) -> Self {
        State {
            used: BTreeSet::new(),
            trying: BTreeSet::new(),
            unconfirmed: BTreeMap::new(),
            by_interface: BTreeMap::new(),
            listing: None,
            sync: SyncState::Listing,
            lowest: start,
            contention: ContentionTracker::default(),
            full: None,
            last_used: Instant::now(),
        }
    }

    /// The number of concurrent callers, the present one included. A later caller skips the addresses that the earlier ones are trying.
    pub fn callers(&self) -> CallerCount {
        CallerCount::of(self.trying.len() + 1)
    }

    /// The number of used addresses; during a list, the number listed so far.
    pub fn size(&self) -> usize {
        self.listing.as_ref().map_or(self.used.len(), |list| list.used.len())
    }

    pub fn release(&mut self, ip: IpAddr) {
        self.used.remove(&ip);
        self.unconfirmed.remove(&ip);
        self.full = None;
        if self.lowest.is_some_and(|lowest| ip < lowest) {
            self.lowest = Some(ip);
        }
    }

    pub fn hold(&mut self, ip: IpAddr, holder: AddressHolder) {
        self.used.insert(ip);
        self.unconfirmed.insert(ip, (Instant::now(), holder));
    }

    /// Applies what a request without a synced cache learned. The request's search began at `start`.
    pub fn apply_hint(&mut self, start: IpAddr, hint: Hint) {
        match hint {
            Hint::Spread(window) => self.contention.needed(window),
            Hint::Next(next) => self.lowest = search::raised(self.lowest, Some(start), next).or(self.lowest),
        }
    }

    /// A list item or watch event shows the claim of an interface.
    pub fn put(&mut self, interface: u64, ip: IpAddr) {
        if let Some(list) = &mut self.listing {
            list.used.push(ip);
            list.by_interface.push((interface, ip));
            return;
        }
        self.unconfirmed.remove(&ip);
        self.used.insert(ip);
        self.by_interface.insert(interface, ip);
    }

    /// A watch event or a release of this node shows that the claim of an interface is deleted.
    pub fn deleted(&mut self, interface: u64, ip: IpAddr) {
        if self.by_interface.get(&interface) == Some(&ip) {
            self.by_interface.remove(&interface);
        }
        // A request that is trying the address releases it itself, or records the result.
        if !self.trying.contains(&ip) {
            self.release(ip);
        }
    }

    /// Claims up to [`State::end_list`] are a list. The present content stays in use until then.
    pub fn begin_list(&mut self) {
        self.listing = Some(PartialList::default());
    }

    /// The list is complete: it replaces the content.
    pub fn end_list(&mut self) {
        let Some(list) = self.listing.take() else { return };
        // A set that is built from all of its items at once is dense: it takes half the memory of one that grew.
        self.used = list.used.into_iter().collect();
        // The list may be older than the latest creates of this node: those stay.
        self.unconfirmed
            .retain(|ip, (at, _)| !self.used.contains(ip) && at.elapsed() <= UNCONFIRMED_LIFETIME);
        self.used.extend(self.trying.iter().chain(self.unconfirmed.keys()));
        self.by_interface = list.by_interface.into_iter().collect();
        self.lowest = None;
        self.full = None;
        self.sync = SyncState::Synced;
    }

    /// No watch events come from now on.
    pub fn pause(&mut self) {
        self.listing = None;
        self.sync = SyncState::Paused;
    }

    /// Drops addresses that no watch event confirmed in time. While the watch is paused, the node's own addresses stay, because no event
    /// could confirm them; addresses of other nodes may be tried again, but the search does not go back to them.
    pub fn expire(&mut self) {
        let is_synced = self.sync == SyncState::Synced;
        let is_expired = |at: &Instant, holder: AddressHolder| {
            at.elapsed() > UNCONFIRMED_LIFETIME && (is_synced || holder == AddressHolder::OtherNode)
        };
        let unconfirmed = self.unconfirmed.iter();
        let expired: Vec<IpAddr> =
            unconfirmed.filter(|(_, (at, holder))| is_expired(at, *holder)).map(|(ip, _)| *ip).collect();
        for ip in expired {
            if is_synced {
                self.release(ip);
            } else {
                // Unlike release(), this keeps `lowest`.
                self.used.remove(&ip);
                self.unconfirmed.remove(&ip);
            }
        }
    }

    /// Applies a list that a request made: `held` is every address that is held now.
    pub fn learn<'a>(&mut self, is_held: impl Fn(&IpAddr) -> bool, held: impl Iterator<Item = &'a IpAddr>) {
        let free: Vec<IpAddr> =
            self.used.iter().filter(|ip| !is_held(ip) && !self.trying.contains(ip)).copied().collect();
        for ip in free {
            self.release(ip);
        }
        for ip in held {
            if !self.used.contains(ip) {
                self.hold(*ip, AddressHolder::OtherNode);
            }
        }
        self.lowest = None;
    }
}
