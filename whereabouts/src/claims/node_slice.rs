//! Which slice of a range belongs to this node. The leader, or Whereabouts' node-slice controller, writes it into the NodeSlicePool.

use ipnet::IpNet;
use node::client::{ApiError, OnUnknown, RetryPolicy, retry};
use node::names::DnsSubdomain;

use super::error::AllocateError;
use super::store::Claims;
use crate::crd::node_slice_pool::{NODE_SLICE_POOLS, NodeSlice, NodeSlicePool};
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
    // Free slices name no node.
    let is_own = |slice: &&NodeSlice| !slice.node_name.is_empty() && slice.node_name == request.node;
    let own = object.status.allocations.iter().find(is_own);
    own.and_then(|slice| slice.slice_range.parse().ok())
        .ok_or_else(|| AllocateError::NoSlice { node: request.node.clone(), pool: request.pool.clone() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use node::deadline::Deadline;
    use node::names::DnsLabel;
    use serde_json::json;

    use super::*;
    use crate::leader::tests::server::Server;

    #[tokio::test]
    async fn a_node_has_the_slice_that_the_pool_names() {
        let server = Server::default();
        let (api, namespace) = (server.client().await, DnsLabel::new("kube-system").unwrap());
        let deadline = Deadline::after(Duration::from_secs(5));
        let claims = Claims { api: &api, namespace: &namespace, deadline };
        let request = SliceRequest { pool: "net".to_owned(), node: "n1".to_owned() };
        let missing = slice_of(&claims, &request).await;
        assert!(matches!(missing, Err(AllocateError::NoSlice { .. })), "{missing:?}");
        let allocations = json!([{"nodeName": "n0", "sliceRange": "10.0.0.0/24"}, {"nodeName": "n1", "sliceRange": "10.0.1.0/24"}]);
        let pool = json!({"spec": {"range": "10.0.0.0/16", "sliceSize": "/24"}, "status": {"allocations": allocations}});
        server.put("nodeslicepools", "kube-system", "net", pool);
        assert_eq!(slice_of(&claims, &request).await.unwrap(), "10.0.1.0/24".parse().unwrap());
        let unnamed = SliceRequest { node: String::new(), ..request };
        let free = json!([{"nodeName": "", "sliceRange": "10.0.2.0/24"}]);
        server.put("nodeslicepools", "kube-system", "net", json!({"status": {"allocations": free}}));
        assert!(slice_of(&claims, &unnamed).await.is_err(), "a free slice is nobody's");
    }
}
