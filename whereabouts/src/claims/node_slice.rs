//! Which slice of a range is this node's, by the NodeSlicePool that the controller keeps.

use ipnet::IpNet;
use node::client::{ApiError, OnUnknown, RetryPolicy, retry};
use node::names::DnsSubdomain;

use crate::claims::error::AllocateError;
use crate::claims::store::Claims;
use crate::crd::node_slice_pool::{NODE_SLICE_POOLS, NodeSlicePool};
use crate::pool::naming::NamingError;
use crate::pool::range_pool::PoolError;
use crate::pool::request::SliceRequest;

/// The slice that the network's NodeSlicePool gives to the node.
pub async fn slice_of(claims: &Claims<'_>, order: &SliceRequest) -> Result<IpNet, AllocateError> {
    let name = DnsSubdomain::new(order.pool.as_str())
        .map_err(|source| PoolError::Naming(NamingError { object: "pool", source }))?;
    let path = NODE_SLICE_POOLS.in_namespace(claims.namespace).object(&name);
    let policy = RetryPolicy::new(OnUnknown::Repeat);
    let object: NodeSlicePool =
        match retry(claims.deadline, policy, || claims.api.get(&path, claims.deadline)).await {
            Ok(object) => object,
            Err(ApiError::NotFound { .. }) => NodeSlicePool::default(),
            Err(error) => return Err(error.into()),
        };
    let own = object.status.allocations.iter().find(|slice| slice.node_name == order.node);
    own.and_then(|slice| slice.slice_range.parse().ok())
        .ok_or_else(|| AllocateError::NoSlice { node: order.node.clone(), pool: order.pool.clone() })
}
