//! What a definition makes.

use std::net::IpAddr;

use cni::master::Master;
use ipnet::IpNet;
use whereabouts::addr::range::Allocatable;
use whereabouts::conf::OverlappingRanges;

use crate::finding::Finding;

/// A definition, as far as it can be read, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Definition {
    /// `<namespace>/<name>`.
    pub name: String,
    /// The types of its plugins, in the order of ADD; empty if it cannot be read.
    pub plugins: Vec<String>,
    /// The capabilities that its plugins declare.
    pub capabilities: Vec<String>,
    /// Its macvlan and ipvlan plugins.
    pub interfaces: Vec<InterfacePlugin>,
    /// Its whereabouts pools.
    pub pools: Vec<DefinedPool>,
    /// The IPAM types of its plugins.
    pub ipam: Vec<String>,
    /// Who attaches it.
    pub attached_by: AttachedBy,
    /// What is wrong with it alone.
    pub findings: Vec<Finding>,
}

/// Who attaches a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachedBy {
    /// multus, by running the plugins.
    Multus,
    /// Antrea's agent: CNI type `antrea` with a `networkType`.
    AntreaAgent,
}

/// A macvlan or ipvlan plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfacePlugin {
    /// The kind of link.
    pub link: LinkKind,
    /// The master, in order of preference; empty for that of the default route, or of an earlier plugin.
    pub masters: Vec<Master>,
    /// The namespace of the master.
    pub master_in: MasterIn,
}

/// A kind of link. The texts are those of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// A macvlan link.
    Macvlan {
        /// `mode`.
        mode: String,
    },
    /// An ipvlan link.
    Ipvlan {
        /// `mode`.
        mode: String,
        /// `flag`.
        flag: String,
    },
}

/// The namespace of a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterIn {
    /// The node's.
    Node,
    /// The pod's (`linkInContainer`).
    Pod,
}

/// A pool that a definition takes addresses from.
#[derive(Clone, Debug)]
pub struct DefinedPool {
    /// The name of its IPPool; for a range that is divided among the nodes, of its NodeSlicePool.
    pub name: String,
    /// `network_name`.
    pub network: Option<String>,
    /// `enable_overlapping_ranges`.
    pub overlapping: OverlappingRanges,
    /// `node_slice_size`, as a prefix length.
    pub slice_size: Option<u8>,
    /// The range and what of it may be allocated.
    pub addresses: Allocatable,
    /// The network's gateway.
    pub gateway: Option<IpAddr>,
}

impl Definition {
    /// Its masters, in order of preference: names, or how they are found.
    pub fn masters(&self) -> Vec<String> {
        let shown = |master: &Master| match master {
            Master::Name(name) => name.clone(),
            Master::Mac { mac } => format!("mac {mac}"),
            Master::Subnet { subnet } => format!("subnet {subnet}"),
        };
        self.interfaces.iter().flat_map(|interface| interface.masters.iter().map(shown)).collect()
    }
}

impl DefinedPool {
    /// The range.
    pub const fn range(&self) -> IpNet {
        self.addresses.net()
    }
}
