//! What a record says.

use cni::names::{IfName, NetworkName};
use nad::PodRef;
use serde_json::{Map, Value};

use crate::network::Network;

/// The networks of one sandbox, attached or about to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The networks in the order of ADD; at least one.
    pub delegates: Vec<Recorded>,
    /// For whom ADD ran; unknown in a record of upstream.
    pub owner: Option<Owner>,
}

/// One network of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// The network.
    pub network: Network,
    /// Its interface in the pod.
    pub if_name: IfName,
    /// The capability arguments of ADD. Empty in a record of upstream, which keeps them in the result cache only.
    pub capability_args: Map<String, Value>,
    /// What an annotation of the pod requested of it, without the interface. `None` for a network that the configuration gives to every pod,
    /// for the default network, and in a record of upstream.
    pub requested: Option<Map<String, Value>>,
}

/// For whom a record was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The name of the multus configuration.
    pub network: NetworkName,
    /// The pod, in Kubernetes.
    pub pod: Option<PodRef>,
}
