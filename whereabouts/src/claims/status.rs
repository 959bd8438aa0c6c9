//! Whether an address can be allocated: the API server answers, and at least one range has a free address.

use std::fmt;

use node::client::{ApiError, Freshness, ListQuery, OnUnknown, RetryPolicy, retry};

use super::allocate;
use super::error::AllocateError;
use super::store::Claims;
use crate::crd::ip_pool::{POOLS, PoolCounts};
use crate::crd::reservation::RESERVATIONS;
use crate::pool::candidates::CandidateSource;
use crate::pool::choose::NOTHING_LEFT;
use crate::pool::range_pool::Pool;
use crate::pool::request::PoolRequest;

/// No address can be allocated.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The pools cannot be read.
    #[error(transparent)]
    Allocate(#[from] AllocateError),
    /// No pool has a free address.
    #[error(
        "no range of this network has a free address: {}",
        .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    Full(Vec<FullPool>),
}

/// A pool without a free address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullPool {
    /// Its name.
    pub pool: String,
    /// The number of its addresses that are held.
    pub used: u128,
    /// The number of its addresses.
    pub size: u128,
}

impl fmt::Display for FullPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, used, size } = self;
        if *size == 0 {
            return write!(f, "pool {pool}: {NOTHING_LEFT}");
        }
        write!(f, "pool {pool} holds {used} of {size} (enlarge the range or remove pods)")
    }
}

/// Checks that the API server answers and that one of the pools has a free address. A pool whose use is unknown does not count as full.
pub(crate) async fn status(
    claims: &Claims<'_>,
    requests: &[PoolRequest],
    candidates: &impl CandidateSource,
) -> Result<(), Unavailable> {
    let api = |error| Unavailable::Allocate(AllocateError::Api(error));
    probe(claims).await.map_err(api)?;
    let mut full = Vec::new();
    for request in requests {
        // The pool's naming does not matter here, and a STATUS must not fix it.
        let pool = allocate::pool_of(claims, request).await?;
        let used = match candidates.used(&pool) {
            Some(used) => Some(used),
            None if pool.free.size() == 0 => Some(0),
            None => used_by_status(claims, &pool).await.map_err(api)?,
        };
        let size = pool.free.size();
        let Some(used) = used.filter(|used| *used >= size) else { return Ok(()) };
        full.push(FullPool { pool: pool.name.to_string(), used, size });
    }
    if full.is_empty() { Ok(()) } else { Err(Unavailable::Full(full)) }
}

/// The cheapest request that needs the right to read claims: a list that no object matches, from the API server's cache.
async fn probe(claims: &Claims<'_>) -> Result<(), ApiError> {
    let query =
        ListQuery { fields: Some("metadata.name=none".to_owned()), ..ListQuery::all(Freshness::Cached) };
    let collection = RESERVATIONS.in_namespace(claims.namespace);
    let list = || claims.api.list_metadata(&collection, &query, claims.deadline);
    retry(claims.deadline, RetryPolicy::new(OnUnknown::Repeat), list).await.map(drop)
}

/// The number of held addresses that the leader wrote into the pool's status. `None` if there is no object or no count, or if the leader
/// counts free addresses: pods may hold addresses outside of this network's window.
async fn used_by_status(claims: &Claims<'_>, pool: &Pool) -> Result<Option<u128>, ApiError> {
    let path = POOLS.in_namespace(claims.namespace).object(&pool.name);
    let get = || claims.api.get::<PoolCounts>(&path, claims.deadline);
    match retry(claims.deadline, RetryPolicy::new(OnUnknown::Repeat), get).await {
        Ok(object) if object.status.free.is_some_and(|free| free > 0) => Ok(None),
        Ok(object) => Ok(object.status.used.and_then(|used| u128::try_from(used).ok())),
        Err(ApiError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
