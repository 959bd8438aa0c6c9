//! Networks, pools and pods. Most pools have spare addresses; one has exactly one for each pod.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Map, json};
use whereabouts::addr::range::RangeSpec;
use whereabouts::conf::OverlappingRanges;
use whereabouts::conf::request::Claim;
use whereabouts::crd::ip_pool::{CLAIM_NAMES, ClaimNaming};
use whereabouts::pool::held_claim::HeldClaim;
use whereabouts::pool::request::PoolRequest;

use crate::sim::history::{Event, HeldAddress, History, PodId};
use crate::sim::server::{CLAIMS, Server};

/// The namespace of claims and pools.
pub const NAMESPACE: &str = "kube-system";

/// The name of the interface that pods get.
pub const INTERFACE: &str = "net1";

const DEFINITIONS: &str = "network-attachment-definitions.k8s.cni.cncf.io";

/// The resource of IPPools: plural and group.
pub const POOLS: &str = "ippools.whereabouts.cni.cncf.io";

/// The prefix of the claim names in the pool with exactly one address for each pod.
pub const FULL_POOL_PREFIX: &str = "10.1.0.";

/// The pool with allocations that Whereabouts made before the run.
const OLD_POOL: &str = "10.3.0.0-26";

/// The pool that networks use both with and without `enable_overlapping_ranges`.
const MIXED_POOL: &str = "10.2.0.0-26";

/// The networks and pods of a run.
pub struct Layout {
    /// The slots. In each, one pod at a time exists.
    pub slots: Vec<Slot>,
    /// The number of pods of [`Network::Old`] that exist when the run begins.
    old_pods: usize,
    /// How the claims of [`MIXED_POOL`] are named when the run begins; `None` if the first request fixes it.
    mixed_naming: Option<ClaimNaming>,
}

/// The size of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 3 or 4 nodes and 16 slots. Most seeds, because they run fast and still cause conflicts.
    Small,
    /// 8 nodes and 60 slots.
    Large,
}

/// A place where one pod follows another.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Its index in [`Layout::slots`].
    pub index: usize,
    /// The network of its pods.
    pub network: Network,
    /// How its pods are named.
    pub naming: Naming,
    /// The UID in the CNI arguments of its pods.
    pub reported_uid: ReportedUid,
}

/// How a controller names the pods of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// Each pod gets a new name, as from a Deployment.
    Deployment,
    /// Each pod has the name of the previous one, as from a StatefulSet.
    StatefulSet,
}

/// The UID that plugins get in `K8S_POD_UID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportedUid {
    /// The UID of the pod's object.
    Object,
    /// That of a static pod: the kubelet's own, which the object has in its `config.mirror` annotation.
    StaticPod,
    /// None.
    None,
}

/// What addresses the pods of a slot request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The pool with exactly one address for each pod.
    Full,
    /// A range.
    Low,
    /// The upper half of the range of [`Network::Low`].
    High,
    /// The range of [`Network::Low`] with `enable_overlapping_ranges: false`. The setting changes at random from one sandbox to the next.
    Mixed,
    /// A range with allocations by Whereabouts, mostly with `enable_overlapping_ranges: false`.
    Old,
    /// Two ranges: a request gets an address of each, or none.
    Both,
}

const NETWORKS: [Network; 6] =
    [Network::Full, Network::Both, Network::Low, Network::High, Network::Mixed, Network::Old];

impl Size {
    /// A random size: one world in eight is large.
    pub fn random(rng: &mut fastrand::Rng) -> Self {
        if rng.u8(..8) == 0 { Size::Large } else { Size::Small }
    }

    /// The number of nodes.
    pub fn nodes(self, rng: &mut fastrand::Rng) -> usize {
        match self {
            Size::Small => rng.usize(3..=4),
            Size::Large => 8,
        }
    }

    /// The slots of each network, in the order of [`NETWORKS`].
    const fn slots_per_network(self) -> [usize; 6] {
        match self {
            Size::Small => [4, 2, 1, 2, 3, 4],
            Size::Large => [16, 4, 8, 10, 12, 10],
        }
    }

    /// The number of ADDs and DELs below which a run proves nothing.
    pub const fn min_operations(self) -> usize {
        match self {
            Size::Small => 80,
            Size::Large => 400,
        }
    }
}

impl Layout {
    /// The layout of a world.
    pub fn new(size: Size, rng: &mut fastrand::Rng) -> Self {
        let networks = NETWORKS.into_iter().zip(size.slots_per_network());
        let networks = networks.into_iter().flat_map(|(network, count)| std::iter::repeat_n(network, count));
        let slots = networks.enumerate().map(|(index, network)| Slot {
            index,
            network,
            naming: if index % 3 == 0 { Naming::StatefulSet } else { Naming::Deployment },
            reported_uid: match index % 16 {
                3 => ReportedUid::StaticPod,
                5 => ReportedUid::None,
                _ => ReportedUid::Object,
            },
        });
        let old_pods = size.slots_per_network()[5].div_ceil(2);
        let mixed_naming = match rng.u8(..6) {
            0 => Some(ClaimNaming::Address),
            1 => Some(ClaimNaming::Pool),
            2 => Some(ClaimNaming::Both),
            _ => None,
        };
        Layout { slots: slots.collect(), old_pods, mixed_naming }
    }

    /// The number of addresses in the full pool.
    fn full_pool_size(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot.network, Network::Full | Network::Both)).count()
    }

    /// The pools of a network.
    pub fn pools(&self, network: Network) -> Vec<PoolRequest> {
        let pool = |range: &str, overlapping| {
            let range = RangeSpec::parse(range, None, None, Vec::new()).unwrap();
            PoolRequest { range, network: None, overlapping, slice: None }
        };
        let full = || {
            pool(
                &format!("{FULL_POOL_PREFIX}10-{FULL_POOL_PREFIX}{}/24", 9 + self.full_pool_size()),
                OverlappingRanges::Protected,
            )
        };
        let low = || pool("10.2.0.0/26", OverlappingRanges::Protected);
        match network {
            Network::Full => vec![full()],
            Network::Low => vec![low()],
            Network::High => vec![pool("10.2.0.32/27", OverlappingRanges::Protected)],
            Network::Old => vec![pool("10.3.0.0/26", OverlappingRanges::Separate)],
            Network::Mixed => vec![pool("10.2.0.0/26", OverlappingRanges::Separate)],
            Network::Both => vec![full(), low()],
        }
    }

    /// The pools of a network for one sandbox, where the network's setting can have changed since the last one.
    pub fn pools_of_sandbox(&self, network: Network, rng: &mut fastrand::Rng) -> Vec<PoolRequest> {
        let mut pools = self.pools(network);
        let is_overlapping = match network {
            Network::Mixed => rng.bool(),
            Network::Old => rng.u8(..4) == 0,
            Network::Full | Network::Low | Network::High | Network::Both => return pools,
        };
        if is_overlapping {
            pools.iter_mut().for_each(|pool| pool.overlapping = OverlappingRanges::Protected);
        }
        pools
    }

    /// One claim for each pool.
    pub fn claims(&self, network: Network) -> Vec<Claim> {
        (0..self.pools(network).len()).map(|range| Claim { range, requested: None }).collect()
    }

    /// Creates what Whereabouts, and people, left behind before the run.
    pub fn prepare(&self, server: &Server, history: &History) {
        let mut allocations = Map::new();
        let old = self.slots.iter().filter(|slot| slot.network == Network::Old).take(self.old_pods);
        // Not from the lowest address on, so that the first new addresses are adjacent to these.
        for (slot, offset) in old.zip(2_u8..) {
            let (pod, container) = old_pod(slot.index, server, history);
            let ip = IpAddr::V4(Ipv4Addr::new(10, 3, 0, offset));
            allocations.insert(offset.to_string(), allocation(&container, &pod.podref));
            history.record(Event::UpstreamAttachment { container, pod, scope: OLD_POOL.to_owned(), ip });
        }
        for dead in 40..43 {
            // Allocations of pods that do not exist: the leader must release their claims.
            allocations.insert(
                dead.to_string(),
                allocation(&format!("dead{dead}"), &format!("default/dead-{dead}")),
            );
        }
        let pool = json!({
            "apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "IPPool",
            "metadata": { "name": OLD_POOL },
            "spec": { "range": "10.3.0.0/26", "allocations": allocations },
        });
        server.with(|store| store.create(POOLS, NAMESPACE, pool)).unwrap();
        if let Some(naming) = self.mixed_naming {
            let pool = json!({
                "apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "IPPool",
                "metadata": { "name": MIXED_POOL, "annotations": { CLAIM_NAMES: naming.text() } },
                "spec": { "range": "10.2.0.0/26", "allocations": {} },
            });
            server.with(|store| store.create(POOLS, NAMESPACE, pool)).unwrap();
        }
        self.create_definitions(server);
        // A manual reservation: a claim without a pod.
        let reserved = json!({
            "apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "OverlappingRangeIPReservation",
            "metadata": { "name": "10.2.0.3" }, "spec": { "podref": "" },
        });
        server.with(|store| store.create(CLAIMS, NAMESPACE, reserved)).unwrap();
    }
}

impl Layout {
    /// Creates the network definitions, from which the leader learns how the claims of each pool are named.
    fn create_definitions(&self, server: &Server) {
        for network in NETWORKS {
            let pools = self.pools(network);
            let ranges: Vec<_> = pools.iter().map(range_config).collect();
            let shared = pools.iter().all(|pool| pool.overlapping == OverlappingRanges::Protected);
            let config = json!({
                "cniVersion": "1.0.0", "name": "simulated", "type": "macvlan",
                "ipam": { "type": "whereabouts", "ipRanges": ranges, "enable_overlapping_ranges": shared },
            });
            let definition = json!({
                "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
                "metadata": { "name": format!("{network:?}").to_lowercase() },
                "spec": { "config": config.to_string() },
            });
            server.with(|store| store.create(DEFINITIONS, "default", definition)).unwrap();
        }
    }
}

/// A range in the form of a network's configuration.
fn range_config(pool: &PoolRequest) -> serde_json::Value {
    let RangeSpec { net, start, end, .. } = &pool.range;
    json!({ "range": net, "range_start": start, "range_end": end })
}

impl Slot {
    /// The pod that this slot has when the run begins, and its container.
    pub fn initial_pod(&self, server: &Server) -> Option<(PodId, String)> {
        if self.network != Network::Old {
            return None;
        }
        let name = format!("old-{}", self.index);
        let key = fake_api::Key::new("pods", "default", &name);
        let object = server.with(|store| store.get(&key)).ok()?;
        let uid = object["metadata"]["uid"].as_str()?.to_owned();
        Some((PodId { podref: format!("default/{name}"), uid }, container(self.index)))
    }
}

fn container(index: usize) -> String {
    format!("0ld{index:061}")
}

fn old_pod(index: usize, server: &Server, history: &History) -> (PodId, String) {
    let name = format!("old-{index}");
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name } });
    let object = server.with(|store| store.create("pods", "default", pod)).unwrap();
    let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
    let pod = PodId { podref: format!("default/{name}"), uid };
    history.record(Event::PodCreated(pod.clone()));
    (pod, container(index))
}

fn allocation(container: &str, podref: &str) -> serde_json::Value {
    json!({ "id": container, "podref": podref, "ifname": INTERFACE })
}

/// An allocated address, as the checker needs it: one item for each claim. No two claims of one pool may have the same address, whatever their
/// names. A claim that is named by address alone also excludes the address in all other pools.
pub fn held_addresses(claim: &HeldClaim) -> Vec<HeldAddress> {
    let ip = claim.address.addr();
    let mut held: Vec<HeldAddress> = Vec::new();
    for (name, _) in claim.objects() {
        let mut scopes = Vec::new();
        if held.is_empty() {
            scopes.push(claim.pool.clone());
        }
        if name.as_str() == ip.to_string() {
            scopes.push("shared".to_owned());
        }
        held.push(HeldAddress { scopes, ip, claim: name.to_string() });
    }
    held
}
