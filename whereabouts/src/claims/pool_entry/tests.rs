use std::net::IpAddr;

use fake_api::Fault;
use serde_json::{Value, json};

use super::*;
use crate::claims::release;
use crate::claims::testing::{CLAIMS, Node, POOL, World, claimant, ip, pool_request, record};
use crate::conf::OverlappingRanges::{self, Protected, Separate};
use crate::crd::ip_pool::CLAIM_NAMES;
use crate::node_state::installation::Writer;
use crate::node_state::record::{Record, Stage};
use crate::pool::held_claim::Claimed;

/// A node without a daemon, in a cluster.
struct Bench {
    world: World,
    node: Node,
}

impl Bench {
    async fn new() -> Self {
        Bench { world: World::new().await, node: Node::new() }
    }

    /// The pool as we left it, with what Whereabouts wrote since.
    fn pool(&self, naming: &str, allocations: Value) {
        self.world.put_pool(json!({ CLAIM_NAMES: naming }), allocations);
    }

    async fn add(
        &self,
        pod: &str,
        container: &str,
        overlapping: OverlappingRanges,
        requested: Option<&str>,
    ) -> Result<Vec<Claimed>, String> {
        let claimant = Claimant { container_id: container.into(), ..claimant(pod) };
        let pool = pool_request("10.0.0.0/29", overlapping);
        self.world.serve(&self.node, claimant, pool, requested.map(ip)).await
    }

    async fn address(&self, pod: &str, overlapping: OverlappingRanges) -> String {
        let held = self.add(pod, pod, overlapping, None).await.unwrap();
        held[0].claim.address.addr().to_string()
    }

    async fn del(&self, container: &str, stage: Stage, claims: &[Claimed]) {
        let record = Record { stage, ..record(container, claims.to_vec()) };
        release::release(&self.world.claims(), &record, Writer::ThisInstallation, &[]).await.unwrap();
    }

    fn entries(&self) -> Value {
        self.world.server.get("ippools", "kube-system", POOL).unwrap()["spec"]["allocations"].clone()
    }

    fn claim_names(&self) -> Vec<String> {
        self.world.server.names(CLAIMS)
    }
}

fn entry(id: &str, podref: &str) -> Value {
    json!({"id": id, "podref": podref, "ifname": "net1"})
}

/// From Whereabouts to us, back, and to us again: the leader has not adopted yet.
#[tokio::test]
async fn an_address_that_whereabouts_gave_meanwhile_is_not_given_again() {
    for naming in ["pool", "address-and-pool", "address"] {
        let bench = Bench::new().await;
        let theirs =
            json!({"1": entry("x", "default/x"), "2": entry("y", "default/y"), "3": entry("z", "default/z")});
        bench.pool(naming, theirs.clone());
        let address = bench.address("a", Separate).await;
        let key = address.strip_prefix("10.0.0.").unwrap();
        assert!(["4", "5", "6"].contains(&key), "{naming}: {address}");
        let mut expected = theirs;
        expected[key] = json!({"id": "a", "podref": "default/a", "ifname": "net1", "via": "claim:a"});
        assert_eq!(bench.entries(), expected, "{naming}");
        assert_eq!(bench.claim_names().len(), if naming == "address-and-pool" { 2 } else { 1 }, "{naming}");
    }
}

#[tokio::test]
async fn all_addresses_of_whereabouts_cost_one_conflict() {
    let bench = Bench::new().await;
    bench.pool(
        "pool",
        json!({"1": entry("x", "default/x"), "2": entry("y", "default/y"), "3": entry("z", "default/z")}),
    );
    bench.world.server.take_requests();
    bench.address("a", Separate).await;
    let creates =
        bench.world.server.take_requests().iter().filter(|request| request.starts_with("POST")).count();
    assert_eq!(creates, 2);
}

/// In a pool that is named by pool, a network with `true` protects its address from a network with `false` on a node with Whereabouts.
#[tokio::test]
async fn a_request_with_true_writes_the_entry_too_where_claims_are_named_by_pool() {
    let bench = Bench::new().await;
    bench.pool("pool", json!({}));
    let held = bench.add("a", "a", Protected, None).await.unwrap();
    assert_eq!((held[0].claim.entry, held[0].claim.second.is_some()), (Some(1), true));
    let bench = Bench::new().await;
    bench.pool("address", json!({}));
    let held = bench.add("a", "a", Protected, None).await.unwrap();
    assert_eq!((held[0].claim.entry, bench.entries()), (None, json!({})), "the leader writes it");
}

#[tokio::test]
async fn del_removes_claim_and_entry_and_leaves_those_of_others() {
    let bench = Bench::new().await;
    bench.pool("pool", json!({"5": entry("z", "default/z")}));
    let (one, two) = (
        bench.add("a", "a", Separate, None).await.unwrap(),
        bench.add("b", "b", Separate, None).await.unwrap(),
    );
    bench.del("a", Stage::Held, &one).await;
    assert_eq!(bench.entries().as_object().unwrap().keys().collect::<Vec<_>>(), ["5", "2"]);
    assert_eq!(bench.claim_names(), ["10.0.0.0-29-10.0.0.2"]);
    bench.del("a", Stage::Held, &one).await;
    // The ADD was killed before it wrote its claims into the record.
    bench.del("b", Stage::Claiming, &[]).await;
    assert_eq!(bench.entries(), json!({"5": entry("z", "default/z")}));
    assert_eq!(bench.claim_names(), Vec::<String>::new());
    // Whereabouts gave the address again before the second DEL.
    bench.pool("pool", json!({"2": entry("y", "default/y")}));
    bench.del("b", Stage::Held, &two).await;
    assert_eq!(bench.entries(), json!({"2": entry("y", "default/y")}));
}

#[tokio::test]
async fn the_next_sandbox_of_a_pod_takes_its_entry_over() {
    let bench = Bench::new().await;
    bench.pool("pool", json!({}));
    let first = bench.add("a", "sandbox-1", Separate, None).await.unwrap();
    let next = bench.add("a", "sandbox-2", Separate, None).await.unwrap();
    assert_eq!(first[0].claim.address, next[0].claim.address);
    assert_eq!(bench.entries()["1"]["id"], "sandbox-2");
    bench.del("sandbox-1", Stage::Held, &first).await;
    assert_eq!(bench.entries()["1"]["id"], "sandbox-2", "the late DEL of the first sandbox");
    bench.del("sandbox-2", Stage::Held, &next).await;
    assert_eq!((bench.entries(), bench.claim_names()), (json!({}), Vec::new()));
}

/// Found by the simulation: the claim is older than a return to Whereabouts, which gave the address to another pod.
#[tokio::test]
async fn a_claim_of_the_pods_earlier_sandbox_does_not_count_where_another_pod_has_the_entry() {
    for (naming, setting) in [("address", Separate), ("pool", Separate), ("address-and-pool", Protected)] {
        let bench = Bench::new().await;
        bench.pool(naming, json!({}));
        let earlier = bench.add("a", "sandbox-1", setting, None).await.unwrap();
        assert_eq!(earlier[0].claim.address.addr().to_string(), "10.0.0.1");
        bench.pool(naming, json!({"1": entry("x", "default/x")}));
        let next = bench.add("a", "sandbox-2", setting, None).await.unwrap();
        assert_ne!(next[0].claim.address, earlier[0].claim.address, "{naming}");
        assert_eq!(bench.entries()["1"]["podref"], "default/x", "{naming}");
        let of_first = bench.claim_names().into_iter().filter(|name| name.ends_with("10.0.0.1")).count();
        assert_eq!(of_first, 0, "the void claim is deleted");
    }
}

#[tokio::test]
async fn a_requested_address_with_an_entry_of_another_pod_is_refused_with_its_name() {
    let bench = Bench::new().await;
    bench.pool("pool", json!({"2": entry("x", "default/theirs")}));
    let error = bench.add("a", "a", Separate, Some("10.0.0.2")).await.unwrap_err();
    assert!(error.contains("10.0.0.2") && error.contains("default/theirs"), "{error}");
    assert_eq!(bench.claim_names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_pool_full_of_entries_is_full_and_names_the_pods() {
    let bench = Bench::new().await;
    let theirs = |n: usize| (n.to_string(), entry("x", &format!("default/p{n}")));
    bench.pool("pool", (1..=6).map(theirs).collect());
    let error = bench.add("a", "a", Separate, None).await.unwrap_err();
    assert!(error.contains("default/p6"), "{error}");
    assert_eq!(bench.claim_names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_pool_that_shows_counts_only_gets_no_entry() {
    let bench = Bench::new().await;
    let annotations =
        json!({"whereabouts.multus-rs/claim-names": "pool", "whereabouts.multus-rs/entries": "counts-only"});
    let pool = json!({"metadata": {"annotations": annotations}, "spec": {"range": "10.0.0.0/29", "allocations": {}}});
    bench.world.server.put("ippools", "kube-system", POOL, pool);
    let held = bench.add("a", "a", Separate, None).await.unwrap();
    assert_eq!((held[0].claim.entry, bench.entries()), (None, json!({})));
}

#[test]
fn an_entry_without_an_interface_is_own_only_by_its_container() {
    let claimant = claimant("c");
    let entry = |id: &str, podref: &str, ifname: &str| Allocation {
        id: id.into(),
        podref: podref.into(),
        ifname: ifname.into(),
        via: None,
    };
    let without_uid = Claimant { pod_uid: None, ..claimant.clone() };
    let table = [
        // entry, whether it is the caller's, and without a pod UID
        (entry("c", "default/c", "net1"), true, true),
        (entry("old", "default/c", "net1"), true, false),
        (entry("c", "default/c", ""), true, true),
        (entry("old", "default/c", ""), false, false),
        (entry("c", "default/c", "net2"), false, false),
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

/// For example by an admission policy, which answers with 422 as a failed test does.
#[tokio::test]
async fn an_entry_that_the_api_server_refuses_is_an_error_after_a_few_tries() {
    let bench = Bench::new().await;
    bench.pool("pool", json!({}));
    bench.world.server.fail_next("PATCH", POOL, &[Fault::Status(422); 100]);
    bench.world.server.take_requests();
    assert!(bench.add("a", "a", Separate, None).await.unwrap_err().contains("422"));
    let requests = bench.world.server.take_requests();
    let patches = requests.iter().filter(|request| request.starts_with("PATCH")).count();
    assert!(patches < 20, "{patches}");
}

#[tokio::test]
async fn an_entry_that_the_leader_wrote_first_is_the_callers() {
    let bench = Bench::new().await;
    let pool = Pool::of(&pool_request("10.0.0.0/29", Separate), None).unwrap();
    // Between the claim and the entry, the leader wrote the entry.
    bench.pool("pool", json!({"1": entry("a", "default/a"), "2": entry("x", "default/x")}));
    bench.world.server.take_requests();
    let written = bench.world.claims().write_entry(&pool, &claimant("a"), ip("10.0.0.1"), 1).await.unwrap();
    assert_eq!(written, EntryWrite::Written);
    assert_eq!(
        bench.world.server.take_requests(),
        [format!("PATCH {POOL}"), format!("GET {POOL}")],
        "it is not written again"
    );
}

#[tokio::test]
async fn a_conflict_with_other_writers_is_tried_again_and_an_object_that_is_too_large_gets_no_entry() {
    let bench = Bench::new().await;
    bench.pool("pool", json!({}));
    bench.world.server.fail_next("PATCH", POOL, &[Fault::Status(409), Fault::Status(409)]);
    let held = bench.add("a", "a", Separate, None).await.unwrap();
    assert_eq!((held[0].claim.entry, bench.entries()["1"]["podref"].as_str()), (Some(1), Some("default/a")));
    // The API server's own limit, etcd's, and that of the connection between the two.
    let too_large: [&'static [Fault]; 3] = [
        &[Fault::Status(413)],
        &[Fault::Message(500, "etcdserver: request is too large")],
        &[Fault::Message(500, "trying to send message larger than max (2200000 vs. 2097152)")],
    ];
    for (n, fault) in too_large.into_iter().enumerate() {
        bench.world.server.fail_next("PATCH", POOL, fault);
        let pod = format!("b{n}");
        let held = bench.add(&pod, &pod, Separate, None).await.unwrap();
        assert_eq!((held[0].claim.entry, bench.entries().as_object().unwrap().len()), (None, 1), "{fault:?}");
    }
    bench.world.server.fail_next("PATCH", POOL, &[Fault::Status(500)]);
    let held = bench.add("c", "c", Separate, None).await.unwrap();
    assert!(held[0].claim.entry.is_some(), "any other failure is tried again");
}

/// Two nodes of ours and Whereabouts write entries of one pool at the same time.
#[tokio::test]
async fn writers_of_other_entries_do_not_disturb() {
    let bench = Bench::new().await;
    bench.pool("pool", json!({}));
    let adds = (0..5).map(|n| {
        let bench = &bench;
        async move {
            let pod = format!("p{n}");
            bench.address(&pod, Separate).await.parse::<IpAddr>().unwrap()
        }
    });
    let mut addresses = futures::future::join_all(adds).await;
    addresses.sort();
    addresses.dedup();
    assert_eq!((addresses.len(), bench.entries().as_object().unwrap().len()), (5, 5));
}
