//! The alternate name of an address. In a pool that networks use both with `enable_overlapping_ranges` true and false, a claim can have
//! either of two names, so a create of one name is not enough to own the address: after the create, the other name is checked.
//! [`crate::pool::claim_names`] has the argument why that is enough.

use std::net::IpAddr;

use node::client::ApiError;

use super::error::ClaimError;
use super::store::Claims;
use crate::crd::reservation::Reservation;
use crate::pool::claim_names::{NamingScheme, may_belong_to};
use crate::pool::held_claim::{Claimed, HeldClaim, Origin};
use crate::pool::range_pool::Pool;
use crate::pool::request::Claimant;

/// The holder of the alternate name.
#[derive(Clone, Debug, PartialEq)]
enum AlternateHolder {
    /// No claim of this pool: the address is the caller's.
    Nobody,
    /// An earlier claim of the same interface of the same pod.
    Caller(Box<Reservation>),
    /// A claim of the pod with this podref.
    OtherPod(String),
}

/// The result of the check of the alternate name of an address that the caller has just claimed.
pub(super) enum AlternateCheck {
    /// The address is the caller's.
    Held(Claimed),
    /// The pod with this podref holds the address by the alternate name; the caller's own claim was deleted.
    HeldByOther(String),
}

fn holder(pool: &Pool, claimant: &Claimant, found: Option<Reservation>) -> AlternateHolder {
    match found {
        Some(claim) if may_belong_to(pool.name.as_str(), claim.pool()) => {
            if claim.belongs_to(&claimant.podref, &claimant.if_name) {
                AlternateHolder::Caller(Box::new(claim))
            } else {
                AlternateHolder::OtherPod(claim.spec.podref)
            }
        }
        // A claim of another pool does not matter.
        Some(_) | None => AlternateHolder::Nobody,
    }
}

impl Claims<'_> {
    /// The podref of another pod that holds an address by its alternate name, if one does.
    pub(super) async fn alternate_holder(
        &self,
        pool: &Pool,
        claimant: &Claimant,
        ip: IpAddr,
    ) -> Result<Option<String>, ClaimError> {
        let Some(alternate) = pool.names().alternate(ip)? else { return Ok(None) };
        match holder(pool, claimant, self.get(&alternate).await?) {
            AlternateHolder::OtherPod(podref) => Ok(Some(podref)),
            AlternateHolder::Nobody | AlternateHolder::Caller(_) => Ok(None),
        }
    }

    /// Checks the alternate name of an address that the caller has just claimed. If the caller holds both names, the shared one stays,
    /// because it protects the address in other pools too.
    pub(super) async fn check_alternate(
        &self,
        pool: &Pool,
        claimant: &Claimant,
        ip: IpAddr,
        claimed: Claimed,
    ) -> Result<AlternateCheck, ClaimError> {
        let names = pool.names();
        let Some(alternate) = names.alternate(ip)? else { return Ok(AlternateCheck::Held(claimed)) };
        // Each round reads the alternate claim again: another call may change or delete it meanwhile.
        loop {
            let own = match holder(pool, claimant, self.get(&alternate).await?) {
                AlternateHolder::Nobody => return Ok(AlternateCheck::Held(claimed)),
                AlternateHolder::OtherPod(podref) => {
                    self.give_up(claimant, &claimed.claim).await?;
                    return Ok(AlternateCheck::HeldByOther(podref));
                }
                AlternateHolder::Caller(own) => *own,
            };
            let kept = match names.scheme {
                NamingScheme::PoolThenShared => {
                    self.keep_shared(pool, claimant, ip, own, &claimed.claim).await?
                }
                NamingScheme::Shared | NamingScheme::SharedThenPool => {
                    self.drop_alternate(pool, claimant, ip, own, &claimed.claim).await?
                }
            };
            if let Some(claim) = kept {
                // The interface held the address before this call, so a failed call must not release it.
                return Ok(AlternateCheck::Held(Claimed { claim, origin: Origin::TakenOver }));
            }
        }
    }

    /// Takes over the caller's older claim with the shared name, and deletes the one named after the pool. `None` if the older
    /// claim changed meanwhile.
    async fn keep_shared(
        &self,
        pool: &Pool,
        claimant: &Claimant,
        ip: IpAddr,
        shared: Reservation,
        by_pool: &HeldClaim,
    ) -> Result<Option<HeldClaim>, ClaimError> {
        let Some(name) = pool.names().alternate(ip)? else { return Ok(None) };
        let Some(kept) = self.take_over(pool, claimant, ip, &name, shared).await? else { return Ok(None) };
        self.give_up(claimant, by_pool).await?;
        Ok(Some(kept))
    }

    /// Deletes the caller's older claim named after the pool. `None` if it changed meanwhile.
    async fn drop_alternate(
        &self,
        pool: &Pool,
        claimant: &Claimant,
        ip: IpAddr,
        by_pool: Reservation,
        shared: &HeldClaim,
    ) -> Result<Option<HeldClaim>, ClaimError> {
        let Some(name) = pool.names().alternate(ip)? else { return Ok(None) };
        self.check_successor(claimant, &by_pool).await?;
        let version = by_pool.metadata.resource_version.unwrap_or_default();
        match self.delete(&name, &version).await {
            Ok(()) => Ok(Some(shared.clone())),
            Err(ApiError::NotFound { .. } | ApiError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
