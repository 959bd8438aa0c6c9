//! Serving an order: every address of it is claimed, or none. The one way to an address, in a plugin on its own and in the daemon.

use cni::crash_point;
use node::client::ApiError;
use serde::{Deserialize, Serialize};

use crate::adopt;
use crate::claim::{ClaimError, Claimed, Claims, Origin};
use crate::node_slice;
use crate::order::{Order, PoolOrder};
use crate::outlook::{Memory, Outlook as _};
use crate::pool::{Pool, PoolError};
use crate::record::{Record, Stage};

/// An order was not served, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum AllocateError {
    /// Its pools are wrong: an operator must act.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// No claim was got.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// Another request to the API server failed.
    #[error("error at storage engine: {0}")]
    Api(#[from] ApiError),
    /// No slice of the range is this node's.
    #[error(
        "no allocated node slice for node {node:?} in NodeSlicePool {pool:?}: is a whereabouts-daemon leading (or the node-slice controller running), and has the range a slice left?"
    )]
    NoSlice {
        /// The node.
        node: String,
        /// The object looked in.
        pool: String,
    },
}

/// An order that was not served.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub error: AllocateError,
    /// What is to be cleaned up.
    pub left: Left,
}

/// Whether claims of a failed order may still be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Left {
    /// None was made, or all were given back.
    Nothing,
    /// Some may; a DEL of the container finds them.
    Something,
}

/// Whether someone else began to serve the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Nobody did.
    Fresh,
    /// A daemon did, and ended before it answered: what it claimed is looked for first.
    Interrupted,
}

/// Claims what is ordered, in order. When one address cannot be had the new ones are given back.
pub async fn serve(
    claims: &Claims<'_>,
    order: &Order,
    memory: &impl Memory,
    beginning: Beginning,
) -> Result<Vec<Claimed>, Failure> {
    let failed = |error| {
        let left = if beginning == Beginning::Fresh { Left::Nothing } else { Left::Something };
        Failure { error, left }
    };
    let pools = pools(claims, &order.pools, memory).await.map_err(failed)?;
    let resumed = match beginning {
        Beginning::Fresh => Vec::new(),
        Beginning::Interrupted => {
            claims.resumed(&pools, &order.who).await.map_err(|error| failed(error.into()))?
        }
    };
    let mut held: Vec<Claimed> = Vec::new();
    for claim in &order.wanted {
        let Some(pool) = pools.get(claim.range) else { continue };
        let mut outlook = memory.outlook(pool, &order.who);
        if let Some(listing) = resumed.get(claim.range).filter(|listing| listing.own.is_some()) {
            outlook.learn(listing);
        }
        match claims.claim(pool, &order.who, claim.wish, &mut outlook).await {
            Ok(claimed) => held.push(claimed),
            Err(error) => {
                let left = give_back(claims, order, &held, &error).await;
                return Err(Failure { error: error.into(), left });
            }
        }
        crash_point!("add-after-claim");
    }
    Ok(held)
}

/// The pool of each range as its object says, its earlier entries adopted.
pub async fn pools(
    claims: &Claims<'_>,
    orders: &[PoolOrder],
    memory: &impl Memory,
) -> Result<Vec<Pool>, AllocateError> {
    let mut pools = Vec::with_capacity(orders.len());
    for order in orders {
        let slice = match &order.slice {
            Some(slice) => Some((node_slice::slice_of(claims, slice).await?, slice.node.as_str())),
            None => None,
        };
        let pool = Pool::of(order, slice)?;
        let separation = memory.adopted(&pool, adopt::adopt(claims, &pool)).await?;
        pools.push(pool.read(separation, node::clock::now()));
    }
    Ok(pools)
}

/// What a failed order had got. A claim whose outcome is unknown, or that was another sandbox's of the pod, is left to DEL.
async fn give_back(claims: &Claims<'_>, order: &Order, held: &[Claimed], error: &ClaimError) -> Left {
    let new = held.iter().filter(|claimed| claimed.origin == Origin::New);
    let record = Record {
        container_id: order.who.container_id.clone(),
        if_name: order.who.if_name.clone(),
        podref: order.who.podref.clone(),
        network: String::new(),
        kubeconfig: None,
        namespace: None,
        stage: Stage::Held,
        claims: new.map(|claimed| claimed.claim.clone()).collect(),
    };
    let kept_one = held.iter().any(|claimed| claimed.origin == Origin::TakenOver);
    let certain = matches!(error, ClaimError::NoCandidate { .. } | ClaimError::Naming(_));
    let given_back = claims.release(&record).await.is_ok();
    if given_back && certain && !kept_one { Left::Nothing } else { Left::Something }
}
