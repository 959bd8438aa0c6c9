//! Which slice of a range is this node's, by the NodeSlicePool that the controller keeps.

use std::path::Path;

use ipnet::IpNet;
use node::client::{ApiError, OnUnknown, ResourceKind, RetryPolicy, retry};
use node::names::DnsSubdomain;
use serde::Deserialize;

use crate::claim::Claims;
use crate::conf::Conf;
use crate::conf_files;
use crate::naming::NamingError;
use crate::pool::PoolError;
use crate::session::SessionError;

const NODE_SLICE_POOLS: ResourceKind =
    ResourceKind::new("whereabouts.cni.cncf.io", "v1alpha1", "nodeslicepools");

#[derive(Debug, Default, Deserialize)]
struct NodeSlicePool {
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    allocations: Vec<Slice>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Slice {
    #[serde(default)]
    node_name: String,
    #[serde(default)]
    slice_range: String,
}

/// The name of this node: the variable NODENAME, the file beside the flat file, or the host's name.
pub fn node_name(conf: &Conf) -> Result<String, SessionError> {
    let of_env = std::env::var("NODENAME").ok();
    let file = conf.configuration_path.as_deref().map(conf_files::node_name_file);
    let of_file = |path: &Path| std::fs::read_to_string(path).ok();
    let candidates = [of_env, file.as_deref().and_then(of_file), of_file(Path::new("/etc/hostname"))];
    let mut names = candidates.into_iter().flatten().map(|name| name.trim().to_owned());
    names.find(|name| !name.is_empty()).ok_or(SessionError::NoNodeName)
}

/// The slice that the network's NodeSlicePool gives to `node`.
pub async fn slice_of(claims: &Claims<'_>, conf: &Conf, node: &str) -> Result<IpNet, SessionError> {
    let name = conf.network_name.as_deref().unwrap_or(&conf.name);
    let name = DnsSubdomain::new(name)
        .map_err(|source| PoolError::Naming(NamingError { object: "pool", source }))?;
    let path = NODE_SLICE_POOLS.in_namespace(claims.namespace).object(&name);
    let policy = RetryPolicy::new(OnUnknown::Repeat);
    let object: NodeSlicePool =
        match retry(claims.deadline, policy, || claims.api.get(&path, claims.deadline)).await {
            Ok(object) => object,
            Err(ApiError::NotFound { .. }) => NodeSlicePool::default(),
            Err(error) => return Err(error.into()),
        };
    let own = object.status.allocations.iter().find(|slice| slice.node_name == node);
    own.and_then(|slice| slice.slice_range.parse().ok())
        .ok_or_else(|| SessionError::NoSlice { node: node.to_owned(), pool: name.to_string() })
}
