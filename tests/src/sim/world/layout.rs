//! Networks, pools and pods: more than enough addresses in some pools, exactly enough in one.

use std::net::{IpAddr, Ipv4Addr};

use k8s_openapi::jiff::SignedDuration;
use serde_json::{Map, Value, json};
use whereabouts::addr::range::RangeSpec;
use whereabouts::conf::OverlappingRanges;
use whereabouts::conf::request::Claim;
use whereabouts::crd::ip_pool::SEPARATE_SINCE;
use whereabouts::crd::ip_pool::rfc3339_seconds;
use whereabouts::pool::claim_names::SETTLING;
use whereabouts::pool::held_claim::HeldClaim;
use whereabouts::pool::request::PoolRequest;

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

/// The pool that is ordered from both ways.
const MIXED_POOL: &str = "10.2.0.0-26";

/// Networks and pods.
pub struct Layout {
    /// The pods, or rather their places: one after the other is in each.
    pub slots: Vec<Slot>,
    /// So many pods of the old network run when the run begins.
    old_pods: usize,
    past: Past,
}

/// Since when the pools that are ordered from both ways say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Past {
    /// They do not.
    None,
    /// Since so many seconds of the time of day before the run: it settles while pods come and go.
    Recent(i64),
    /// Long since.
    Long,
}

impl Past {
    fn of(rng: &mut fastrand::Rng) -> Self {
        match rng.u8(..4) {
            0 | 1 => Past::None,
            2 => Past::Recent(rng.i64(0..SETTLING)),
            _ => Past::Long,
        }
    }

    /// What a pool's object says at the beginning.
    fn annotations(self) -> Map<String, Value> {
        let ago = match self {
            Past::None => return Map::new(),
            Past::Recent(ago) => ago,
            Past::Long => 2 * SETTLING,
        };
        let since = rfc3339_seconds(node::clock::now() - SignedDuration::from_secs(ago));
        Map::from_iter([(SEPARATE_SINCE.to_owned(), json!(since))])
    }
}

/// How large a world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// A few nodes and pods, which get in each other's way the same: most seeds.
    Small,
    /// 8 nodes and 60 pods.
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
    /// The range of [`Network::Low`] too, which some pods order as one that stands for itself, and a toggled network now so, now so.
    Mixed,
    /// A range that Whereabouts had filled, which stands for itself, most of the time.
    Old,
    /// Two ranges: all or nothing.
    Both,
}

const NETWORKS: [Network; 6] =
    [Network::Full, Network::Both, Network::Low, Network::High, Network::Mixed, Network::Old];

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

    /// Places for pods of each network: Full, Both, Low, High, Mixed, Old.
    const fn places(self) -> [usize; 6] {
        match self {
            Size::Small => [4, 2, 1, 2, 3, 4],
            Size::Large => [16, 4, 8, 10, 12, 10],
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
    pub fn new(size: Size, rng: &mut fastrand::Rng) -> Self {
        let networks = NETWORKS.into_iter().zip(size.places());
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
        let old_pods = size.places()[5].div_ceil(2);
        Layout { slots: slots.collect(), old_pods, past: Past::of(rng) }
    }

    /// How many addresses the pool has that is exactly full.
    fn full(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot.network, Network::Full | Network::Both)).count()
    }

    /// The pools that a network's pods order addresses of.
    pub fn pools(&self, network: Network) -> Vec<PoolRequest> {
        let pool = |range: &str, overlapping| {
            let range = RangeSpec::parse(range, None, None, Vec::new()).unwrap();
            PoolRequest { range, network: None, overlapping, slice: None }
        };
        let full = || pool(&format!("{FULL}10-{FULL}{}/24", 9 + self.full()), OverlappingRanges::Protected);
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

    /// The same, of a network that is toggled from one sandbox to the next.
    pub fn toggled(&self, network: Network, rng: &mut fastrand::Rng) -> Vec<PoolRequest> {
        let mut pools = self.pools(network);
        let is_shared = match network {
            Network::Mixed => rng.bool(),
            Network::Old => rng.u8(..4) == 0,
            Network::Full | Network::Low | Network::High | Network::Both => return pools,
        };
        if is_shared {
            pools.iter_mut().for_each(|pool| pool.overlapping = OverlappingRanges::Protected);
        }
        pools
    }

    /// One address of each pool.
    pub fn wanted(&self, network: Network) -> Vec<Claim> {
        (0..self.pools(network).len()).map(|range| Claim { range, requested: None }).collect()
    }

    /// What Whereabouts, and people, left behind before the run.
    pub fn prepare(&self, server: &Server, history: &History) {
        let mut entries = Map::new();
        let old = self.slots.iter().filter(|slot| slot.network == Network::Old).take(self.old_pods);
        // Not the lowest: what is given next is next to it.
        for (slot, offset) in old.zip(2_u8..) {
            let (pod, container) = old_pod(slot.index, server, history);
            let ip = IpAddr::V4(Ipv4Addr::new(10, 3, 0, offset));
            entries.insert(offset.to_string(), entry(&container, &pod.podref));
            history.note(Event::Found { container, pod, scope: OLD_POOL.to_owned(), ip });
        }
        for dead in 40..43 {
            entries.insert(dead.to_string(), entry(&format!("dead{dead}"), &format!("default/dead-{dead}")));
        }
        let pool = json!({
            "apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "IPPool",
            "metadata": { "name": OLD_POOL, "annotations": self.past.annotations() },
            "spec": { "range": "10.3.0.0/26", "allocations": entries },
        });
        server.with(|store| store.create(POOLS, NAMESPACE, pool)).unwrap();
        if self.past != Past::None {
            let pool = json!({
                "apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "IPPool",
                "metadata": { "name": MIXED_POOL, "annotations": self.past.annotations() },
                "spec": { "range": "10.2.0.0/26", "allocations": {} },
            });
            server.with(|store| store.create(POOLS, NAMESPACE, pool)).unwrap();
        }
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
        for network in NETWORKS {
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
fn range(pool: &PoolRequest) -> serde_json::Value {
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
    history.note(Event::PodMade(pod.clone()));
    (pod, container(index))
}

fn entry(container: &str, podref: &str) -> serde_json::Value {
    json!({ "id": container, "podref": podref, "ifname": INTERFACE })
}

/// What the judge must know of a claim that was given. Whatever a claim is called, no other of its pool may have the address; one that is
/// called after the address keeps those of all pools off.
pub fn held(claim: &HeldClaim) -> Held {
    let ip = claim.address.addr();
    let mut scopes = vec![claim.pool.clone()];
    if claim.name.as_str() == ip.to_string() {
        scopes.push("shared".to_owned());
    }
    Held { scopes, ip, claim: claim.name.to_string() }
}
