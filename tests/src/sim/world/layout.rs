//! Slots and pods, and what is there when a run begins. Most pools have spare addresses; one has exactly one for each interface.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Map, Value, json};
use whereabouts::crd::ip_pool::{CLAIM_NAMES, ClaimNaming};

use super::networks::{ELSEWHERE, MIXED_POOL, NAMESPACE, NETWORKS, Network, OLD_POOL, pool_scope};
use super::scenario::Scenario;
use crate::sim::history::{Attachment, Event, HeldAddress, History, PodId};
use crate::sim::server::{CLAIMS, DEFINITIONS, POOLS, Server};

/// The name of the first interface.
pub const NET1: &str = "net1";

/// The name of the second interface, if a pod has two.
pub const NET2: &str = "net2";

/// The slots of a run.
pub struct Layout {
    /// The slots. In each, one pod at a time exists.
    pub slots: Vec<Slot>,
    /// The number of pods of [`Network::Old`] that exist when the run begins.
    old_pods: usize,
    /// How the claims of [`MIXED_POOL`] are named when the run begins, in either namespace; `None` if the first request fixes it.
    mixed_naming: [Option<ClaimNaming>; 2],
}

/// The size of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 3 or 4 nodes and 18 slots. Most seeds, because they run fast and still cause conflicts.
    Small,
    /// 8 nodes and 58 slots.
    Large,
}

/// A place where one pod follows another.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Its index in [`Layout::slots`].
    pub index: usize,
    /// The networks of its pods: of the first interface, and of the second one if there is one.
    networks: (Network, Option<Network>),
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
    const fn slots_per_network(self) -> [usize; 7] {
        match self {
            Size::Small => [4, 2, 1, 2, 3, 4, 2],
            Size::Large => [16, 4, 6, 8, 8, 10, 6],
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
    pub fn new(size: Size, scenario: Scenario, rng: &mut fastrand::Rng) -> Self {
        let networks = NETWORKS.into_iter().zip(size.slots_per_network());
        let networks = networks.into_iter().flat_map(|(network, count)| std::iter::repeat_n(network, count));
        let slots = networks.enumerate().map(|(index, network)| Slot {
            index,
            networks: (network, second_network(index, network, scenario)),
            naming: if index % 3 == 0 { Naming::StatefulSet } else { Naming::Deployment },
            reported_uid: match index % 16 {
                3 => ReportedUid::StaticPod,
                6 => ReportedUid::None,
                _ => ReportedUid::Object,
            },
        });
        let old_pods = size.slots_per_network()[5].div_ceil(2);
        let mut naming = || match rng.u8(..6) {
            0 => Some(ClaimNaming::Address),
            1 => Some(ClaimNaming::Pool),
            2 => Some(ClaimNaming::Both),
            _ => None,
        };
        let mixed_naming = [naming(), naming()];
        Layout { slots: slots.collect(), old_pods, mixed_naming }
    }

    /// The number of addresses in the full pool.
    pub fn full_pool_size(&self) -> usize {
        let networks = self.slots.iter().flat_map(|slot| slot.interfaces());
        networks.filter(|(_, network)| matches!(network, Network::Full | Network::Both)).count()
    }

    /// Creates what Whereabouts, and people, left behind before the run.
    pub fn prepare(&self, server: &Server, history: &History) {
        self.prepare_old_pool(server, history);
        for (namespace, naming) in [NAMESPACE, ELSEWHERE].into_iter().zip(self.mixed_naming) {
            let Some(naming) = naming else { continue };
            let mut pool = ip_pool(MIXED_POOL, "10.2.0.0/26", Map::new());
            pool["metadata"]["annotations"] = json!({ CLAIM_NAMES: naming.text() });
            server.with(|store| store.create(POOLS, namespace, pool)).unwrap();
        }
        for network in NETWORKS {
            let definition = network.definition(self.full_pool_size());
            server.with(|store| store.create(DEFINITIONS, "default", definition)).unwrap();
        }
        // A manual reservation: a claim without a pod.
        let reserved = json!({
            "apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "OverlappingRangeIPReservation",
            "metadata": { "name": "10.2.0.3" }, "spec": { "podref": "" },
        });
        server.with(|store| store.create(CLAIMS, NAMESPACE, reserved)).unwrap();
    }

    fn prepare_old_pool(&self, server: &Server, history: &History) {
        let mut allocations = Map::new();
        let old = self.slots.iter().filter(|slot| slot.networks.0 == Network::Old).take(self.old_pods);
        // Not from the lowest address on, so that the first new addresses are adjacent to these.
        for (slot, offset) in old.zip(2_u8..) {
            let (pod, attachment) = old_pod(slot.index, server, history);
            let ip = IpAddr::V4(Ipv4Addr::new(10, 3, 0, offset));
            allocations.insert(offset.to_string(), allocation(&attachment.container, &pod.podref));
            let scopes = vec![pool_scope(NAMESPACE, OLD_POOL)];
            let addresses = vec![HeldAddress { scopes, ip, claim: String::new() }];
            history.record(Event::UpstreamAttached { attachment, pod, addresses });
        }
        for dead in 40..43 {
            // Allocations of pods that do not exist: the leader must release their claims.
            let entry = allocation(&format!("dead{dead}"), &format!("default/dead-{dead}"));
            allocations.insert(dead.to_string(), entry);
        }
        let pool = ip_pool(OLD_POOL, "10.3.0.0/26", allocations);
        server.with(|store| store.create(POOLS, NAMESPACE, pool)).unwrap();
    }
}

/// An IPPool as Whereabouts makes it.
pub fn ip_pool(name: &str, range: &str, allocations: Map<String, Value>) -> Value {
    json!({
        "apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "IPPool",
        "metadata": { "name": name }, "spec": { "range": range, "allocations": allocations },
    })
}

/// One pod in four has a second interface in the network of the first one, one in eight in another network: but not where Whereabouts' plugin
/// runs, which gives two interfaces of one pod the same address in overlapping pools. The pods that exist when the run begins have one.
const fn second_network(index: usize, first: Network, scenario: Scenario) -> Option<Network> {
    match (index % 8, first, scenario) {
        (_, Network::Old, _) => None,
        (1 | 5, first, _) => Some(first),
        (3, _, Scenario::Ours) => Some(Network::Low),
        _ => None,
    }
}

impl Slot {
    /// The interfaces of its pods, with their networks.
    pub fn interfaces(&self) -> impl Iterator<Item = (&'static str, Network)> + use<> {
        let (first, second) = self.networks;
        std::iter::once((NET1, first)).chain(second.map(|network| (NET2, network)))
    }

    /// The pod that this slot has when the run begins, and its container.
    pub fn initial_pod(&self, server: &Server) -> Option<(PodId, String)> {
        if self.networks.0 != Network::Old {
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

fn old_pod(index: usize, server: &Server, history: &History) -> (PodId, Attachment) {
    let name = format!("old-{index}");
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name } });
    let object = server.with(|store| store.create("pods", "default", pod)).unwrap();
    let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
    let pod = PodId { podref: format!("default/{name}"), uid };
    history.record(Event::PodCreated { pod: pod.clone(), interfaces: vec![NET1.to_owned()] });
    (pod, Attachment { container: container(index), if_name: NET1.to_owned() })
}

fn allocation(container: &str, podref: &str) -> Value {
    json!({ "id": container, "podref": podref, "ifname": NET1 })
}
