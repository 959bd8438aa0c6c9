//! Serving an order: every address of it is claimed, or none. The one way to an address, in a plugin on its own and in the daemon.

use crate::claims::error::AllocateError;
use crate::claims::error::AllocationFailure;
use crate::claims::error::Cleanup;
use cni::crash_point;

use crate::claims::adopt;
use crate::claims::error::ClaimError;
use crate::claims::node_slice;
use crate::claims::store::Claims;
use crate::node_state::record::{Record, Stage};
use crate::pool::candidates::{CandidateCursor as _, CandidateSource};
use crate::pool::held_claim::{Claimed, Origin};
use crate::pool::range_pool::Pool;
use crate::pool::request::{AllocationRequest, PoolRequest};

/// Whether someone else began to serve the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriorAttempt {
    /// Nobody did.
    Absent,
    /// A daemon did, and ended before it answered: what it claimed is looked for first.
    Interrupted,
}

/// Claims what is ordered, in order. When one address cannot be had the new ones are given back.
pub async fn serve(
    claims: &Claims<'_>,
    order: &AllocationRequest,
    candidates: &impl CandidateSource,
    prior: PriorAttempt,
) -> Result<Vec<Claimed>, AllocationFailure> {
    let failed = |error| {
        let cleanup = if prior == PriorAttempt::Absent { Cleanup::NotNeeded } else { Cleanup::Needed };
        AllocationFailure { error, cleanup }
    };
    let pools = pools(claims, &order.pools, candidates).await.map_err(failed)?;
    let resumed = match prior {
        PriorAttempt::Absent => Vec::new(),
        PriorAttempt::Interrupted => {
            claims.resumed(&pools, &order.claimant).await.map_err(|error| failed(error.into()))?
        }
    };
    let mut held: Vec<Claimed> = Vec::new();
    for claim in &order.wanted {
        let Some(pool) = pools.get(claim.range) else { continue };
        let mut cursor = candidates.cursor(pool, &order.claimant);
        if let Some(listing) = resumed.get(claim.range).filter(|listing| listing.own.is_some()) {
            cursor.learn(listing);
        }
        match claims.acquire(pool, &order.claimant, claim.requested, &mut cursor).await {
            Ok(claimed) => held.push(claimed),
            Err(error) => {
                let cleanup = give_back(claims, order, &held, &error).await;
                return Err(AllocationFailure { error: error.into(), cleanup });
            }
        }
        crash_point!("add-after-claim");
    }
    Ok(held)
}

/// The pool of each range as its object says, its earlier entries adopted.
pub async fn pools(
    claims: &Claims<'_>,
    orders: &[PoolRequest],
    candidates: &impl CandidateSource,
) -> Result<Vec<Pool>, AllocateError> {
    let mut pools = Vec::with_capacity(orders.len());
    for order in orders {
        let slice = match &order.slice {
            Some(slice) => Some((node_slice::slice_of(claims, slice).await?, slice.node.as_str())),
            None => None,
        };
        let pool = Pool::of(order, slice)?;
        let separation = candidates.adopted(&pool, adopt::adopt(claims, &pool)).await?;
        pools.push(pool.read(separation, node::clock::now()));
    }
    Ok(pools)
}

/// What a failed order had got. A claim whose outcome is unknown, or that was another sandbox's of the pod, is left to DEL.
async fn give_back(
    claims: &Claims<'_>,
    order: &AllocationRequest,
    held: &[Claimed],
    error: &ClaimError,
) -> Cleanup {
    let new = held.iter().filter(|claimed| claimed.origin == Origin::New);
    let record = Record {
        container_id: order.claimant.container_id.clone(),
        if_name: order.claimant.if_name.clone(),
        podref: order.claimant.podref.clone(),
        network: String::new(),
        kubeconfig: None,
        namespace: None,
        stage: Stage::Held,
        claims: new.map(|claimed| claimed.claim.clone()).collect(),
    };
    let kept_one = held.iter().any(|claimed| claimed.origin == Origin::TakenOver);
    let certain = matches!(error, ClaimError::NoCandidate { .. } | ClaimError::Naming(_));
    let given_back = claims.release(&record).await.is_ok();
    if given_back && certain && !kept_one { Cleanup::NotNeeded } else { Cleanup::Needed }
}
