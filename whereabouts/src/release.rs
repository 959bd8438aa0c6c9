//! Giving back, checking and asking how full: what plugin and daemon do alike besides claiming.

use node::client::{ApiError, Freshness, ListQuery, OnUnknown, RetryPolicy, retry};

use crate::adopt;
use crate::allocate::{self, AllocateError};
use crate::claim::Claims;
use crate::objects::{self, POOLS, RESERVATIONS};
use crate::order::PoolOrder;
use crate::outlook::Memory;
use crate::pool::Pool;
use crate::record::Record;

/// Deletes every claim of a record, and the entries that Whereabouts wrote for its container in `upstream`.
pub async fn release(
    claims: &Claims<'_>,
    record: &Record,
    upstream: &[PoolOrder],
    memory: &impl Memory,
) -> Result<(), ApiError> {
    // A configuration whose pools cannot be named has none.
    for pool in pools_if_any(claims, upstream, memory).await? {
        adopt::remove_entries(claims, &pool, &record.container_id, &record.if_name).await?;
    }
    claims.release(record).await
}

async fn pools_if_any(
    claims: &Claims<'_>,
    orders: &[PoolOrder],
    memory: &impl Memory,
) -> Result<Vec<Pool>, ApiError> {
    match allocate::pools(claims, orders, memory).await {
        Ok(pools) => Ok(pools),
        Err(AllocateError::Api(error)) => Err(error),
        Err(AllocateError::Pool(_) | AllocateError::Claim(_) | AllocateError::NoSlice { .. }) => {
            Ok(Vec::new())
        }
    }
}

/// No address can be had.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The pools cannot be looked at.
    #[error(transparent)]
    Allocate(#[from] AllocateError),
    /// Nothing is left.
    #[error(
        "every range of this network is full: {}; enlarge a range or remove pods",
        .0.iter().map(|full| format!("pool {} holds {} of {}", full.pool, full.used, full.size)).collect::<Vec<_>>().join(", ")
    )]
    Full(Vec<Full>),
}

/// A pool without a free address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Full {
    /// Its name.
    pub pool: String,
    /// How many of its addresses are held.
    pub used: u128,
    /// How many it has.
    pub size: u128,
}

/// Whether the API server answers, and a range has an address left. What is not known to be full is not full.
pub async fn status(
    claims: &Claims<'_>,
    orders: &[PoolOrder],
    memory: &impl Memory,
) -> Result<(), Unavailable> {
    let api = |error| Unavailable::Allocate(AllocateError::Api(error));
    probe(claims).await.map_err(api)?;
    let pools = allocate::pools(claims, orders, memory).await?;
    let mut full = Vec::new();
    for pool in &pools {
        let used = match memory.used(pool) {
            Some(used) => Some(used),
            None => counted(claims, pool).await.map_err(api)?,
        };
        let size = pool.free.size();
        let Some(used) = used.filter(|used| *used >= size) else { return Ok(()) };
        full.push(Full { pool: pool.name.to_string(), used, size });
    }
    if full.is_empty() { Ok(()) } else { Err(Unavailable::Full(full)) }
}

/// The smallest question that needs the right to see claims.
async fn probe(claims: &Claims<'_>) -> Result<(), ApiError> {
    let query =
        ListQuery { fields: Some("metadata.name=none".to_owned()), ..ListQuery::all(Freshness::Cached) };
    let collection = RESERVATIONS.in_namespace(claims.namespace);
    let list = || claims.api.list_metadata(&collection, &query, claims.deadline);
    retry(claims.deadline, RetryPolicy::new(OnUnknown::Repeat), list).await.map(drop)
}

/// What the leader counted last.
async fn counted(claims: &Claims<'_>, pool: &Pool) -> Result<Option<u128>, ApiError> {
    let path = POOLS.in_namespace(claims.namespace).object(&pool.name);
    let get = || claims.api.get::<objects::PoolCounts>(&path, claims.deadline);
    match retry(claims.deadline, RetryPolicy::new(OnUnknown::Repeat), get).await {
        Ok(object) => Ok(object.status.used.and_then(|used| u128::try_from(used).ok())),
        Err(ApiError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
