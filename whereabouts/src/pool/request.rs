//! Allocation requests: everything that is needed to claim the addresses of an attachment. The plugin makes one from its configuration and
//! arguments; the daemon or the plugin itself serves it. The types are part of the RPC between the two.

use node::names::DnsLabel;
use serde::{Deserialize, Serialize};

use crate::addr::range::RangeSpec;
use crate::conf::request::{Assignment, Claim};
use crate::conf::{Conf, OverlappingRanges, StaticAddress};
use crate::crd::reservation::{Reservation, ReservationSpec};

/// A request for the addresses of one attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationRequest {
    /// The interface that claims them.
    pub claimant: Claimant,
    /// The namespace of the claims; `None` for that of the daemon, see [`crate::node_state::namespace`].
    pub namespace: Option<DnsLabel>,
    /// The pools, one for each range.
    pub pools: Vec<PoolRequest>,
    /// The addresses to claim, at least one for each pool.
    pub wanted: Vec<Claim>,
}

/// The interface that claims an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimant {
    /// `namespace/name` of the pod.
    pub podref: String,
    /// Its UID, if the runtime passes it.
    pub pod_uid: Option<String>,
    /// The interface.
    pub if_name: String,
    /// The container.
    pub container_id: String,
    /// The node, if it is known.
    pub node: Option<String>,
}

/// The pool of a range, as requested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRequest {
    /// The whole range, also if it is divided into slices.
    pub range: RangeSpec,
    /// The `network_name`: networks with different ones may use the same addresses.
    pub network: Option<String>,
    /// Whether other pools may allocate the same addresses.
    pub overlapping: OverlappingRanges,
    /// The slice to use, if the range is divided among the nodes.
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
    /// What the claims of this interface have in common, besides its name: the pod, or the container if the caller named no pod UID. A caller
    /// that is no kubelet may name one pod for all its containers, or a pod that does not exist.
    pub fn owner(&self) -> &str {
        if self.pod_uid.is_some() { &self.podref } else { &self.container_id }
    }

    /// Whether a claim is one of this interface, from this call or an earlier one: then the caller may take it over. Without a pod UID, nothing
    /// is taken over from another container.
    pub fn may_take(&self, claim: &Reservation) -> bool {
        let is_same_container = claim.container() == self.container_id;
        let needs_same_container = self.pod_uid.is_none() || claim.is_owned_by_container();
        claim.belongs_to(&self.podref, &self.if_name) && (is_same_container || !needs_same_container)
    }

    /// Pod, interface and container, in the fields of a claim.
    pub fn spec(&self) -> ReservationSpec {
        ReservationSpec {
            podref: self.podref.clone(),
            ifname: self.if_name.clone(),
            containerid: self.container_id.clone(),
        }
    }
}

/// The pools of a network on node `node`. The caller must know the node if the ranges are divided into slices.
pub fn pools(conf: &Conf, node: Option<&str>) -> Vec<PoolRequest> {
    // The name of the NodeSlicePool, as Whereabouts forms it.
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

/// The pools of addresses that a pod requests outside the network's ranges: one for the subnet of each. Their claims have the shared name,
/// whatever the network says about overlapping ranges: nobody else's address may be given a second time.
pub fn outside_pools(conf: &Conf, outside: &[StaticAddress]) -> Vec<PoolRequest> {
    let pool = |address: &StaticAddress| PoolRequest {
        range: RangeSpec { net: address.address.trunc(), start: None, end: None, excludes: Vec::new() },
        network: conf.network_name.clone(),
        overlapping: OverlappingRanges::Protected,
        slice: None,
    };
    outside.iter().map(pool).collect()
}

impl AllocationRequest {
    /// The request of an attachment.
    pub fn new(
        claimant: Claimant,
        namespace: Option<DnsLabel>,
        pools: Vec<PoolRequest>,
        wanted: &Assignment,
    ) -> Self {
        AllocationRequest { claimant, namespace, pools, wanted: wanted.claims.clone() }
    }
}
