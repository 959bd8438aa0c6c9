use std::net::IpAddr;

use fake_api::Fault;
use node::client::ApiClient;
use node::deadline::Deadline;
use node::names::DnsLabel;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::addr::range::RangeSpec;
use crate::claims::allocate::{PriorAttempt, serve};
use crate::claims::release;
use crate::conf::OverlappingRanges::{self, Protected, Separate};
use crate::conf::request::Claim;
use crate::leader::tests::server::Server;
use crate::node_state::hints::{HintStore, NodeHints};
use crate::node_state::record::{Record, Stage};
use crate::pool::held_claim::Claimed;
use crate::pool::request::{AllocationRequest, PoolRequest};

const CLAIMS: &str = "overlappingrangeipreservations";
const POOL: &str = "10.0.0.0-29";

/// A node without a daemon, and its API server.
struct World {
    server: Server,
    api: ApiClient,
    namespace: DnsLabel,
    state: TempDir,
}

impl World {
    async fn new() -> Self {
        let server = Server::default();
        let api = server.client().await;
        let namespace = DnsLabel::new("kube-system").unwrap();
        World { server, api, namespace, state: tempfile::tempdir().unwrap() }
    }

    /// The pool as we left it, with what Whereabouts wrote since.
    fn pool(&self, naming: &str, allocations: Value) {
        let metadata = json!({"annotations": {"whereabouts.multus-rs/claim-names": naming}});
        let pool =
            json!({"metadata": metadata, "spec": {"range": "10.0.0.0/29", "allocations": allocations}});
        self.server.put("ippools", "kube-system", POOL, pool);
    }

    fn claims(&self) -> Claims<'_> {
        let deadline = Deadline::after(Duration::from_secs(20));
        Claims { api: &self.api, namespace: &self.namespace, deadline }
    }

    fn hints(&self) -> HintStore {
        NodeHints::open(self.state.path()).of(&self.namespace)
    }

    async fn add(
        &self,
        pod: &str,
        container: &str,
        overlapping: OverlappingRanges,
        requested: Option<&str>,
    ) -> Result<Vec<Claimed>, String> {
        let range = RangeSpec::parse("10.0.0.0/29", None, None, Vec::new()).unwrap();
        let request = AllocationRequest {
            claimant: Claimant {
                podref: format!("default/{pod}"),
                pod_uid: Some(format!("uid-{pod}")),
                if_name: "net1".into(),
                container_id: container.into(),
                node: None,
            },
            namespace: None,
            pools: vec![PoolRequest { range, network: None, overlapping, slice: None }],
            wanted: vec![Claim { range: 0, requested: requested.map(|ip| ip.parse().unwrap()) }],
        };
        let served = serve(&self.claims(), &request, &self.hints(), PriorAttempt::Absent).await;
        served.map_err(|failure| failure.error.to_string())
    }

    async fn address(&self, pod: &str, overlapping: OverlappingRanges) -> String {
        let held = self.add(pod, pod, overlapping, None).await.unwrap();
        held[0].claim.address.addr().to_string()
    }

    async fn del(&self, container: &str, stage: Stage, claims: &[Claimed]) {
        let record = Record {
            container_id: container.into(),
            if_name: "net1".into(),
            podref: "default/x".into(),
            network: "n".into(),
            kubeconfig: None,
            namespace: None,
            pod_uid: None,
            stage,
            claims: claims.iter().map(|held| held.claim.clone()).collect(),
        };
        release::release(&self.claims(), &record, &[]).await.unwrap();
    }

    fn entries(&self) -> Value {
        self.server.get("ippools", "kube-system", POOL).unwrap()["spec"]["allocations"].clone()
    }

    fn claim_names(&self) -> Vec<String> {
        self.server.names(CLAIMS)
    }
}

fn entry(id: &str, podref: &str) -> Value {
    json!({"id": id, "podref": podref, "ifname": "net1"})
}

/// From Whereabouts to us, back, and to us again: the leader has not adopted yet.
#[tokio::test]
async fn an_address_that_whereabouts_gave_meanwhile_is_not_given_again() {
    for naming in ["pool", "address-and-pool", "address"] {
        let world = World::new().await;
        let theirs =
            json!({"1": entry("x", "default/x"), "2": entry("y", "default/y"), "3": entry("z", "default/z")});
        world.pool(naming, theirs.clone());
        let address = world.address("a", Separate).await;
        let key = address.strip_prefix("10.0.0.").unwrap();
        assert!(["4", "5", "6"].contains(&key), "{naming}: {address}");
        let mut expected = theirs;
        expected[key] = json!({"id": "a", "podref": "default/a", "ifname": "net1", "via": "claim:a"});
        assert_eq!(world.entries(), expected, "{naming}");
        assert_eq!(world.claim_names().len(), if naming == "address-and-pool" { 2 } else { 1 }, "{naming}");
    }
}

#[tokio::test]
async fn all_addresses_of_whereabouts_cost_one_conflict() {
    let world = World::new().await;
    world.pool(
        "pool",
        json!({"1": entry("x", "default/x"), "2": entry("y", "default/y"), "3": entry("z", "default/z")}),
    );
    world.server.take_requests();
    world.address("a", Separate).await;
    let creates = world.server.take_requests().iter().filter(|request| request.starts_with("POST")).count();
    assert_eq!(creates, 2);
}

/// In a pool that is named by pool, a network with `true` protects its address from a network with `false` on a node with Whereabouts.
#[tokio::test]
async fn a_request_with_true_writes_the_entry_too_where_claims_are_named_by_pool() {
    let world = World::new().await;
    world.pool("pool", json!({}));
    let held = world.add("a", "a", Protected, None).await.unwrap();
    assert_eq!((held[0].claim.entry, held[0].claim.second.is_some()), (Some(1), true));
    world.pool("address", json!({}));
    let world = World::new().await;
    world.pool("address", json!({}));
    let held = world.add("a", "a", Protected, None).await.unwrap();
    assert_eq!((held[0].claim.entry, world.entries()), (None, json!({})), "the leader writes it");
}

#[tokio::test]
async fn del_removes_claim_and_entry_and_leaves_those_of_others() {
    let world = World::new().await;
    world.pool("pool", json!({"5": entry("z", "default/z")}));
    let (one, two) = (
        world.add("a", "a", Separate, None).await.unwrap(),
        world.add("b", "b", Separate, None).await.unwrap(),
    );
    world.del("a", Stage::Held, &one).await;
    assert_eq!(world.entries().as_object().unwrap().keys().collect::<Vec<_>>(), ["5", "2"]);
    assert_eq!(world.claim_names(), ["10.0.0.0-29-10.0.0.2"]);
    world.del("a", Stage::Held, &one).await;
    // The ADD was killed before it wrote its claims into the record.
    world.del("b", Stage::Claiming, &[]).await;
    assert_eq!(world.entries(), json!({"5": entry("z", "default/z")}));
    assert_eq!(world.claim_names(), Vec::<String>::new());
    // Whereabouts gave the address again before the second DEL.
    world.pool("pool", json!({"2": entry("y", "default/y")}));
    world.del("b", Stage::Held, &two).await;
    assert_eq!(world.entries(), json!({"2": entry("y", "default/y")}));
}

#[tokio::test]
async fn the_next_sandbox_of_a_pod_takes_its_entry_over() {
    let world = World::new().await;
    world.pool("pool", json!({}));
    let first = world.add("a", "sandbox-1", Separate, None).await.unwrap();
    let next = world.add("a", "sandbox-2", Separate, None).await.unwrap();
    assert_eq!(first[0].claim.address, next[0].claim.address);
    assert_eq!(world.entries()["1"]["id"], "sandbox-2");
    world.del("sandbox-1", Stage::Held, &first).await;
    assert_eq!(world.entries()["1"]["id"], "sandbox-2", "the late DEL of the first sandbox");
    world.del("sandbox-2", Stage::Held, &next).await;
    assert_eq!((world.entries(), world.claim_names()), (json!({}), Vec::new()));
}

/// Found by the simulation: the claim is older than a return to Whereabouts, which gave the address to another pod.
#[tokio::test]
async fn a_claim_of_the_pods_earlier_sandbox_does_not_count_where_another_pod_has_the_entry() {
    for (naming, setting) in [("address", Separate), ("pool", Separate), ("address-and-pool", Protected)] {
        let world = World::new().await;
        world.pool(naming, json!({}));
        let earlier = world.add("a", "sandbox-1", setting, None).await.unwrap();
        assert_eq!(earlier[0].claim.address.addr().to_string(), "10.0.0.1");
        world.pool(naming, json!({"1": entry("x", "default/x")}));
        let next = world.add("a", "sandbox-2", setting, None).await.unwrap();
        assert_ne!(next[0].claim.address, earlier[0].claim.address, "{naming}");
        assert_eq!(world.entries()["1"]["podref"], "default/x", "{naming}");
        let of_first = world.claim_names().into_iter().filter(|name| name.ends_with("10.0.0.1")).count();
        assert_eq!(of_first, 0, "the void claim is deleted");
    }
}

#[tokio::test]
async fn a_requested_address_with_an_entry_of_another_pod_is_refused_with_its_name() {
    let world = World::new().await;
    world.pool("pool", json!({"2": entry("x", "default/theirs")}));
    let error = world.add("a", "a", Separate, Some("10.0.0.2")).await.unwrap_err();
    assert!(error.contains("10.0.0.2") && error.contains("default/theirs"), "{error}");
    assert_eq!(world.claim_names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_pool_full_of_entries_is_full_and_names_the_pods() {
    let world = World::new().await;
    let theirs = |n: usize| (n.to_string(), entry("x", &format!("default/p{n}")));
    world.pool("pool", (1..=6).map(theirs).collect());
    let error = world.add("a", "a", Separate, None).await.unwrap_err();
    assert!(error.contains("default/p6"), "{error}");
    assert_eq!(world.claim_names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_pool_that_shows_counts_only_gets_no_entry() {
    let world = World::new().await;
    let annotations =
        json!({"whereabouts.multus-rs/claim-names": "pool", "whereabouts.multus-rs/entries": "counts-only"});
    let pool = json!({"metadata": {"annotations": annotations}, "spec": {"range": "10.0.0.0/29", "allocations": {}}});
    world.server.put("ippools", "kube-system", POOL, pool);
    let held = world.add("a", "a", Separate, None).await.unwrap();
    assert_eq!((held[0].claim.entry, world.entries()), (None, json!({})));
}

#[tokio::test]
async fn an_entry_without_an_interface_is_own_only_by_its_container() {
    let claimant = Claimant {
        podref: "default/a".into(),
        pod_uid: Some("u".into()),
        if_name: "net1".into(),
        container_id: "c".into(),
        node: None,
    };
    let entry = |id: &str, podref: &str, ifname: &str| Allocation {
        id: id.into(),
        podref: podref.into(),
        ifname: ifname.into(),
        via: None,
    };
    let without_uid = Claimant { pod_uid: None, ..claimant.clone() };
    let table = [
        // entry, whether it is the caller's, and without a pod UID
        (entry("c", "default/a", "net1"), true, true),
        (entry("old", "default/a", "net1"), true, false),
        (entry("c", "default/a", ""), true, true),
        (entry("old", "default/a", ""), false, false),
        (entry("c", "default/a", "net2"), false, false),
        (entry("x", "default/b", "net1"), false, false),
    ];
    for (entry, own, own_without_uid) in table {
        assert_eq!(
            (is_own(&entry, &claimant), is_own(&entry, &without_uid)),
            (own, own_without_uid),
            "{entry:?}"
        );
    }
}

#[tokio::test]
async fn an_entry_that_the_leader_wrote_first_is_the_callers() {
    let world = World::new().await;
    let server = world.server.clone();
    let claimant = Claimant {
        podref: "default/a".into(),
        pod_uid: Some("u".into()),
        if_name: "net1".into(),
        container_id: "a".into(),
        node: None,
    };
    let range = RangeSpec::parse("10.0.0.0/29", None, None, Vec::new()).unwrap();
    let request = PoolRequest { range, network: None, overlapping: Separate, slice: None };
    let pool = Pool::of(&request, None).unwrap();
    // Between the claim and the entry, the leader wrote the entry.
    world.pool("pool", json!({"1": entry("a", "default/a"), "2": entry("x", "default/x")}));
    server.take_requests();
    let ip = "10.0.0.1".parse().unwrap();
    let written = world.claims().write_entry(&pool, &claimant, ip, 1).await.unwrap();
    assert_eq!(written, EntryWrite::Written);
    assert_eq!(
        server.take_requests(),
        [format!("PATCH {POOL}"), format!("GET {POOL}")],
        "it is not written again"
    );
}

#[tokio::test]
async fn a_conflict_with_other_writers_is_tried_again_and_an_object_that_is_too_large_gets_no_entry() {
    let world = World::new().await;
    world.pool("pool", json!({}));
    world.server.fail_next("PATCH", POOL, &[Fault::Status(409), Fault::Status(409)]);
    let held = world.add("a", "a", Separate, None).await.unwrap();
    assert_eq!((held[0].claim.entry, world.entries()["1"]["podref"].as_str()), (Some(1), Some("default/a")));
    // The API server's own limit, etcd's, and that of the connection between the two.
    let too_large: [&'static [Fault]; 3] = [
        &[Fault::Status(413)],
        &[Fault::Message(500, "etcdserver: request is too large")],
        &[Fault::Message(500, "trying to send message larger than max (2200000 vs. 2097152)")],
    ];
    for (n, fault) in too_large.into_iter().enumerate() {
        world.server.fail_next("PATCH", POOL, fault);
        let pod = format!("b{n}");
        let held = world.add(&pod, &pod, Separate, None).await.unwrap();
        assert_eq!((held[0].claim.entry, world.entries().as_object().unwrap().len()), (None, 1), "{fault:?}");
    }
    world.server.fail_next("PATCH", POOL, &[Fault::Status(500)]);
    let held = world.add("c", "c", Separate, None).await.unwrap();
    assert!(held[0].claim.entry.is_some(), "any other failure is tried again");
}

/// Two nodes of ours and Whereabouts write entries of one pool at the same time.
#[tokio::test]
async fn writers_of_other_entries_do_not_disturb() {
    let world = World::new().await;
    world.pool("pool", json!({}));
    let adds = (0..5).map(|n| {
        let world = &world;
        async move {
            let pod = format!("p{n}");
            world.address(&pod, Separate).await.parse::<IpAddr>().unwrap()
        }
    });
    let mut addresses = futures::future::join_all(adds).await;
    addresses.sort();
    addresses.dedup();
    assert_eq!((addresses.len(), world.entries().as_object().unwrap().len()), (5, 5));
}
