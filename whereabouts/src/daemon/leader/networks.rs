//! The networks of the cluster, as their NetworkAttachmentDefinitions say: which pools they have, and in which scope a pool's claims are named.

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

use super::mirrors::Mirrors;
use crate::conf::{Conf, ConfError, FlatFile, Network, OverlappingRanges};
use crate::conf_files::{Found, find_flat_file};
use crate::ip;
use crate::naming::{self, ClaimScope};
use crate::twin::{self, Names, Separation};

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
pub struct OurNetwork {
    /// Its configuration.
    pub conf: Conf,
    /// `node_slice_size` as it is typed.
    pub typed_size: Option<String>,
}

/// The networks whose IPAM is whereabouts, by the `namespace/name` of their definition. What a flat file of the nodes would add is taken
/// from `flat`, which is given the network's own place for it; without any, the definition must be complete.
pub fn ours<'a>(
    definitions: impl IntoIterator<Item = (&'a String, &'a Definition)>,
    flat: impl Fn(&Network) -> Option<Found>,
) -> BTreeMap<String, OurNetwork> {
    let mut ours = BTreeMap::new();
    for (name, definition) in definitions {
        match one(&definition.spec.config, &flat) {
            Ok(Some(network)) => {
                ours.insert(name.clone(), network);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(network = %name, %error, "this network's configuration is passed over");
            }
        }
    }
    ours
}

/// The flat file, if this process sees one.
pub fn flat_file(network: &Network) -> Option<Found> {
    find_flat_file(network.configuration_path()).ok().flatten()
}

fn one(config: &str, flat: impl Fn(&Network) -> Option<Found>) -> Result<Option<OurNetwork>, ConfError> {
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
    Ok(Some(OurNetwork { conf, typed_size }))
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
pub fn names(mirrors: &Mirrors) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for (definition, OurNetwork { conf, .. }) in ours(mirrors.networks.iter(), flat_file) {
        let name = definition.rsplit('/').next().unwrap_or(&definition);
        for pool in pools_of(&conf, mirrors) {
            names.entry(pool.to_string()).or_insert_with(|| name.to_owned());
        }
    }
    names
}

/// How addresses of a pool are ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pool: DnsSubdomain,
    network: Option<String>,
    overlapping: OverlappingRanges,
}

impl Scope {
    /// The name that Whereabouts gives a claim.
    pub fn shared_name(&self, ip: IpAddr) -> Option<DnsSubdomain> {
        naming::claim(ip, ClaimScope::Shared { network: self.network.as_deref() }).ok()
    }

    /// What the pool's claims are called at `now`.
    pub fn names(&self, separation: Separation, now: Timestamp) -> Names<'_> {
        let way = twin::way(self.overlapping, separation, now);
        Names { pool: &self.pool, network: self.network.as_deref(), way }
    }
}

/// The scopes of the pools of these networks.
#[derive(Clone, Debug, Default)]
pub struct Scopes {
    by_pool: BTreeMap<String, Scope>,
}

impl Scopes {
    /// Of all networks. Where networks that share a pool differ, the shared scope counts: it protects more.
    pub fn of(networks: &BTreeMap<String, OurNetwork>, mirrors: &Mirrors) -> Self {
        let mut by_pool = BTreeMap::<String, Scope>::new();
        for OurNetwork { conf, .. } in networks.values() {
            for pool in pools_of(conf, mirrors) {
                let (name, network) = (pool.to_string(), conf.network_name.clone());
                let scope = Scope { pool, network, overlapping: conf.overlapping };
                match conf.overlapping {
                    OverlappingRanges::Protected => drop(by_pool.insert(name, scope)),
                    OverlappingRanges::Separate => drop(by_pool.entry(name).or_insert(scope)),
                }
            }
        }
        Scopes { by_pool }
    }

    /// The scope of a pool. Of one that no network names, its own name tells the network, if it tells no node.
    pub fn get(&self, pool: &str, range: &IpNet, mirrors: &Mirrors) -> Option<Scope> {
        if let Some(scope) = self.by_pool.get(pool) {
            return Some(scope.clone());
        }
        let front = front(pool, range)?;
        let is_nodes =
            |node: &String| front == node || front.strip_suffix(node).is_some_and(|f| f.ends_with('-'));
        if mirrors.nodes.iter().any(|(node, ())| is_nodes(node)) {
            return None;
        }
        let network = Some(front).filter(|front| !front.is_empty()).map(str::to_owned);
        Some(Scope {
            pool: DnsSubdomain::new(pool).ok()?,
            network,
            overlapping: OverlappingRanges::Protected,
        })
    }
}

/// What stands before the range in a pool's name: network and node, one of them, or nothing.
pub fn front<'a>(pool: &'a str, range: &IpNet) -> Option<&'a str> {
    if naming::pool(range, None).is_ok_and(|name| name.as_str() == pool) {
        return Some("");
    }
    let text = format!("-{}-{}", ip::text(range.network()).replace(':', "-"), range.prefix_len());
    pool.strip_suffix(&text)
}

fn pools_of(conf: &Conf, mirrors: &Mirrors) -> Vec<DnsSubdomain> {
    let network = conf.network_name.as_deref();
    if conf.slice_size.is_none() {
        return conf.ranges.iter().filter_map(|range| naming::pool(&range.net, network).ok()).collect();
    }
    let name = conf.network_name.as_ref().unwrap_or(&conf.name);
    let slices = mirrors.slice_pools.content().get(name).map(|pool| pool.status.allocations.as_slice());
    let slices = slices.unwrap_or_default().iter();
    let pool = |slice: &crate::objects::NodeSlice| {
        naming::slice_pool(&slice.slice_range.parse().ok()?, network, &slice.node_name).ok()
    };
    slices.filter(|slice| !slice.node_name.is_empty()).filter_map(pool).collect()
}
