//! The interface to a source of candidates: what a caller knows about a pool before it creates a claim.
//!
//! A plugin without a daemon has hint files and the conflicts of its own call; a daemon has its pool cache. Both may be wrong: only the
//! create of a claim decides who gets an address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use node::client::ApiError;

use crate::crd::ip_pool::ClaimNaming;
use crate::crd::reservation::Reservation;
use crate::pool::choose::NoCandidate;
use crate::pool::held_claim::HeldClaim;
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
        if claimant.may_take(&claim) && self.own.is_none() {
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

    /// How the pool's claims are named: what this node read less than [`NAMING_LIFETIME`](crate::pool::claim_names::NAMING_LIFETIME) ago,
    /// else the result of `read`, which is remembered.
    fn naming(
        &self,
        pool: &Pool,
        read: impl Future<Output = Result<ClaimNaming, ApiError>> + Send,
    ) -> impl Future<Output = Result<ClaimNaming, ApiError>> + Send;

    /// Forgets how the pool's claims are named.
    fn forget(&self, pool: &Pool);

    /// Whether this node still holds a claim of the pool that counts under the pool's naming: rule 3 of [`crate::pool::claim_names`].
    fn has_pin(&self, pool: &Pool) -> bool;

    /// Records a claim of the pool that counts: a pin, unless the node has another one and keeps that.
    fn set_pin(&self, pool: &Pool, claimant: &Claimant, claim: &HeldClaim);

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

    /// Whether this call must claim nothing more: a newer request of the same interface has replaced it, or a DEL of its attachment has begun.
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
