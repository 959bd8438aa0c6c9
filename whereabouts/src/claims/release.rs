//! How the addresses of an attachment are released, and whether they are still held.

use cni::crash_point;
use node::client::ApiError;
use node::names::DnsSubdomain;

use super::allocate;
use super::error::AllocateError;
use super::later_sandbox::{Kept, Place};
use super::store::Claims;
use super::upstream;
use crate::addr::range::RangeSpec;
use crate::node_state::installation::Writer;
use crate::node_state::record::{Record, Stage};
use crate::pool::candidates::Listing;
use crate::pool::held_claim::HeldClaim;
use crate::pool::range_pool::Pool;
use crate::pool::request::{Claimant, PoolRequest};

/// Deletes every claim of a record, and the allocations that Whereabouts wrote for its container in the pools `upstream`.
pub async fn release(
    claims: &Claims<'_>,
    record: &Record,
    writer: Writer,
    upstream: &[PoolRequest],
) -> Result<(), ApiError> {
    // The claims first: while a claim is there, the leader writes its entry again.
    claims.release(record, writer).await?;
    for pool in nameable_pools(claims, upstream).await? {
        upstream::remove_allocations(claims, &pool, record).await?;
    }
    Ok(())
}

/// The pools of a configuration whose names can be formed: no address was allocated from the others. The names depend on the ranges only, so
/// a mistake in the excludes, or in a start or end, does not keep allocations from being released.
async fn nameable_pools(claims: &Claims<'_>, requests: &[PoolRequest]) -> Result<Vec<Pool>, ApiError> {
    let mut pools = Vec::new();
    for request in requests {
        let range = RangeSpec { start: None, end: None, excludes: Vec::new(), ..request.range.clone() };
        let whole = PoolRequest { range, ..request.clone() };
        match allocate::pool_of(claims, &whole).await {
            Ok(pool) => pools.push(pool),
            Err(AllocateError::Api(error)) => return Err(error),
            Err(AllocateError::Pool(_) | AllocateError::Claim(_) | AllocateError::NoSlice { .. }) => {}
        }
    }
    Ok(pools)
}

impl Claims<'_> {
    /// Deletes every claim of a record. A claim that another container holds by now stays, and one whose address Whereabouts gave to a later
    /// sandbox of the pod.
    pub async fn release(&self, record: &Record, writer: Writer) -> Result<(), ApiError> {
        for claim in &record.claims {
            let names: Vec<_> = claim.objects().map(|(name, _)| name.clone()).collect();
            if self.keep_for_later_sandbox(writer, Place::of_held(claim), &names, record).await? == Kept::Yes
            {
                continue;
            }
            self.delete_own(claim, |present| record.owns(present)).await?;
            // A crash here leaves the record or tombstone, so the release is repeated.
            crash_point!("release-after-delete");
            // After the claim: while the entry is there, nobody else gets the address.
            if let (Some(key), Ok(pool)) = (claim.entry, DnsSubdomain::new(claim.pool.as_str())) {
                self.remove_entry(&pool, key, &record.container_id).await?;
            }
        }
        match record.stage {
            Stage::Held => Ok(()),
            Stage::Claiming => self.release_by_label(record, writer).await,
        }
    }

    /// Deletes the container's claims that its label finds: the record was written before the claims and does not list them all.
    ///
    /// After a crash between the two the claim is gone, and nothing leads DEL to the entry. The leader removes the entry once the pod is gone, or
    /// at once in a pool whose entries it writes.
    async fn release_by_label(&self, record: &Record, writer: Writer) -> Result<(), ApiError> {
        for present in self.of_container(&record.container_id).await? {
            if !record.owns(&present) {
                continue;
            }
            let name = present.metadata.name.clone().and_then(|name| DnsSubdomain::new(name).ok());
            let version = present.metadata.resource_version.clone().unwrap_or_default();
            let Some(name) = name else { continue };
            let names = std::slice::from_ref(&name);
            if self.keep_for_later_sandbox(writer, Place::of(&present), names, record).await? == Kept::Yes {
                continue;
            }
            match self.delete(&name, &version).await {
                // Conflict: another container took the claim over since the list.
                Ok(()) | Err(ApiError::NotFound { .. }) => self.remove_entry_of(&present).await?,
                Err(ApiError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What an interrupted request of the same interface and container claimed in each pool, in the order of `pools`.
    pub(crate) async fn resumed(
        &self,
        pools: &[Pool],
        claimant: &Claimant,
    ) -> Result<Vec<Listing>, ApiError> {
        let present = self.of_container(&claimant.container_id).await?;
        // The label is cut to 63 characters: compare the whole container id.
        let own = present.into_iter().filter(|claim| claim.container() == claimant.container_id);
        let mut listings = vec![Listing::default(); pools.len()];
        for claim in own {
            for (listing, pool) in listings.iter_mut().zip(pools) {
                if claim.pool() == Some(pool.name.as_str()) {
                    listing.add(pool, claimant, claim.clone());
                }
            }
        }
        Ok(listings)
    }

    /// The name of the first claim of a record that the container does not hold any more; `None` if it holds them all.
    pub(crate) async fn first_missing(&self, record: &Record) -> Result<Option<DnsSubdomain>, ApiError> {
        for (name, _) in record.claims.iter().flat_map(HeldClaim::objects) {
            if !self.get(name).await?.is_some_and(|present| record.owns(&present)) {
                return Ok(Some(name.clone()));
            }
        }
        Ok(None)
    }
}
