//! Which NodeSlicePools the networks with `node_slice_size` need. Several networks can share one, by the same `network_name` or by the same
//! name; then they must agree on range and size.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use node::names::{DnsSubdomain, NameError};

use super::slice_plan::Layout;
use crate::addr::range::RangeSpec;
use crate::addr::slices::SliceSize;
use crate::conf::Conf;

/// A network with `node_slice_size`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicedNetwork {
    /// `namespace/name` of its NetworkAttachmentDefinition.
    pub definition: String,
    /// The name of its NodeSlicePool: `network_name`, or the network's own name.
    pub pool: String,
    /// `network_name`, if it is set.
    pub network: Option<String>,
    /// Its first range.
    pub range: RangeSpec,
    /// The number of its other ranges, which get no slices.
    pub more_ranges: usize,
    /// The size of a slice.
    pub size: SliceSize,
    /// The text of the size: "/22" or "22". Whereabouts' controller cuts the range again if the text changes.
    pub typed_size: String,
}

impl SlicedNetwork {
    /// The sliced network of a configuration; `None` without `node_slice_size`.
    pub fn of(definition: &str, conf: &Conf, typed_size: Option<&str>) -> Option<Self> {
        let (range, size) = (conf.ranges.first()?, conf.slice_size?);
        Some(SlicedNetwork {
            definition: definition.to_owned(),
            pool: conf.network_name.as_ref().unwrap_or(&conf.name).clone(),
            network: conf.network_name.clone(),
            range: range.clone(),
            more_ranges: conf.ranges.len().saturating_sub(1),
            size,
            typed_size: typed_size.map_or_else(|| format!("/{size}"), str::to_owned),
        })
    }

    const fn range_and_size(&self) -> (IpNet, SliceSize) {
        (self.range.net, self.size)
    }
}

/// A NodeSlicePool that networks need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredSlicePool {
    /// Its name.
    pub pool: DnsSubdomain,
    /// The range, and how it is cut.
    pub layout: Layout,
    /// The text of the size.
    pub typed_size: String,
    /// The `network_name`s of its networks, which prefix the names of the slices' pools; `None` for networks without one.
    pub networks: BTreeSet<Option<String>>,
    /// `namespace/name` of the networks' definitions.
    pub definitions: Vec<String>,
}

/// A problem that the owner of a network must solve.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum NetworkProblem {
    /// Networks that share a NodeSlicePool have different ranges or sizes.
    #[error(
        "found IPAM conf mismatch for network-attachment-definitions with same network name: {definition} has range {range} and \
         node_slice_size {size}, but the NodeSlicePool {pool} is of {other}; make them equal, or give them different names"
    )]
    Mismatch {
        /// The network whose configuration is not applied.
        definition: String,
        /// The shared object.
        pool: String,
        /// Its range.
        range: String,
        /// Its size of a slice.
        size: String,
        /// Range and size of the object, or a network that differs.
        other: String,
    },
    /// The network has several ranges, and only the first one is cut into slices.
    #[error(
        "{definition} has {ranges} ranges and node_slice_size: only the first one is cut into slices, and pods get no address in \
         the others; use one network for each range"
    )]
    SeveralRanges {
        /// The network.
        definition: String,
        /// The number of ranges.
        ranges: usize,
    },
    /// The network's name is not a valid object name.
    #[error(
        "{definition} needs a NodeSlicePool with the network's name, which is not a valid object name: {reason}"
    )]
    BadName {
        /// The network.
        definition: String,
        /// Why the name is invalid.
        reason: String,
    },
}

impl NetworkProblem {
    /// `namespace/name` of the network's definition.
    pub fn definition(&self) -> &str {
        match self {
            NetworkProblem::Mismatch { definition, .. }
            | NetworkProblem::SeveralRanges { definition, .. }
            | NetworkProblem::BadName { definition, .. } => definition,
        }
    }
}

/// The NodeSlicePools that the networks need, and the problems of some. If networks that share an object differ, those that agree with the
/// existing object count; without an object, none of them counts. `existing` returns range and size of the object of a name.
pub fn desired_slice_pools(
    networks: &[SlicedNetwork],
    existing: impl Fn(&str) -> Option<(IpNet, SliceSize)>,
) -> (Vec<DesiredSlicePool>, Vec<NetworkProblem>) {
    let mut by_pool = BTreeMap::<&str, Vec<&SlicedNetwork>>::new();
    for network in networks {
        by_pool.entry(&network.pool).or_default().push(network);
    }
    let (mut desired, mut problems) = (Vec::new(), Vec::new());
    for (pool, networks) in by_pool {
        let several = networks.iter().filter(|network| network.more_ranges > 0);
        problems.extend(several.map(|network| NetworkProblem::SeveralRanges {
            definition: network.definition.clone(),
            ranges: network.more_ranges + 1,
        }));
        let name = match DnsSubdomain::new(pool) {
            Ok(name) => name,
            Err(error) => {
                problems.extend(networks.iter().map(|network| bad_name(network, &error)));
                continue;
            }
        };
        let agreed = agreed(&networks, existing(pool));
        let (equal, others): (Vec<&SlicedNetwork>, Vec<&SlicedNetwork>) =
            networks.iter().partition(|network| Some(network.range_and_size()) == agreed);
        let other = match (agreed, networks.as_slice()) {
            (Some((range, size)), _) => format!("range {range} and size /{size}"),
            (None, [first, ..]) => format!("several networks that differ, for example {}", first.definition),
            (None, []) => continue,
        };
        problems.extend(others.iter().map(|network| mismatch(network, &other)));
        desired.extend(desired_of(name, &equal));
    }
    problems.sort();
    (desired, problems)
}

/// Range and size of the shared object: those of the networks if all agree, else those of the existing object.
fn agreed(networks: &[&SlicedNetwork], existing: Option<(IpNet, SliceSize)>) -> Option<(IpNet, SliceSize)> {
    let first = networks.first()?.range_and_size();
    if networks.iter().all(|network| network.range_and_size() == first) { Some(first) } else { existing }
}

/// The object of networks that agree.
fn desired_of(pool: DnsSubdomain, networks: &[&SlicedNetwork]) -> Option<DesiredSlicePool> {
    let first = networks.first()?;
    let windows = networks.iter().map(|network| network.range.clone()).collect();
    Some(DesiredSlicePool {
        pool,
        layout: Layout { range: first.range.net, size: first.size, windows },
        typed_size: first.typed_size.clone(),
        networks: networks.iter().map(|network| network.network.clone()).collect(),
        definitions: networks.iter().map(|network| network.definition.clone()).collect(),
    })
}

fn mismatch(network: &SlicedNetwork, other: &str) -> NetworkProblem {
    NetworkProblem::Mismatch {
        definition: network.definition.clone(),
        pool: network.pool.clone(),
        range: network.range.net.to_string(),
        size: network.typed_size.clone(),
        other: other.to_owned(),
    }
}

fn bad_name(network: &SlicedNetwork, error: &NameError) -> NetworkProblem {
    NetworkProblem::BadName { definition: network.definition.clone(), reason: error.to_string() }
}
