//! What an attachment asks for, as values: everything that is needed to claim its addresses, read from its configuration and its arguments
//! beforehand. Whoever has an order can serve it, the plugin itself or the node's daemon.

use cni::args::CniArgs;
use node::names::DnsLabel;
use serde::{Deserialize, Serialize};

use crate::conf::request::{Assignment, Claim};
use crate::conf::{Conf, OverlappingRanges};
use crate::objects::ReservationSpec;
use crate::range::RangeSpec;

/// The addresses that one attachment asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Who they are for.
    pub who: Who,
    /// Where the claims are; `None` where no credentials name a namespace.
    pub namespace: Option<DnsLabel>,
    /// The pools, one a range.
    pub pools: Vec<PoolOrder>,
    /// At least one for each pool.
    pub wanted: Vec<Claim>,
}

/// Who claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
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
pub struct PoolOrder {
    /// Its addresses; those of all slices together where it is cut into them.
    pub range: RangeSpec,
    /// Networks with different names may use the same addresses.
    pub network: Option<String>,
    /// May other pools give out the same address?
    pub overlapping: OverlappingRanges,
    /// The part of the range that it is to be, instead of the whole.
    pub slice: Option<SliceOrder>,
}

/// A node's slice of a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceOrder {
    /// The name of the NodeSlicePool, as configured.
    pub pool: String,
    /// The node.
    pub node: String,
}

impl Who {
    /// Pod, interface and container, as a claim says them.
    pub fn spec(&self) -> ReservationSpec {
        ReservationSpec {
            podref: self.podref.clone(),
            ifname: self.if_name.clone(),
            containerid: self.container_id.clone(),
        }
    }
}

/// The pod that `CNI_ARGS` names, as `namespace/name`, and its UID; `None` where it names none.
pub fn pod(args: &CniArgs) -> Option<(String, Option<String>)> {
    let text = |key: &str| args.get(key).filter(|value| !value.is_empty());
    let name = text("K8S_POD_NAME")?;
    let namespace = args.get("K8S_POD_NAMESPACE").unwrap_or_default();
    Some((format!("{namespace}/{name}"), text("K8S_POD_UID").map(str::to_owned)))
}

/// The pools of a network, on a node whose name is `node`; it must be known where the ranges are cut into slices.
pub fn pools(conf: &Conf, node: Option<&str>) -> Vec<PoolOrder> {
    let name = conf.network_name.as_deref().unwrap_or(&conf.name);
    let slice = conf
        .slice_size
        .map(|_| SliceOrder { pool: name.to_owned(), node: node.unwrap_or_default().to_owned() });
    let pool = |range: &RangeSpec| PoolOrder {
        range: range.clone(),
        network: conf.network_name.clone(),
        overlapping: conf.overlapping,
        slice: slice.clone(),
    };
    conf.ranges.iter().map(pool).collect()
}

impl Order {
    /// The order of an attachment.
    pub fn new(who: Who, namespace: Option<DnsLabel>, pools: Vec<PoolOrder>, wanted: &Assignment) -> Self {
        Order { who, namespace, pools, wanted: wanted.claims.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pod_is_named_by_the_args() {
        let args = CniArgs::parse("K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;K8S_POD_UID=u").unwrap();
        assert_eq!(pod(&args), Some(("a/b".to_owned(), Some("u".to_owned()))));
        assert_eq!(pod(&CniArgs::default()), None);
    }
}
