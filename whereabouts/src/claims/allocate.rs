//! Serving an allocation request: all of its addresses are claimed, or none. The plugin and the daemon both allocate this way.

use std::collections::BTreeSet;
use std::net::IpAddr;

use cni::crash_point;
use node::client::ApiError;

use super::error::{AllocateError, AllocationFailure, ClaimError, Cleanup};
use super::naming;
use super::node_slice;
use super::store::Claims;
use crate::node_state::installation::Writer;
use crate::node_state::record::Record;
use crate::pool::candidates::{CandidateCursor as _, CandidateSource};
use crate::pool::held_claim::{Claimed, Origin};
use crate::pool::range_pool::{NamedPool, Pool};
use crate::pool::request::{AllocationRequest, PoolRequest};

/// Whether a daemon began to serve the request before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriorAttempt {
    /// No.
    Absent,
    /// Yes, and it ended before it responded. The claims that it made are found by their container label and reused.
    Interrupted,
}

/// Claims the requested addresses one after the other. If one cannot be allocated, the new ones are released.
pub async fn serve(
    claims: &Claims<'_>,
    request: &AllocationRequest,
    candidates: &impl CandidateSource,
    prior: PriorAttempt,
) -> Result<Vec<Claimed>, AllocationFailure> {
    let mut prior = prior;
    // A second time only if a pool's object was deleted and made again with another naming during the call.
    loop {
        let resolved = resolve_pools(claims, &request.pools, candidates).await;
        let pools = resolved.map_err(|error| {
            let cleanup = if prior == PriorAttempt::Absent { Cleanup::NotNeeded } else { Cleanup::Needed };
            AllocationFailure { error, cleanup }
        })?;
        let held = claim_all(claims, request, candidates, prior, &pools).await?;
        match do_count(claims, request, candidates, &pools, &held).await {
            Ok(DoCount::Yes) => return Ok(held),
            Ok(DoCount::No) => {
                release_new(claims, request, &held).await.map_err(left_to_del)?;
                // Claims that the interface held before are still there: they are found by their label, as after an interrupted attempt.
                prior = PriorAttempt::Interrupted;
            }
            Err(error) => {
                // What this does not release, DEL does.
                let _ = release_new(claims, request, &held).await;
                return Err(left_to_del(error));
            }
        }
    }
}

/// The failure of a call that may leave claims.
fn left_to_del(error: ApiError) -> AllocationFailure {
    AllocationFailure { error: error.into(), cleanup: Cleanup::Needed }
}

/// Claims the requested addresses by the namings in `pools`.
async fn claim_all(
    claims: &Claims<'_>,
    request: &AllocationRequest,
    candidates: &impl CandidateSource,
    prior: PriorAttempt,
    pools: &[Pool],
) -> Result<Vec<Claimed>, AllocationFailure> {
    let resumed = match prior {
        PriorAttempt::Absent => Vec::new(),
        PriorAttempt::Interrupted => claims.resumed(pools, &request.claimant).await.map_err(left_to_del)?,
    };
    let mut held: Vec<Claimed> = Vec::new();
    for claim in &request.wanted {
        let Some(pool) = pools.get(claim.range) else { continue };
        let mut cursor = candidates.cursor(pool, &request.claimant);
        if let Some(listing) = resumed.get(claim.range).filter(|listing| listing.own.is_some()) {
            cursor.learn(listing);
        }
        // Two ranges of a network may overlap: an address that the first one gave is not a candidate of the second.
        let own: BTreeSet<IpAddr> = held.iter().map(|claimed| claimed.claim.address.addr()).collect();
        match claims.acquire(pool, &request.claimant, claim.requested, &own, &mut cursor).await {
            Ok(claimed) => held.push(claimed),
            Err(error) => {
                let cleanup = release_held(claims, request, &held, &error).await;
                return Err(AllocationFailure { error: error.into(), cleanup });
            }
        }
        // A crash here leaves claims that only the record written before the first claim leads to.
        crash_point!("add-after-claim");
    }
    Ok(held)
}

/// Whether the claims of a call count, see [`crate::pool::claim_names`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DoCount {
    Yes,
    /// The naming of a pool is another one than the call knew.
    No,
}

/// Checks that each pool has the naming by which its claims were made. It must be read after the claims were created, unless the node has a
/// pin in the pool.
async fn do_count(
    claims: &Claims<'_>,
    request: &AllocationRequest,
    candidates: &impl CandidateSource,
    pools: &[Pool],
    held: &[Claimed],
) -> Result<DoCount, ApiError> {
    for pool in pools.iter().filter(|pool| !candidates.has_pin(pool)) {
        if naming::naming_of(claims, NamedPool::of(pool)).await? != pool.naming() {
            candidates.forget(pool);
            return Ok(DoCount::No);
        }
    }
    for (wanted, claimed) in request.wanted.iter().zip(held) {
        if let Some(pool) = pools.get(wanted.range) {
            candidates.set_pin(pool, &request.claimant, &claimed.claim);
        }
    }
    Ok(DoCount::Yes)
}

/// The pool of each request: with this node's slice, with the claims of Whereabouts' allocations made, and with its naming.
pub(crate) async fn resolve_pools(
    claims: &Claims<'_>,
    requests: &[PoolRequest],
    candidates: &impl CandidateSource,
) -> Result<Vec<Pool>, AllocateError> {
    let mut pools = Vec::with_capacity(requests.len());
    for request in requests {
        let pool = pool_of(claims, request).await?;
        let naming = candidates.naming(&pool, naming::naming_of(claims, NamedPool::of(&pool))).await?;
        pools.push(pool.with_naming(naming));
    }
    Ok(pools)
}

/// The pool of a request, with this node's slice, before its object is read.
pub(super) async fn pool_of(claims: &Claims<'_>, request: &PoolRequest) -> Result<Pool, AllocateError> {
    let slice = match &request.slice {
        Some(slice) => Some((node_slice::slice_of(claims, slice).await?, slice.node.as_str())),
        None => None,
    };
    Ok(Pool::of(request, slice)?)
}

/// Releases the new claims of a failed request. DEL releases the others: a claim whose create has an unknown outcome, and a claim that the
/// interface held before.
async fn release_held(
    claims: &Claims<'_>,
    request: &AllocationRequest,
    held: &[Claimed],
    error: &ClaimError,
) -> Cleanup {
    let has_older_claim = held.iter().any(|claimed| claimed.origin == Origin::TakenOver);
    // After any other error the create of the failed address may have succeeded.
    let nothing_made = matches!(error, ClaimError::NoCandidate { .. } | ClaimError::Naming(_));
    let released = release_new(claims, request, held).await.is_ok();
    if released && nothing_made && !has_older_claim { Cleanup::NotNeeded } else { Cleanup::Needed }
}

/// Releases the claims that this call created. A claim that the interface held before stays: it may be the node's pin.
async fn release_new(
    claims: &Claims<'_>,
    request: &AllocationRequest,
    held: &[Claimed],
) -> Result<(), ApiError> {
    let new = held.iter().filter(|claimed| claimed.origin == Origin::New);
    let record = Record::to_give_back(&request.claimant, new.map(|claimed| claimed.claim.clone()).collect());
    claims.release(&record, Writer::ThisInstallation).await
}

#[cfg(test)]
mod tests;
