//! The networks in the cluster's NetworkAttachmentDefinitions: which pools they have, and how the claims of a pool are named.

use crate::pool::naming::pool_prefix;
use std::collections::BTreeMap;
use std::net::IpAddr;

use cni::json::{fold_keys, parse_object};
use ipnet::IpNet;
use nad::NetworkAttachmentDefinition;
use node::names::DnsSubdomain;
use serde_json::{Map, Value};

use super::cluster_cache::ClusterCache;
use crate::addr::range::RangeSpec;
use crate::conf::files::{Found, find_flat_file};
use crate::conf::{Conf, ConfError, FlatFile, Network, OverlappingRanges};
use crate::crd::ip_pool::ClaimNaming;
use crate::crd::node_slice_pool::NodeSlice;
use crate::pool::claim_names::ClaimNames;
use crate::pool::naming;
use crate::pool::naming::ClaimScope;
use crate::pool::range_pool::NamedPool;

const SLICE_SIZE: &str = "node_slice_size";

/// A network with the whereabouts IPAM.
#[derive(Clone, Debug)]
pub struct WhereaboutsNetwork {
    /// Its configuration.
    pub conf: Conf,
    /// The text of `node_slice_size`, for example "/26" or "26".
    pub typed_size: Option<String>,
}

/// A network with the whereabouts IPAM, or why its configuration is invalid.
pub type ReadNetwork = Result<WhereaboutsNetwork, ConfError>;

/// The networks with the whereabouts IPAM, by the `namespace/name` of their definition. `flat` returns the flat file that completes a
/// network's configuration; without one, the definition must be complete.
pub fn read_networks<'a>(
    definitions: impl IntoIterator<Item = (&'a String, &'a NetworkAttachmentDefinition)>,
    flat: impl Fn(&Network) -> Option<Found>,
) -> BTreeMap<String, ReadNetwork> {
    let read = |(name, definition): (&'a String, &'a NetworkAttachmentDefinition)| {
        let network = read_network(definition, &flat).transpose()?;
        Some((name.clone(), network))
    };
    definitions.into_iter().filter_map(read).collect()
}

/// As [`read_networks`], without the networks that cannot be read.
pub fn parse_networks<'a>(
    definitions: impl IntoIterator<Item = (&'a String, &'a NetworkAttachmentDefinition)>,
    flat: impl Fn(&Network) -> Option<Found>,
) -> BTreeMap<String, WhereaboutsNetwork> {
    let networks = read_networks(definitions, flat).into_iter();
    networks.filter_map(|(name, network)| Some((name, network.ok()?))).collect()
}

/// The flat file, if the leader's file system has one.
pub fn flat_file(network: &Network) -> Option<Found> {
    find_flat_file(network.configuration_path()).ok().flatten()
}

/// `None` for a network without the whereabouts IPAM.
fn read_network(
    definition: &NetworkAttachmentDefinition,
    flat: impl Fn(&Network) -> Option<Found>,
) -> Result<Option<WhereaboutsNetwork>, ConfError> {
    let Ok(object) = parse_object(definition.spec.config.as_bytes()) else { return Ok(None) };
    let network = match Network::parse_nad(&object) {
        Ok(network) => network,
        Err(ConfError::NoIpam | ConfError::OtherIpam(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    // An empty flat file: then the definition must be complete.
    let found = flat(&network).unwrap_or_else(|| Found { path: "none".into(), bytes: b"{}".to_vec() });
    let mut conf = network.complete(Some(FlatFile { path: &found.path, bytes: &found.bytes }))?;
    // As multus does before it runs the plugins.
    if conf.name.is_empty() {
        conf.name.clone_from(&definition.metadata.name);
    }
    let in_flat_file = || parse_object(&found.bytes).ok().and_then(typed_size);
    let typed_size = ipams(object).into_iter().find_map(typed_size).or_else(in_flat_file);
    Ok(Some(WhereaboutsNetwork { conf, typed_size }))
}

/// The `ipam` objects of a configuration or of a configuration list.
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

/// For each pool the name of one network that uses it.
pub fn network_name_by_pool(cache: &ClusterCache) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for (definition, WhereaboutsNetwork { conf, .. }) in parse_networks(cache.networks.iter(), flat_file) {
        let name = definition.rsplit('/').next().unwrap_or(&definition);
        for pool in pools_of(&conf, cache) {
            names.entry(pool.name.to_string()).or_insert_with(|| name.to_owned());
        }
    }
    names
}

/// A pool of the networks, and what they ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolNaming {
    pool: DnsSubdomain,
    /// The pool of the whole range, with the range: another one than `pool` for a node's slice.
    whole: (DnsSubdomain, IpNet),
    network: Option<String>,
    overlapping: OverlappingRanges,
}

impl PoolNaming {
    /// The name that Whereabouts gives to the claim of an address.
    pub fn upstream_name(&self, ip: IpAddr) -> Option<DnsSubdomain> {
        naming::claim(ip, ClaimScope::Shared { network: self.network.as_deref() }).ok()
    }

    /// The name of the pool.
    pub fn pool(&self) -> &str {
        self.pool.as_str()
    }

    /// The name of the pool of the whole range.
    pub fn whole(&self) -> &str {
        self.whole.0.as_str()
    }

    /// The names of the pool's claims by this naming.
    pub fn names(&self, naming: ClaimNaming) -> ClaimNames<'_> {
        let PoolNaming { pool, whole, network, overlapping, .. } = self;
        let (network, overlapping) = (network.as_deref(), *overlapping);
        ClaimNames { pool, whole: &whole.0, network, naming, overlapping }
    }

    /// The pool, to read or fix how its claims are named.
    pub fn named(&self, range: IpNet) -> NamedPool<'_> {
        // The naming in it does not count.
        NamedPool { names: self.names(ClaimNaming::Both), range, whole_range: self.whole.1 }
    }
}

/// The naming of the claims of each pool.
#[derive(Clone, Debug, Default)]
pub struct PoolNamings {
    by_pool: BTreeMap<String, PoolNaming>,
}

impl PoolNamings {
    /// The namings of the pools of all networks. If networks that share a pool differ, `enable_overlapping_ranges` true wins, because it
    /// protects the addresses in other pools too.
    pub fn of(networks: &BTreeMap<String, WhereaboutsNetwork>, cache: &ClusterCache) -> Self {
        let mut by_pool = BTreeMap::<String, PoolNaming>::new();
        for WhereaboutsNetwork { conf, .. } in networks.values() {
            for NetworkPool { name: pool, whole, .. } in pools_of(conf, cache) {
                let (name, network) = (pool.to_string(), conf.network_name.clone());
                let naming = PoolNaming { pool, whole, network, overlapping: conf.overlapping };
                match conf.overlapping {
                    OverlappingRanges::Protected => drop(by_pool.insert(name, naming)),
                    OverlappingRanges::Separate => drop(by_pool.entry(name).or_insert(naming)),
                }
            }
        }
        PoolNamings { by_pool }
    }

    /// The naming of a pool. If no network has the pool, the network's name is read from the pool's name, unless the pool could be a node's
    /// slice.
    pub fn get(&self, pool: &str, range: &IpNet, cache: &ClusterCache) -> Option<PoolNaming> {
        if let Some(naming) = self.by_pool.get(pool) {
            return Some(naming.clone());
        }
        let prefix = pool_prefix(pool, range)?;
        // "node" or "network-node".
        let ends_with = |node: &String| {
            prefix == node || prefix.strip_suffix(node).is_some_and(|network| network.ends_with('-'))
        };
        if cache.nodes.iter().any(|(node, ())| ends_with(node)) {
            return None;
        }
        let network = Some(prefix).filter(|prefix| !prefix.is_empty()).map(str::to_owned);
        let pool = DnsSubdomain::new(pool).ok()?;
        let whole = (pool.clone(), *range);
        Some(PoolNaming { pool, whole, network, overlapping: OverlappingRanges::Protected })
    }
}

/// A pool of a network.
pub(super) struct NetworkPool {
    pub name: DnsSubdomain,
    /// Its addresses: the network's range, or the slice.
    pub range: RangeSpec,
    /// The pool of the whole range, with the range.
    pub whole: (DnsSubdomain, IpNet),
}

/// A network's pools; for node slices, those of the slices that are assigned.
pub(super) fn pools_of(conf: &Conf, cache: &ClusterCache) -> Vec<NetworkPool> {
    let network = conf.network_name.as_deref();
    let whole = |range: &RangeSpec| Some((naming::pool(&range.net, network).ok()?, range.net));
    if conf.slice_size.is_none() {
        let pool = |range: &RangeSpec| {
            let whole = whole(range)?;
            Some(NetworkPool { name: whole.0.clone(), range: range.clone(), whole })
        };
        return conf.ranges.iter().filter_map(pool).collect();
    }
    // Only the first range is cut into slices.
    let Some(range) = conf.ranges.first() else { return Vec::new() };
    let name = conf.network_name.as_ref().unwrap_or(&conf.name);
    let slices = cache.slice_pools.content().get(name).map(|pool| pool.status.allocations.as_slice());
    let slices = slices.unwrap_or_default().iter();
    let pool = |slice: &NodeSlice| {
        let net: IpNet = slice.slice_range.parse().ok()?;
        let name = naming::slice_pool(&net, network, &slice.node_name).ok()?;
        let slice = RangeSpec { net: net.trunc(), ..range.clone() };
        Some(NetworkPool { name, range: slice, whole: whole(range)? })
    };
    slices.filter(|slice| !slice.node_name.is_empty()).filter_map(pool).collect()
}
