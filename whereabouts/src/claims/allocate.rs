//! Serving an allocation request: all of its addresses are claimed, or none. The plugin and the daemon both allocate this way.

use std::collections::BTreeSet;
use std::net::IpAddr;

use cni::crash_point;

use super::adopt;
use super::error::{AllocateError, AllocationFailure, ClaimError, Cleanup};
use super::node_slice;
use super::store::Claims;
use crate::node_state::record::{Record, Stage};
use crate::pool::candidates::{CandidateCursor as _, CandidateSource};
use crate::pool::held_claim::{Claimed, Origin};
use crate::pool::range_pool::Pool;
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
    let failed = |error| {
        let cleanup = if prior == PriorAttempt::Absent { Cleanup::NotNeeded } else { Cleanup::Needed };
        AllocationFailure { error, cleanup }
    };
    let pools = resolve_pools(claims, &request.pools, candidates).await.map_err(failed)?;
    let resumed = match prior {
        PriorAttempt::Absent => Vec::new(),
        PriorAttempt::Interrupted => {
            claims.resumed(&pools, &request.claimant).await.map_err(|error| failed(error.into()))?
        }
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

/// The pool of each request: with this node's slice, with the claims of Whereabouts' allocations made, and with its naming scheme.
pub(crate) async fn resolve_pools(
    claims: &Claims<'_>,
    requests: &[PoolRequest],
    candidates: &impl CandidateSource,
) -> Result<Vec<Pool>, AllocateError> {
    let mut pools = Vec::with_capacity(requests.len());
    for request in requests {
        let pool = pool_of(claims, request).await?;
        let separate_use = candidates.adopted(&pool, adopt::adopt(claims, &pool)).await?;
        pools.push(pool.with_separate_use(separate_use, node::clock::now()));
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
    let new = held.iter().filter(|claimed| claimed.origin == Origin::New);
    let record = Record {
        container_id: request.claimant.container_id.clone(),
        if_name: request.claimant.if_name.clone(),
        podref: request.claimant.podref.clone(),
        network: String::new(),
        kubeconfig: None,
        namespace: None,
        pod_uid: None,
        stage: Stage::Held,
        claims: new.map(|claimed| claimed.claim.clone()).collect(),
    };
    let has_older_claim = held.iter().any(|claimed| claimed.origin == Origin::TakenOver);
    // After any other error the create of the failed address may have succeeded.
    let nothing_made = matches!(error, ClaimError::NoCandidate { .. } | ClaimError::Naming(_));
    let released = claims.release(&record).await.is_ok();
    if released && nothing_made && !has_older_claim { Cleanup::NotNeeded } else { Cleanup::Needed }
}

#[cfg(test)]
mod tests;
