//! Which slice of a range is this node's, by the NodeSlicePool that the controller keeps.

use std::path::Path;

use ipnet::IpNet;
use node::client::{ApiError, OnUnknown, RetryPolicy, retry};
use node::names::DnsSubdomain;

use crate::allocate::AllocateError;
use crate::claim::Claims;
use crate::conf::Conf;
use crate::conf_files;
use crate::naming::NamingError;
use crate::objects::{NODE_SLICE_POOLS, NodeSlicePool};
use crate::order::SliceOrder;
use crate::pool::PoolError;

/// The name of this node: the variable NODENAME, the file beside the flat file, or the host's name.
pub fn node_name(conf: &Conf) -> Option<String> {
    let of_env = std::env::var("NODENAME").ok();
    let file = conf.configuration_path.as_deref().map(conf_files::node_name_file);
    let of_file = |path: &Path| std::fs::read_to_string(path).ok();
    let candidates = [of_env, file.as_deref().and_then(of_file), of_file(Path::new("/etc/hostname"))];
    let mut names = candidates.into_iter().flatten().map(|name| name.trim().to_owned());
    names.find(|name| !name.is_empty())
}

/// The slice that the network's NodeSlicePool gives to the node.
pub async fn slice_of(claims: &Claims<'_>, order: &SliceOrder) -> Result<IpNet, AllocateError> {
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
