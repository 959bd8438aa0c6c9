//! The networks of the cluster, as their NetworkAttachmentDefinitions say: which pools they have, and in which scope a pool's claims are named.

use crate::pool::naming::front;
use std::collections::BTreeMap;
use std::net::IpAddr;

use cni::json::{fold_keys, parse_object};
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use node::client::ResourceKind;
use node::names::DnsSubdomain;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::cluster_cache::ClusterCache;
use crate::conf::files::{Found, find_flat_file};
use crate::conf::{Conf, ConfError, FlatFile, Network, OverlappingRanges};
use crate::crd::ip_pool::SeparateUse;
use crate::pool::claim_names;
use crate::pool::claim_names::ClaimNames;
use crate::pool::naming;
use crate::pool::naming::ClaimScope;

/// NetworkAttachmentDefinitions.
pub const DEFINITIONS: ResourceKind =
    ResourceKind::new("k8s.cni.cncf.io", "v1", "network-attachment-definitions");

const SLICE_SIZE: &str = "node_slice_size";

/// A NetworkAttachmentDefinition.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Definition {
    /// Name, namespace, UID.
    pub metadata: ObjectMeta,
    #[serde(default)]
    spec: DefinitionSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct DefinitionSpec {
    /// Without it the configuration is in a file of the nodes, which is not known here.
    #[serde(default)]
    config: String,
}

/// A network with our IPAM.
#[derive(Clone, Debug)]
pub struct WhereaboutsNetwork {
    /// Its configuration.
    pub conf: Conf,
    /// `node_slice_size` as it is typed.
    pub typed_size: Option<String>,
}

/// The networks whose IPAM is whereabouts, by the `namespace/name` of their definition. What a flat file of the nodes would add is taken
/// from `flat`, which is given the network's own place for it; without any, the definition must be complete.
pub fn whereabouts_networks<'a>(
    definitions: impl IntoIterator<Item = (&'a String, &'a Definition)>,
    flat: impl Fn(&Network) -> Option<Found>,
) -> BTreeMap<String, WhereaboutsNetwork> {
    let mut whereabouts_networks = BTreeMap::new();
    for (name, definition) in definitions {
        match one(&definition.spec.config, &flat) {
            Ok(Some(network)) => {
                whereabouts_networks.insert(name.clone(), network);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(network = %name, %error, "this network's configuration is passed over");
            }
        }
    }
    whereabouts_networks
}

/// The flat file, if this process sees one.
pub fn flat_file(network: &Network) -> Option<Found> {
    find_flat_file(network.configuration_path()).ok().flatten()
}

fn one(
    config: &str,
    flat: impl Fn(&Network) -> Option<Found>,
) -> Result<Option<WhereaboutsNetwork>, ConfError> {
    let Ok(object) = parse_object(config.as_bytes()) else { return Ok(None) };
    let network = match Network::parse_nad(&object) {
        Ok(network) => network,
        Err(ConfError::NoIpam | ConfError::OtherIpam(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let found = flat(&network).unwrap_or_else(|| Found { path: "none".into(), bytes: b"{}".to_vec() });
    let conf = network.complete(Some(FlatFile { path: &found.path, bytes: &found.bytes }))?;
    let of_file = || parse_object(&found.bytes).ok().and_then(typed_size);
    let typed_size = ipams(object).into_iter().find_map(typed_size).or_else(of_file);
    Ok(Some(WhereaboutsNetwork { conf, typed_size }))
}

/// The `ipam` objects of a configuration or a list of them.
fn ipams(mut config: Map<String, Value>) -> Vec<Map<String, Value>> {
    fold_keys(&mut config, &["ipam", "plugins"]);
    let plugins = match config.remove("plugins") {
        Some(Value::Array(plugins)) => plugins,
        _ => Vec::new(),
    };
    let plugins = plugins.into_iter().filter_map(|plugin| match plugin {
        Value::Object(plugin) => Some(plugin),
        _ => None,
    });
    let ipam = |mut plugin: Map<String, Value>| {
        fold_keys(&mut plugin, &["ipam"]);
        match plugin.remove("ipam") {
            Some(Value::Object(ipam)) => Some(ipam),
            _ => None,
        }
    };
    plugins.chain([config]).filter_map(ipam).collect()
}

fn typed_size(mut ipam: Map<String, Value>) -> Option<String> {
    fold_keys(&mut ipam, &[SLICE_SIZE]);
    ipam.get(SLICE_SIZE).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The name of a network for each pool that one has.
pub fn names(cache: &ClusterCache) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for (definition, WhereaboutsNetwork { conf, .. }) in
        whereabouts_networks(cache.networks.iter(), flat_file)
    {
        let name = definition.rsplit('/').next().unwrap_or(&definition);
        for pool in pools_of(&conf, cache) {
            names.entry(pool.to_string()).or_insert_with(|| name.to_owned());
        }
    }
    names
}

/// How addresses of a pool are ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolNaming {
    pool: DnsSubdomain,
    network: Option<String>,
    overlapping: OverlappingRanges,
}

impl PoolNaming {
    /// The name that Whereabouts gives a claim.
    pub fn shared_name(&self, ip: IpAddr) -> Option<DnsSubdomain> {
        naming::claim(ip, ClaimScope::Shared { network: self.network.as_deref() }).ok()
    }

    /// What the pool's claims are called at `now`.
    pub fn names(&self, separation: SeparateUse, now: Timestamp) -> ClaimNames<'_> {
        let way = claim_names::way(self.overlapping, separation, now);
        ClaimNames { pool: &self.pool, network: self.network.as_deref(), way }
    }
}

/// The scopes of the pools of these networks.
#[derive(Clone, Debug, Default)]
pub struct PoolNamings {
    by_pool: BTreeMap<String, PoolNaming>,
}

impl PoolNamings {
    /// Of all networks. Where networks that share a pool differ, the shared scope counts: it protects more.
    pub fn of(networks: &BTreeMap<String, WhereaboutsNetwork>, cache: &ClusterCache) -> Self {
        let mut by_pool = BTreeMap::<String, PoolNaming>::new();
        for WhereaboutsNetwork { conf, .. } in networks.values() {
            for pool in pools_of(conf, cache) {
                let (name, network) = (pool.to_string(), conf.network_name.clone());
                let naming_of = PoolNaming { pool, network, overlapping: conf.overlapping };
                match conf.overlapping {
                    OverlappingRanges::Protected => drop(by_pool.insert(name, naming_of)),
                    OverlappingRanges::Separate => drop(by_pool.entry(name).or_insert(naming_of)),
                }
            }
        }
        PoolNamings { by_pool }
    }

    /// The scope of a pool. Of one that no network names, its own name tells the network, if it tells no node.
    pub fn get(&self, pool: &str, range: &IpNet, cache: &ClusterCache) -> Option<PoolNaming> {
        if let Some(naming_of) = self.by_pool.get(pool) {
            return Some(naming_of.clone());
        }
        let front = front(pool, range)?;
        let is_nodes =
            |node: &String| front == node || front.strip_suffix(node).is_some_and(|f| f.ends_with('-'));
        if cache.nodes.iter().any(|(node, ())| is_nodes(node)) {
            return None;
        }
        let network = Some(front).filter(|front| !front.is_empty()).map(str::to_owned);
        Some(PoolNaming {
            pool: DnsSubdomain::new(pool).ok()?,
            network,
            overlapping: OverlappingRanges::Protected,
        })
    }
}

fn pools_of(conf: &Conf, cache: &ClusterCache) -> Vec<DnsSubdomain> {
    let network = conf.network_name.as_deref();
    if conf.slice_size.is_none() {
        return conf.ranges.iter().filter_map(|range| naming::pool(&range.net, network).ok()).collect();
    }
    let name = conf.network_name.as_ref().unwrap_or(&conf.name);
    let slices = cache.slice_pools.content().get(name).map(|pool| pool.status.allocations.as_slice());
    let slices = slices.unwrap_or_default().iter();
    let pool = |slice: &crate::crd::node_slice_pool::NodeSlice| {
        naming::slice_pool(&slice.slice_range.parse().ok()?, network, &slice.node_name).ok()
    };
    slices.filter(|slice| !slice.node_name.is_empty()).filter_map(pool).collect()
}
