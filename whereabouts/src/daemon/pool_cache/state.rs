//! What is known of a pool: a value that orders and the API server's news change.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::contention::ContentionTracker;
use crate::pool::choose::CallerCount;
use crate::pool::search;
use crate::pool::search::Hint;

/// How long an address counts as held that was seen to be another's, or was won here, and that the API server's news do not show.
pub(super) const UNCONFIRMED_LIFETIME: Duration = Duration::from_secs(60);

/// Whether the API server tells what is claimed and given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyncState {
    /// The first list is under way.
    Listing,
    /// Every change.
    Synced,
    /// Not now: what is known grows old.
    Paused,
}

/// Who has an address that the news have not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressHolder {
    /// An order of this node.
    ThisNode,
    /// Somebody else.
    Others,
}

/// See the module.
#[derive(Debug)]
pub(super) struct State {
    /// Held or being tried, as far as is known.
    pub used: BTreeSet<IpAddr>,
    /// Of these, what orders try at the moment.
    pub tried: BTreeSet<IpAddr>,
    /// Of these, what the API server's news have not shown yet or never will, with when it was learned.
    unconfirmed: BTreeMap<IpAddr, (Instant, AddressHolder)>,
    /// The address of each interface, by a hash of pod and interface: only ever a first guess.
    pub of_interface: BTreeMap<u64, IpAddr>,
    /// What a new list has so far.
    listing: Option<Listed>,
    pub sync: SyncState,
    /// All below are used, as far as is known.
    pub lowest: Option<IpAddr>,
    /// Where orders of other nodes were met.
    pub contention: ContentionTracker,
    /// When a list showed that nothing is free, and who holds most.
    pub full: Option<(Instant, Vec<String>)>,
    /// When the last order came.
    pub last_used: Instant,
}

#[derive(Debug, Default)]
struct Listed {
    used: Vec<IpAddr>,
    of_interface: Vec<(u64, IpAddr)>,
}

impl State {
    pub fn new(start: Option<IpAddr>) -> Self {
        State {
            used: BTreeSet::new(),
            tried: BTreeSet::new(),
            unconfirmed: BTreeMap::new(),
            of_interface: BTreeMap::new(),
            listing: None,
            sync: SyncState::Listing,
            lowest: start,
            contention: ContentionTracker::default(),
            full: None,
            last_used: Instant::now(),
        }
    }

    /// Who else looks for an address: orders of this node that try one at the moment. Who comes later passes over what they try anyway.
    pub fn callers(&self) -> CallerCount {
        CallerCount::of(self.tried.len() + 1)
    }

    /// How many are held, or were told so far of a list under way.
    pub fn size(&self) -> usize {
        self.listing.as_ref().map_or(self.used.len(), |listed| listed.used.len())
    }

    pub fn free(&mut self, ip: IpAddr) {
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

    /// What an order without news that began at `start` has learned.
    pub fn note(&mut self, start: IpAddr, note: Hint) {
        match note {
            Hint::Spread(window) => self.contention.needed(window),
            Hint::Next(next) => self.lowest = search::raised(self.lowest, Some(start), next).or(self.lowest),
        }
    }

    /// The claim of an interface was told.
    pub fn put(&mut self, owner: u64, ip: IpAddr) {
        if let Some(listed) = &mut self.listing {
            listed.used.push(ip);
            listed.of_interface.push((owner, ip));
            return;
        }
        self.unconfirmed.remove(&ip);
        self.used.insert(ip);
        self.of_interface.insert(owner, ip);
    }

    /// It was told that it is gone.
    pub fn gone(&mut self, owner: u64, ip: IpAddr) {
        if self.of_interface.get(&owner) == Some(&ip) {
            self.of_interface.remove(&owner);
        }
        if !self.tried.contains(&ip) {
            self.free(ip);
        }
    }

    /// What is put from now on is a list.
    pub fn begin_list(&mut self) {
        self.listing = Some(Listed::default());
    }

    /// The list is complete.
    pub fn end_list(&mut self) {
        let Some(listed) = self.listing.take() else { return };
        // Made at once of everything, sets are dense: half as large as if they had grown.
        self.used = listed.used.into_iter().collect();
        self.unconfirmed
            .retain(|ip, (at, _)| !self.used.contains(ip) && at.elapsed() <= UNCONFIRMED_LIFETIME);
        self.used.extend(self.tried.iter().chain(self.unconfirmed.keys()));
        self.of_interface = listed.of_interface.into_iter().collect();
        self.lowest = None;
        self.full = None;
        self.sync = SyncState::Synced;
    }

    /// No news from now on.
    pub fn pause(&mut self) {
        self.listing = None;
        self.sync = SyncState::Paused;
    }

    /// Forgets what should have been confirmed by now. Without news what is this node's own stays, and an address that was another's may
    /// be tried again, but is not looked for.
    pub fn expire(&mut self) {
        let followed = self.sync == SyncState::Synced;
        let is_old = |at: &Instant, holder: AddressHolder| {
            at.elapsed() > UNCONFIRMED_LIFETIME && (followed || holder == AddressHolder::Others)
        };
        let unconfirmed = self.unconfirmed.iter();
        let old: Vec<IpAddr> =
            unconfirmed.filter(|(_, (at, holder))| is_old(at, *holder)).map(|(ip, _)| *ip).collect();
        for ip in old {
            if followed {
                self.free(ip);
            } else {
                self.used.remove(&ip);
                self.unconfirmed.remove(&ip);
            }
        }
    }

    /// Everything that is held now.
    pub fn learn<'a>(&mut self, held: impl Fn(&IpAddr) -> bool, all: impl Iterator<Item = &'a IpAddr>) {
        let gone: Vec<IpAddr> =
            self.used.iter().filter(|ip| !held(ip) && !self.tried.contains(ip)).copied().collect();
        for ip in gone {
            self.free(ip);
        }
        for ip in all {
            if !self.used.contains(ip) {
                self.hold(*ip, AddressHolder::Others);
            }
        }
        self.lowest = None;
    }
}
