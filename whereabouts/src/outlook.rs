//! What is known about pools before the API server is asked: whose candidates are tried. A plugin on its own has its call and the hints on
//! disk; a daemon has what it watches. Whatever they say, the create of a claim decides.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use node::client::ApiError;

use crate::choose::{NoCandidate, Wish};
use crate::crowd::Place;
use crate::hint::HintStore;
use crate::objects::Reservation;
use crate::order::Who;
use crate::pool::Pool;
use crate::search::{Note, Search};
use crate::twin::Separation;

/// What a list says about a pool.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The pod that holds each address.
    pub owners: BTreeMap<IpAddr, String>,
    /// What the caller itself holds.
    pub own: Option<IpAddr>,
}

impl Listing {
    /// Takes a claim in, if it withholds an address from this pool.
    pub fn add(&mut self, pool: &Pool, who: &Who, claim: Reservation) {
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        let Some(ip) = pool.withheld(name, claim.pool()) else { return };
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

    /// Makes sure by `work`, unless that is known, that the entries that Whereabouts wrote in this pool have claims. What the pool's object
    /// says of its use is remembered with it, for a minute at most, and as long as it will do for this kind of order
    /// ([`Separation::will_do`]).
    fn adopted(
        &self,
        pool: &Pool,
        work: impl Future<Output = Result<Separation, ApiError>> + Send,
    ) -> impl Future<Output = Result<Separation, ApiError>> + Send;

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
#[derive(Debug)]
pub struct Alone {
    store: HintStore,
    pool: Pool,
    owner: (String, String),
    start: Option<IpAddr>,
    search: Search,
    place: Place,
}

impl Alone {
    fn note(&self, note: Note) {
        self.store.note(self.pool.name.as_str(), self.start, note);
    }
}

impl Memory for HintStore {
    type Outlook = Alone;

    fn outlook(&self, pool: &Pool, who: &Who) -> Alone {
        let name = pool.name.as_str();
        let notes = self.notes(name, &who.podref, &who.if_name);
        Alone {
            store: self.clone(),
            pool: pool.clone(),
            owner: (who.podref.clone(), who.if_name.clone()),
            start: notes.start,
            search: Search::new(notes),
            place: self.place(name),
        }
    }

    async fn adopted(
        &self,
        pool: &Pool,
        work: impl Future<Output = Result<Separation, ApiError>> + Send,
    ) -> Result<Separation, ApiError> {
        let name = pool.name.as_str();
        if let Some(known) = self.adopted(name).filter(|known| known.will_do(pool.overlapping)) {
            return Ok(known);
        }
        let separation = work.await?;
        self.set_adopted(name, separation);
        Ok(separation)
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
        self.search.next(pool, wish, lost, self.place.crowd(), fastrand::u64(..))
    }

    fn won(&mut self, ip: IpAddr) {
        let (podref, if_name) = &self.owner;
        self.store.set_previous(self.pool.name.as_str(), podref, if_name, ip);
        for note in self.search.won(&self.pool, ip) {
            self.note(note);
        }
    }

    fn lost(&mut self, _ip: IpAddr) {}

    fn may_be_own(&self, ip: IpAddr) -> bool {
        self.search.may_be_own(ip)
    }

    fn is_over(&self) -> bool {
        false
    }

    fn wants_list(&self, losses: usize) -> bool {
        Search::wants_list(losses)
    }

    fn learn(&mut self, listing: &Listing) {
        // The list is current: what was noted before is not.
        self.start = self.search.learn(&self.pool, listing);
        if let Some(next) = self.start {
            self.store.set(self.pool.name.as_str(), next);
        }
    }

    fn is_sure(&self) -> bool {
        false
    }

    fn holders(&self) -> Vec<String> {
        Vec::new()
    }
}
