//! Whether addresses can be had: the API server answers, and a range has one left.

use crate::claims::allocate;
use crate::claims::error::AllocateError;
use crate::claims::store::Claims;
use crate::crd::ip_pool;
use crate::crd::ip_pool::POOLS;
use crate::crd::reservation::RESERVATIONS;
use crate::pool::candidates::CandidateSource;
use crate::pool::range_pool::Pool;
use crate::pool::request::PoolRequest;
use node::client::ApiError;
use node::client::Freshness;
use node::client::ListQuery;
use node::client::OnUnknown;
use node::client::RetryPolicy;
use node::client::retry;

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
    orders: &[PoolRequest],
    candidates: &impl CandidateSource,
) -> Result<(), Unavailable> {
    let api = |error| Unavailable::Allocate(AllocateError::Api(error));
    probe(claims).await.map_err(api)?;
    let pools = allocate::pools(claims, orders, candidates).await?;
    let mut full = Vec::new();
    for pool in &pools {
        let used = match candidates.used(pool) {
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
    let get = || claims.api.get::<ip_pool::PoolCounts>(&path, claims.deadline);
    match retry(claims.deadline, RetryPolicy::new(OnUnknown::Repeat), get).await {
        Ok(object) => Ok(object.status.used.and_then(|used| u128::try_from(used).ok())),
        Err(ApiError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
