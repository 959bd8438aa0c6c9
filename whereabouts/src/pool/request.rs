//! What an attachment asks for, as values: everything that is needed to claim its addresses, read from its configuration and its arguments
//! beforehand. Whoever has an order can serve it, the plugin itself or the node's daemon.

use node::names::DnsLabel;
use serde::{Deserialize, Serialize};

use crate::addr::range::RangeSpec;
use crate::conf::request::{Assignment, Claim};
use crate::conf::{Conf, OverlappingRanges};
use crate::crd::reservation::ReservationSpec;

/// The addresses that one attachment asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationRequest {
    /// Who they are for.
    pub claimant: Claimant,
    /// Where the claims are; `None` where no credentials name a namespace.
    pub namespace: Option<DnsLabel>,
    /// The pools, one a range.
    pub pools: Vec<PoolRequest>,
    /// At least one for each pool.
    pub wanted: Vec<Claim>,
}

/// Who claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimant {
    /// `namespace/name` of the pod.
    pub podref: String,
    /// Its UID, where the runtime tells it.
    pub pod_uid: Option<String>,
    /// The interface.
    pub if_name: String,
    /// The container.
    pub container_id: String,
    /// The node, where it is known.
    pub node: Option<String>,
}

/// Which pool an address is to come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRequest {
    /// Its addresses; those of all slices together where it is cut into them.
    pub range: RangeSpec,
    /// Networks with different names may use the same addresses.
    pub network: Option<String>,
    /// May other pools give out the same address?
    pub overlapping: OverlappingRanges,
    /// The part of the range that it is to be, instead of the whole.
    pub slice: Option<SliceRequest>,
}

/// A node's slice of a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceRequest {
    /// The name of the NodeSlicePool, as configured.
    pub pool: String,
    /// The node.
    pub node: String,
}

impl Claimant {
    /// Pod, interface and container, as a claim says them.
    pub fn spec(&self) -> ReservationSpec {
        ReservationSpec {
            podref: self.podref.clone(),
            ifname: self.if_name.clone(),
            containerid: self.container_id.clone(),
        }
    }
}

/// The pools of a network, on a node whose name is `node`; it must be known where the ranges are cut into slices.
pub fn pools(conf: &Conf, node: Option<&str>) -> Vec<PoolRequest> {
    let name = conf.network_name.as_deref().unwrap_or(&conf.name);
    let slice = conf
        .slice_size
        .map(|_| SliceRequest { pool: name.to_owned(), node: node.unwrap_or_default().to_owned() });
    let pool = |range: &RangeSpec| PoolRequest {
        range: range.clone(),
        network: conf.network_name.clone(),
        overlapping: conf.overlapping,
        slice: slice.clone(),
    };
    conf.ranges.iter().map(pool).collect()
}

impl AllocationRequest {
    /// The order of an attachment.
    pub fn new(
        claimant: Claimant,
        namespace: Option<DnsLabel>,
        pools: Vec<PoolRequest>,
        wanted: &Assignment,
    ) -> Self {
        AllocationRequest { claimant, namespace, pools, wanted: wanted.claims.clone() }
    }
}
