//! Networks, pools and pods: more than enough addresses in some pools, exactly enough in one.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Map, json};
use whereabouts::conf::OverlappingRanges;
use whereabouts::conf::request::Claim;
use whereabouts::order::PoolOrder;
use whereabouts::range::RangeSpec;
use whereabouts::record::HeldClaim;

use crate::sim::history::{Event, Held, History, PodId};
use crate::sim::server::Server;

/// Where claims and pools are.
pub const NAMESPACE: &str = "kube-system";

/// The interface that the pods get.
pub const INTERFACE: &str = "net1";

/// The claims' kind.
pub const CLAIMS: &str = "overlappingrangeipreservations.whereabouts.cni.cncf.io";

const DEFINITIONS: &str = "network-attachment-definitions.k8s.cni.cncf.io";

const POOLS: &str = "ippools.whereabouts.cni.cncf.io";

/// How the names of the claims begin that are of the pool with exactly as many addresses as there are pods for it.
pub const FULL: &str = "10.1.0.";

/// The pool that Whereabouts had filled.
const OLD_POOL: &str = "10.3.0.0-26";

/// Networks and pods.
pub struct Layout {
    /// The pods, or rather their places: one after the other is in each.
    pub slots: Vec<Slot>,
    /// So many pods of the old network run when the run begins.
    old_pods: usize,
}

/// How large a world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// A few nodes and pods, which get in each other's way the same: most seeds.
    Small,
    /// 8 nodes and 64 pods.
    Large,
}

/// A place for pods.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Its number.
    pub index: usize,
    /// What its pods ask for.
    pub network: Network,
    /// What their names are like.
    pub identity: Identity,
    /// What the runtime tells plugins about their UID.
    pub uid: UidOf,
}

/// Whether the next pod of a slot has the name of the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// No: a Deployment's.
    New,
    /// Yes: a StatefulSet's.
    Same,
}

/// What the runtime tells plugins about a pod's UID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UidOf {
    /// Its object's.
    Object,
    /// A static pod's, which its object has in an annotation.
    Node,
    /// Nothing.
    Nobody,
}

/// What a pod asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// As many addresses as pods.
    Full,
    /// A range.
    Low,
    /// A range that is a part of the other's.
    High,
    /// A range that Whereabouts had filled, which stands for itself.
    Old,
    /// Two ranges: all or nothing.
    Both,
}

impl Size {
    /// Every eighth world is a large one.
    pub fn of(rng: &mut fastrand::Rng) -> Self {
        if rng.u8(..8) == 0 { Size::Large } else { Size::Small }
    }

    /// How many nodes there are.
    pub fn nodes(self, rng: &mut fastrand::Rng) -> usize {
        match self {
            Size::Small => rng.usize(3..=4),
            Size::Large => 8,
        }
    }

    /// Places for pods of each network: Full, Both, Low, High, Old.
    const fn places(self) -> [usize; 5] {
        match self {
            Size::Small => [4, 2, 2, 3, 4],
            Size::Large => [16, 4, 14, 16, 14],
        }
    }

    /// Fewer ADDs and DELs prove nothing.
    pub const fn least(self) -> usize {
        match self {
            Size::Small => 80,
            Size::Large => 400,
        }
    }
}

impl Layout {
    /// The places of a world.
    pub fn new(size: Size) -> Self {
        let all = [Network::Full, Network::Both, Network::Low, Network::High, Network::Old];
        let networks = all.into_iter().zip(size.places());
        let networks = networks.into_iter().flat_map(|(network, count)| std::iter::repeat_n(network, count));
        let slots = networks.enumerate().map(|(index, network)| Slot {
            index,
            network,
            identity: if index % 3 == 0 { Identity::Same } else { Identity::New },
            uid: match index % 16 {
                3 => UidOf::Node,
                5 => UidOf::Nobody,
                _ => UidOf::Object,
            },
        });
        let old_pods = size.places()[4].div_ceil(2);
        Layout { slots: slots.collect(), old_pods }
    }

    /// How many addresses the pool has that is exactly full.
    fn full(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot.network, Network::Full | Network::Both)).count()
    }

    /// The pools that a network's pods order addresses of.
    pub fn pools(&self, network: Network) -> Vec<PoolOrder> {
        let pool = |range: &str, overlapping| {
            let range = RangeSpec::parse(range, None, None, Vec::new()).unwrap();
            PoolOrder { range, network: None, overlapping, slice: None }
        };
        let full = || pool(&format!("{FULL}10-{FULL}{}/24", 9 + self.full()), OverlappingRanges::Protected);
        let low = || pool("10.2.0.0/26", OverlappingRanges::Protected);
        match network {
            Network::Full => vec![full()],
            Network::Low => vec![low()],
            Network::High => vec![pool("10.2.0.32/27", OverlappingRanges::Protected)],
            Network::Old => vec![pool("10.3.0.0/26", OverlappingRanges::Separate)],
            Network::Both => vec![full(), low()],
        }
    }

    /// One address of each pool.
    pub fn wanted(&self, network: Network) -> Vec<Claim> {
        (0..self.pools(network).len()).map(|range| Claim { range, wish: None }).collect()
    }

    /// What Whereabouts, and people, left behind before the run.
    pub fn prepare(&self, server: &Server, history: &History) {
        let mut entries = Map::new();
        let old = self.slots.iter().filter(|slot| slot.network == Network::Old).take(self.old_pods);
        // Not the lowest: what is given next is next to it.
        for (slot, offset) in old.zip(2_u8..) {
            let (pod, container) = old_pod(slot.index, server, history);
            let claim = format!("{OLD_POOL}-10.3.0.{offset}");
            let ip = IpAddr::V4(Ipv4Addr::new(10, 3, 0, offset));
            let held = vec![Held { scope: OLD_POOL.to_owned(), ip, claim }];
            entries.insert(offset.to_string(), entry(&container, &pod.podref));
            history.note(Event::Found { container, pod, held });
        }
        for dead in 40..43 {
            entries.insert(dead.to_string(), entry(&format!("dead{dead}"), &format!("default/dead-{dead}")));
        }
        let pool = json!({
            "apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "IPPool", "metadata": { "name": OLD_POOL },
            "spec": { "range": "10.3.0.0/26", "allocations": entries },
        });
        server.with(|store| store.create(POOLS, NAMESPACE, pool)).unwrap();
        self.define(server);
        // Somebody keeps an address for a printer.
        let reserved = json!({
            "apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "OverlappingRangeIPReservation",
            "metadata": { "name": "10.2.0.3" }, "spec": { "podref": "" },
        });
        server.with(|store| store.create(CLAIMS, NAMESPACE, reserved)).unwrap();
    }
}

impl Layout {
    /// The networks' definitions, from which the leader learns how claims are named.
    fn define(&self, server: &Server) {
        for network in [Network::Full, Network::Low, Network::High, Network::Old, Network::Both] {
            let pools = self.pools(network);
            let ranges: Vec<_> = pools.iter().map(range).collect();
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

/// A range as a configuration has it.
fn range(pool: &PoolOrder) -> serde_json::Value {
    let RangeSpec { net, start, end, .. } = &pool.range;
    json!({ "range": net, "range_start": start, "range_end": end })
}

impl Slot {
    /// The pod that this slot has when the run begins, and its container.
    pub fn found(&self, server: &Server) -> Option<(PodId, String)> {
        if self.network != Network::Old {
            return None;
        }
        let name = format!("old-{}", self.index);
        let key = crate::sim::api::store::Key::new("pods", "default", &name);
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
    history.note(Event::PodMade(pod.clone()));
    (pod, container(index))
}

fn entry(container: &str, podref: &str) -> serde_json::Value {
    json!({ "id": container, "podref": podref, "ifname": INTERFACE })
}

/// What the judge must know of a claim that was given.
pub fn held(claim: &HeldClaim) -> Held {
    let scope = if claim.pool == OLD_POOL { OLD_POOL } else { "shared" };
    Held { scope: scope.to_owned(), ip: claim.address.addr(), claim: claim.name.to_string() }
}
