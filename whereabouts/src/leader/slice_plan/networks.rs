//! Which networks want their range cut into slices, and whether they agree: several may share one NodeSlicePool, by their `network_name` or
//! by having the same name.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use node::names::{DnsSubdomain, NameError};

use super::Layout;
use crate::addr::range::RangeSpec;
use crate::addr::slices::SliceSize;
use crate::conf::Conf;

/// A network with `node_slice_size`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicedNetwork {
    /// `namespace/name` of its NetworkAttachmentDefinition.
    pub definition: String,
    /// The name of its NodeSlicePool: the `network_name`, or the network's own name.
    pub pool: String,
    /// The `network_name`.
    pub network: Option<String>,
    /// Its first range.
    pub range: RangeSpec,
    /// How many more it has.
    pub more_ranges: usize,
    /// The size of a slice.
    pub size: SliceSize,
    /// The size as it is typed: "/22" or "22". Whereabouts cuts anew where the text differs.
    pub typed_size: String,
}

impl SlicedNetwork {
    /// Of a configuration; `None` if it has no slices.
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

    const fn cut(&self) -> (IpNet, SliceSize) {
        (self.range.net, self.size)
    }
}

/// A NodeSlicePool as the networks want it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub pool: DnsSubdomain,
    /// How the range is cut.
    pub layout: Layout,
    /// The size as it is typed.
    pub typed_size: String,
    /// The `network_name`s of its networks, which are in the names of the pools; `None` for those without.
    pub networks: BTreeSet<Option<String>>,
    /// `namespace/name` of the NetworkAttachmentDefinitions it is for.
    pub definitions: Vec<String>,
}

/// Something a network's owner must know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Problem {
    /// Networks that share a NodeSlicePool differ.
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
        /// What the object is, or would be, cut of.
        other: String,
    },
    /// Only one range can be cut.
    #[error(
        "{definition} has {ranges} ranges and node_slice_size: only the first one is cut into slices, and pods get no address in \
         the others; use one network a range"
    )]
    SeveralRanges {
        /// The network.
        definition: String,
        /// How many.
        ranges: usize,
    },
    /// The object cannot have that name.
    #[error("{definition} needs a NodeSlicePool of its name: {reason}")]
    BadName {
        /// The network.
        definition: String,
        /// Why not.
        reason: String,
    },
}

impl Problem {
    /// The network whose owner must know.
    pub fn definition(&self) -> &str {
        match self {
            Problem::Mismatch { definition, .. }
            | Problem::SeveralRanges { definition, .. }
            | Problem::BadName { definition, .. } => definition,
        }
    }
}

/// The NodeSlicePools that the networks want, and what is wrong with some. Where networks differ, the ones that agree with the present object
/// count; where there is none yet, none of them does. `present` says how an object of this name is cut.
pub fn wanted(
    networks: &[SlicedNetwork],
    present: impl Fn(&str) -> Option<(IpNet, SliceSize)>,
) -> (Vec<Wanted>, Vec<Problem>) {
    let mut by_pool = BTreeMap::<&str, Vec<&SlicedNetwork>>::new();
    for network in networks {
        by_pool.entry(&network.pool).or_default().push(network);
    }
    let (mut wanted, mut problems) = (Vec::new(), Vec::new());
    for (pool, networks) in by_pool {
        let several = networks.iter().filter(|network| network.more_ranges > 0);
        problems.extend(several.map(|network| Problem::SeveralRanges {
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
        let agreed = agreed(&networks, present(pool));
        let (equal, others): (Vec<&SlicedNetwork>, Vec<&SlicedNetwork>) =
            networks.iter().partition(|network| Some(network.cut()) == agreed);
        let other = match (agreed, networks.as_slice()) {
            (Some((range, size)), _) => format!("range {range} and size /{size}"),
            (None, [first, ..]) => format!("several networks, as {}", first.definition),
            (None, []) => continue,
        };
        problems.extend(others.iter().map(|network| mismatch(network, &other)));
        wanted.extend(of_equal(name, &equal));
    }
    problems.sort();
    (wanted, problems)
}

/// How the shared object is to be cut: as all networks say, else as it is.
fn agreed(networks: &[&SlicedNetwork], present: Option<(IpNet, SliceSize)>) -> Option<(IpNet, SliceSize)> {
    let first = networks.first()?.cut();
    if networks.iter().all(|network| network.cut() == first) { Some(first) } else { present }
}

fn of_equal(pool: DnsSubdomain, networks: &[&SlicedNetwork]) -> Option<Wanted> {
    let first = networks.first()?;
    let windows = networks.iter().map(|network| network.range.clone()).collect();
    Some(Wanted {
        pool,
        layout: Layout { range: first.range.net, size: first.size, windows },
        typed_size: first.typed_size.clone(),
        networks: networks.iter().map(|network| network.network.clone()).collect(),
        definitions: networks.iter().map(|network| network.definition.clone()).collect(),
    })
}

fn mismatch(network: &SlicedNetwork, other: &str) -> Problem {
    Problem::Mismatch {
        definition: network.definition.clone(),
        pool: network.pool.clone(),
        range: network.range.net.to_string(),
        size: network.typed_size.clone(),
        other: other.to_owned(),
    }
}

fn bad_name(network: &SlicedNetwork, error: &NameError) -> Problem {
    Problem::BadName { definition: network.definition.clone(), reason: error.to_string() }
}
