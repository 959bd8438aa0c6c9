//! Which slice of a range belongs to this node. The leader, or Whereabouts' node-slice controller, writes it into the NodeSlicePool.

use ipnet::IpNet;
use node::client::{ApiError, OnUnknown, RetryPolicy, retry};
use node::names::DnsSubdomain;

use super::error::AllocateError;
use super::store::Claims;
use crate::crd::node_slice_pool::{NODE_SLICE_POOLS, NodeSlicePool};
use crate::pool::naming::NamingError;
use crate::pool::range_pool::PoolError;
use crate::pool::request::SliceRequest;

/// The node's slice in the network's NodeSlicePool.
///
/// # Errors
/// [`AllocateError::NoSlice`] if the object is missing, or has no readable slice for the node.
pub(crate) async fn slice_of(claims: &Claims<'_>, request: &SliceRequest) -> Result<IpNet, AllocateError> {
    let name = DnsSubdomain::new(request.pool.as_str())
        .map_err(|source| PoolError::Naming(NamingError { object: "pool", source }))?;
    let path = NODE_SLICE_POOLS.in_namespace(claims.namespace).object(&name);
    let policy = RetryPolicy::new(OnUnknown::Repeat);
    let object: NodeSlicePool =
        match retry(claims.deadline, policy, || claims.api.get(&path, claims.deadline)).await {
            Ok(object) => object,
            Err(ApiError::NotFound { .. }) => NodeSlicePool::default(),
            Err(error) => return Err(error.into()),
        };
    let own = object.status.allocations.iter().find(|slice| slice.node_name == request.node);
    own.and_then(|slice| slice.slice_range.parse().ok())
        .ok_or_else(|| AllocateError::NoSlice { node: request.node.clone(), pool: request.pool.clone() })
}
