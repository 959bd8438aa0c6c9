//! What is known about pools before the API server is asked: whose candidates are tried. A plugin on its own has its call and the hints on
//! disk; a daemon has what it watches. Whatever they say, the create of a claim decides.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use node::client::ApiError;

use crate::conf::request::RequestedAddress;
use crate::crd::ip_pool::SeparateUse;
use crate::crd::reservation::Reservation;
use crate::pool::choose::NoCandidate;
use crate::pool::range_pool::Pool;
use crate::pool::request::Claimant;

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
    pub fn add(&mut self, pool: &Pool, claimant: &Claimant, claim: Reservation) {
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        let Some(ip) = pool.blocked_address(name, claim.pool()) else { return };
        if claim.is_of(&claimant.podref, &claimant.if_name) && self.own.is_none() {
            self.own = Some(ip);
        }
        self.owners.insert(ip, claim.spec.podref);
    }
}

/// The memory that outlooks are of.
pub trait CandidateSource {
    /// One claim's view of its pool.
    type CandidateCursor: CandidateCursor;

    /// The view of `pool` for an interface.
    fn cursor(&self, pool: &Pool, claimant: &Claimant) -> Self::CandidateCursor;

    /// Makes sure by `work`, unless that is known, that the entries that Whereabouts wrote in this pool have claims. What the pool's object
    /// says of its use is remembered with it, for a minute at most, and as long as it will do for this kind of order
    /// ([`SeparateUse::will_do`]).
    fn adopted(
        &self,
        pool: &Pool,
        work: impl Future<Output = Result<SeparateUse, ApiError>> + Send,
    ) -> impl Future<Output = Result<SeparateUse, ApiError>> + Send;

    /// How many addresses of the pool are held, if that is known.
    fn used(&self, pool: &Pool) -> Option<u128>;
}

/// One claim's view of its pool.
pub trait CandidateCursor {
    /// The next address to try, `lost` left out.
    fn next(
        &mut self,
        pool: &Pool,
        requested: Option<RequestedAddress>,
        lost: &BTreeSet<IpAddr>,
    ) -> Result<IpAddr, NoCandidate>;

    /// The claim of `ip` is the caller's.
    fn allocated(&mut self, ip: IpAddr);

    /// The claim of `ip` is another's.
    fn conflicted(&mut self, ip: IpAddr);

    /// Whether the candidate may be the caller's own already.
    fn may_be_callers(&self, ip: IpAddr) -> bool;

    /// Whether the order was ended by a newer one.
    fn is_superseded(&self) -> bool;

    /// Whether to list the pool's claims after so many losses.
    fn wants_list(&self, conflicts: usize) -> bool;

    /// What was listed.
    fn learn(&mut self, listing: &Listing);

    /// Whether a pool that seems full is known to be, from a list a moment ago.
    fn knows_full(&self) -> bool;

    /// Who holds most of a full pool, if that is known.
    fn holders(&self) -> Vec<String>;
}
