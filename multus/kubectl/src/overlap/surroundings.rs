//! What is known of the nodes, as values.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

/// What is known of the nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The nodes of the cluster. Empty if they are not known.
    pub nodes: Vec<NodeFacts>,
    /// The names of the interfaces that the nodes have, as the user states them.
    pub links: Option<Vec<String>>,
}

/// What is known of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The ranges of its pods' addresses in the cluster network.
    pub pod_ranges: Vec<IpNet>,
    /// The names of its interfaces, if a refused ADD has listed them.
    pub links: Option<BTreeSet<String>>,
}
