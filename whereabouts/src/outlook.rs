//! What is known about pools before the API server is asked: whose candidates are tried. A plugin on its own has its call and the hints on
//! disk; a daemon has what it watches. Whatever they say, the create of a claim decides.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use node::client::ApiError;

use crate::choose::{self, Hints, LOSSES_BEFORE_RANDOM, NoCandidate, View, Wish};
use crate::hint::HintStore;
use crate::naming;
use crate::objects::Reservation;
use crate::order::Who;
use crate::pool::Pool;

/// What a list says about a pool.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The pod that holds each address.
    pub owners: BTreeMap<IpAddr, String>,
    /// What the caller itself holds.
    pub own: Option<IpAddr>,
}

impl Listing {
    /// Takes a claim in, if it is of this pool.
    pub fn add(&mut self, pool: &Pool, who: &Who, claim: Reservation) {
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        let ip = naming::claimed_address(name, pool.scope()).filter(|ip| pool.range.net.contains(ip));
        let Some(ip) = ip else { return };
        if claim.is_of(&who.podref, &who.if_name) && self.own.is_none() {
            self.own = Some(ip);
        }
        self.owners.insert(ip, claim.spec.podref);
    }
}

/// The memory that outlooks are of.
pub trait Memory {
    /// One claim's view of its pool.
    type Outlook: Outlook;

    /// The view of `pool` for an interface.
    fn outlook(&self, pool: &Pool, who: &Who) -> Self::Outlook;

    /// Makes sure by `work`, unless that is known, that the entries that Whereabouts wrote in this pool have claims.
    fn adopted(
        &self,
        pool: &Pool,
        work: impl Future<Output = Result<(), ApiError>> + Send,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// How many addresses of the pool are held, if that is known.
    fn used(&self, pool: &Pool) -> Option<u128>;
}

/// One claim's view of its pool.
pub trait Outlook {
    /// The next address to try, `lost` left out.
    fn next(
        &mut self,
        pool: &Pool,
        wish: Option<Wish>,
        lost: &BTreeSet<IpAddr>,
    ) -> Result<IpAddr, NoCandidate>;

    /// The claim of `ip` is the caller's.
    fn won(&mut self, ip: IpAddr);

    /// The claim of `ip` is another's.
    fn lost(&mut self, ip: IpAddr);

    /// Whether the candidate may be the caller's own already.
    fn may_be_own(&self, ip: IpAddr) -> bool;

    /// Whether the order was ended by a newer one.
    fn is_over(&self) -> bool;

    /// Whether to list the pool's claims after so many losses.
    fn wants_list(&self, losses: usize) -> bool;

    /// What was listed.
    fn learn(&mut self, listing: &Listing);

    /// Whether a pool that seems full is known to be, from a list a moment ago.
    fn is_sure(&self) -> bool;

    /// Who holds most of a full pool, if that is known.
    fn holders(&self) -> Vec<String>;
}

/// A plugin on its own: hint files, and what this call learns.
#[derive(Clone, Debug)]
pub struct Alone {
    store: HintStore,
    pool: String,
    owner: (String, String),
    previous: Option<IpAddr>,
    start: Option<IpAddr>,
    used: BTreeSet<IpAddr>,
    spread: u32,
    losses: usize,
    way: Way,
}

/// How the present candidate was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// All below it are taken, as far as is known.
    InOrder,
    /// By wish, by memory or by chance.
    Otherwise,
}

impl Memory for HintStore {
    type Outlook = Alone;

    fn outlook(&self, pool: &Pool, who: &Who) -> Alone {
        let name = pool.name.as_str();
        Alone {
            store: self.clone(),
            pool: name.to_owned(),
            owner: (who.podref.clone(), who.if_name.clone()),
            previous: self.previous(name, &who.podref, &who.if_name),
            start: self.get(name),
            used: BTreeSet::new(),
            spread: self.spread(name),
            losses: 0,
            way: Way::Otherwise,
        }
    }

    async fn adopted(
        &self,
        pool: &Pool,
        work: impl Future<Output = Result<(), ApiError>> + Send,
    ) -> Result<(), ApiError> {
        if !self.is_adopted(pool.name.as_str()) {
            work.await?;
            self.set_adopted(pool.name.as_str());
        }
        Ok(())
    }

    fn used(&self, _pool: &Pool) -> Option<u128> {
        None
    }
}

impl Outlook for Alone {
    fn next(
        &mut self,
        pool: &Pool,
        wish: Option<Wish>,
        lost: &BTreeSet<IpAddr>,
    ) -> Result<IpAddr, NoCandidate> {
        let spread = self.spread.max(choose::spread_after(lost.len()));
        let plain = wish.is_none() && self.previous.is_none() && spread == 0;
        self.way = if plain { Way::InOrder } else { Way::Otherwise };
        self.losses = lost.len();
        let hints = Hints { wish, previous: self.previous, start: self.start, spread };
        let view = View { used: &self.used, lost };
        choose::next(&pool.range, &pool.free, view, hints, node::entropy::random())
    }

    fn won(&mut self, ip: IpAddr) {
        let (podref, if_name) = &self.owner;
        self.store.set_previous(&self.pool, podref, if_name, ip);
        if self.way == Way::InOrder {
            self.store.set(&self.pool, crate::ip::add(ip, 1).unwrap_or(ip));
        } else {
            self.store.set_spread(&self.pool, choose::spread_after(self.losses));
        }
    }

    fn lost(&mut self, _ip: IpAddr) {}

    fn may_be_own(&self, ip: IpAddr) -> bool {
        self.previous == Some(ip)
    }

    fn is_over(&self) -> bool {
        false
    }

    fn wants_list(&self, losses: usize) -> bool {
        losses >= LOSSES_BEFORE_RANDOM
    }

    fn learn(&mut self, listing: &Listing) {
        self.used.extend(listing.owners.keys());
        self.previous = listing.own;
        self.start = None;
    }

    fn is_sure(&self) -> bool {
        false
    }

    fn holders(&self) -> Vec<String> {
        Vec::new()
    }
}
