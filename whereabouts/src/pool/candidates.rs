//! The interface to a source of candidates: what a caller knows about a pool before it creates a claim.
//!
//! A plugin without a daemon has hint files and the conflicts of its own call; a daemon has its pool cache. Both may be wrong: only the
//! create of a claim decides who gets an address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use node::client::ApiError;

use crate::crd::ip_pool::SeparateUse;
use crate::crd::reservation::Reservation;
use crate::pool::choose::NoCandidate;
use crate::pool::range_pool::Pool;
use crate::pool::request::Claimant;

/// The claims of a pool, as a list returned them.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The podref of the owner of each address.
    pub owners: BTreeMap<IpAddr, String>,
    /// The address that the caller itself holds.
    pub own: Option<IpAddr>,
}

impl Listing {
    /// Adds a claim, if it blocks an address of this pool.
    pub fn add(&mut self, pool: &Pool, claimant: &Claimant, claim: Reservation) {
        // A claim without a name cannot come from the API server; the empty name blocks nothing.
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        let Some(ip) = pool.blocked_address(name, claim.pool()) else { return };
        if claim.belongs_to(&claimant.podref, &claimant.if_name) && self.own.is_none() {
            self.own = Some(ip);
        }
        self.owners.insert(ip, claim.spec.podref);
    }
}

/// A source of candidates: the hint files or the pool caches.
pub trait CandidateSource {
    /// The cursor of this source.
    type CandidateCursor: CandidateCursor;

    /// A cursor in `pool` for the claimant's interface.
    fn cursor(&self, pool: &Pool, claimant: &Claimant) -> Self::CandidateCursor;

    /// Adopts the pool by `adopt`: afterwards every allocation that Whereabouts wrote has a claim. Returns the pool's [`SeparateUse`].
    ///
    /// A source caches the result for 60 s at most, and returns it without `adopt` only if it suffices for this kind of request
    /// ([`SeparateUse::suffices_for`]). [`crate::pool::claim_names`] relies on the 60 s.
    fn adopted(
        &self,
        pool: &Pool,
        adopt: impl Future<Output = Result<SeparateUse, ApiError>> + Send,
    ) -> impl Future<Output = Result<SeparateUse, ApiError>> + Send;

    /// The number of claims of the pool, if the source knows it.
    fn used(&self, pool: &Pool) -> Option<u128>;
}

/// The progress of one request in its pool.
pub trait CandidateCursor {
    /// The next address to try. `conflicts` are the addresses that this call has tried and that others own.
    fn next(
        &mut self,
        pool: &Pool,
        requested: Option<IpAddr>,
        conflicts: &BTreeSet<IpAddr>,
    ) -> Result<IpAddr, NoCandidate>;

    /// Records that the caller owns the claim of `ip`.
    fn allocated(&mut self, ip: IpAddr);

    /// Records that another owner has the claim of `ip`.
    fn conflicted(&mut self, ip: IpAddr);

    /// Whether the caller may own the claim of `ip` already, from an earlier call.
    fn may_be_callers(&self, ip: IpAddr) -> bool;

    /// Whether a newer request of the same interface has replaced this one.
    fn is_superseded(&self) -> bool;

    /// Whether to list the pool's claims after this number of conflicts.
    fn wants_list(&self, conflicts: usize) -> bool;

    /// Records the result of a list.
    fn learn(&mut self, listing: &Listing);

    /// Whether a recent list found the pool full, so that no new list is needed.
    fn knows_full(&self) -> bool;

    /// Who holds the addresses of a full pool, if the source knows it: see [`crate::pool::holders`].
    fn holders(&self) -> Vec<String>;
}
