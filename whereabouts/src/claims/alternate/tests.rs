use std::net::IpAddr;

use ipnet::IpNet;
use node::deadline::Deadline;
use node::names::DnsLabel;
use serde_json::{Value, json};
use tempfile::TempDir;

use k8s_openapi::jiff::Timestamp;
use node::names::DnsSubdomain;

use super::*;
use crate::conf::OverlappingRanges;
use crate::crd::ip_pool::{SeparateUse, rfc3339_seconds};
use crate::pool::claim_names::SETTLING;

use crate::addr::range::RangeSpec;
use crate::claims::adopt;
use crate::claims::allocate;
use crate::claims::allocate::PriorAttempt;
use crate::conf::OverlappingRanges::{Protected, Separate};
use crate::conf::request::Claim;
use crate::crd::ip_pool::SEPARATE_SINCE;
use crate::crd::reservation::{ReservationOwner, ReservationSpec};
use crate::leader::tests::server::Server;
use crate::node_state::hints::{HintStore, NodeHints};
use crate::node_state::record::{Record, Stage};
use crate::pool::held_claim::Claimed;
use crate::pool::request::{AllocationRequest, PoolRequest};

const CLAIMS: &str = "overlappingrangeipreservations";
const POOL: &str = "10.0.0.0-29";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn claimant(pod: &str, container: &str) -> Claimant {
    Claimant {
        podref: format!("default/{pod}"),
        pod_uid: None,
        if_name: "net1".into(),
        container_id: container.into(),
        node: None,
    }
}

/// The pool of a range, for a request of this kind.
fn pool_request(range: &str, overlapping: OverlappingRanges) -> PoolRequest {
    let range = RangeSpec::parse(range, None, None, Vec::new()).unwrap();
    PoolRequest { range, network: None, overlapping, slice: None }
}

fn claim_of(pool: &str, name: &str, pod: &str) -> Reservation {
    let spec =
        ReservationSpec { podref: format!("default/{pod}"), ifname: "net1".into(), containerid: pod.into() };
    let range: IpNet = "10.0.0.0/29".parse().unwrap();
    Reservation::new(name, ReservationOwner { pool, range, pod_uid: None, node: None, spec })
}

/// A cluster of nodes without daemons.
struct World {
    server: Server,
    api: node::client::ApiClient,
    namespace: DnsLabel,
    range: &'static str,
}

/// The state folder of a node.
struct Node(TempDir);

impl Node {
    fn new() -> Self {
        Node(tempfile::tempdir().unwrap())
    }

    fn hints(&self) -> HintStore {
        NodeHints::open(self.0.path()).of(&DnsLabel::new("kube-system").unwrap())
    }
}

impl World {
    async fn new() -> Self {
        let server = Server::default();
        let api = server.client().await;
        World { server, api, namespace: DnsLabel::new("kube-system").unwrap(), range: "10.0.0.0/29" }
    }

    fn claims(&self) -> Claims<'_> {
        let deadline = Deadline::after(std::time::Duration::from_secs(20));
        Claims { api: &self.api, namespace: &self.namespace, deadline }
    }

    /// Creates the pool's object, which says that it has been used separately for `seconds`. Returns the time in it.
    fn separate_for(&self, seconds: i64) -> String {
        let since =
            rfc3339_seconds(node::clock::now() - k8s_openapi::jiff::SignedDuration::from_secs(seconds));
        let annotations = json!({ SEPARATE_SINCE: since, "whereabouts.multus-rs/adopted": "true" });
        let spec = json!({ "range": self.range, "allocations": {} });
        let pool = json!({ "metadata": { "annotations": annotations }, "spec": spec });
        self.server.put("ippools", "kube-system", &self.range.replace('/', "-"), pool);
        since
    }

    fn put(&self, claim: &Reservation) {
        let name = claim.metadata.name.clone().unwrap();
        self.server.put(CLAIMS, "kube-system", &name, serde_json::to_value(claim).unwrap());
    }

    fn separate_since(&self) -> Option<String> {
        let pool = self.server.get("ippools", "kube-system", POOL)?;
        pool["metadata"]["annotations"][SEPARATE_SINCE].as_str().map(str::to_owned)
    }

    async fn allocate(
        &self,
        node: &Node,
        claimant: Claimant,
        overlapping: OverlappingRanges,
        requested: Option<IpAddr>,
    ) -> Result<Claimed, String> {
        let pools = vec![pool_request(self.range, overlapping)];
        let request = AllocationRequest {
            claimant,
            namespace: None,
            pools,
            wanted: vec![Claim { range: 0, requested }],
        };
        let hints = node.hints();
        let mut claimed = allocate::serve(&self.claims(), &request, &hints, PriorAttempt::Absent)
            .await
            .map_err(|failure| failure.error.to_string())?;
        Ok(claimed.remove(0))
    }

    /// ADD for a pod whose container has the pod's name. Returns the address and the claim's name.
    async fn add(&self, node: &Node, pod: &str, overlapping: OverlappingRanges) -> (String, String) {
        let claimed = self.allocate(node, claimant(pod, pod), overlapping, None).await.unwrap();
        (claimed.claim.address.addr().to_string(), claimed.claim.name.to_string())
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.server.names(CLAIMS);
        names.sort();
        names
    }
}

#[test]
fn a_claim_belongs_to_the_pool_unless_it_names_another() {
    let pool = Pool::of(&pool_request("10.0.0.0/29", Separate), None).unwrap();
    let holder_of = |claim: Reservation| holder(&pool, &claimant("a", "c"), Some(claim));
    assert_eq!(holder(&pool, &claimant("a", "c"), None), AlternateHolder::Nobody);
    assert_eq!(holder_of(claim_of("10.0.0.0-28", "10.0.0.1", "b")), AlternateHolder::Nobody);
    assert_eq!(holder_of(claim_of("10.0.0.0-28", "10.0.0.1", "a")), AlternateHolder::Nobody);
    assert_eq!(holder_of(claim_of(POOL, "10.0.0.1", "b")), AlternateHolder::OtherPod("default/b".into()));
    let own = claim_of(POOL, "10.0.0.1", "a");
    assert_eq!(holder_of(own.clone()), AlternateHolder::Caller(Box::new(own)));
    let bare = |podref: &str| -> Reservation {
        serde_json::from_value(json!({"metadata": {"name": "10.0.0.1"}, "spec": {"podref": podref}})).unwrap()
    };
    assert_eq!(holder_of(bare("default/b")), AlternateHolder::OtherPod("default/b".into()));
    assert_eq!(holder_of(bare("")), AlternateHolder::OtherPod(String::new()), "reserved by hand");
    assert!(matches!(holder_of(bare("default/a")), AlternateHolder::Caller(_)));
}

#[tokio::test]
async fn a_pool_that_is_only_shared_needs_one_request() {
    let (world, node) = (World::new().await, Node::new());
    world.add(&node, "a", Protected).await;
    assert_eq!(world.server.take_requests(), ["GET 10.0.0.0-29", "POST 10.0.0.1"]);
    world.add(&node, "b", Protected).await;
    assert_eq!(world.server.take_requests(), ["POST 10.0.0.2"]);
    assert_eq!(world.separate_since(), None);
}

#[tokio::test]
async fn the_first_separate_request_records_the_time_and_uses_the_shared_name() {
    let (world, node) = (World::new().await, Node::new());
    world.add(&node, "a", Protected).await;
    // The hint that the pool is only shared is not enough for a separate request.
    assert_eq!(world.add(&node, "b", Separate).await, ("10.0.0.2".into(), "10.0.0.2".into()));
    let since = world.separate_since().unwrap();
    assert!((node::clock::now().as_second() - time(&since).as_second()).abs() < 5, "{since}");
    let pool = world.server.get("ippools", "kube-system", POOL).unwrap();
    assert_eq!(pool["metadata"]["annotations"]["whereabouts.multus-rs/adopted"], "true");
    assert_eq!(pool["spec"], json!({"range": "10.0.0.0/29", "allocations": {}}));
    world.server.take_requests();
    world.add(&node, "c", Protected).await;
    assert_eq!(world.server.take_requests(), ["POST 10.0.0.3", "GET 10.0.0.0-29-10.0.0.3"]);
}

#[tokio::test]
async fn an_earlier_time_stays() {
    let world = World::new().await;
    let name = DnsSubdomain::new(POOL).unwrap();
    let range = "10.0.0.0/29".parse().unwrap();
    let since = world.separate_for(3600);
    world.add(&Node::new(), "a", Separate).await;
    adopt::ensure_separate_since(&world.claims(), &name, range).await.unwrap();
    assert_eq!(world.separate_since(), Some(since));
    // A value that is no time is replaced.
    let mut pool = world.server.get("ippools", "kube-system", POOL).unwrap();
    pool["metadata"]["annotations"][SEPARATE_SINCE] = json!("yes");
    world.server.put("ippools", "kube-system", POOL, pool);
    assert_eq!(world.add(&Node::new(), "b", Separate).await.1, "10.0.0.2", "the settling time begins again");
    let since = world.separate_since().unwrap();
    assert!(since.parse::<Timestamp>().is_ok(), "{since}");
}

#[tokio::test]
async fn concurrent_callers_all_return_the_same_time() {
    let world = World::new().await;
    let (name, range) = (DnsSubdomain::new(POOL).unwrap(), "10.0.0.0/29".parse().unwrap());
    let claims = world.claims();
    let time_in = |metadata: Result<_, _>| crate::crd::ip_pool::separate_use(&metadata.unwrap());
    let ensure = || adopt::ensure_separate_since(&claims, &name, range);
    let (a, b, c) = tokio::join!(ensure(), ensure(), ensure());
    let times = [a, b, c].map(time_in);
    assert_eq!(times, [SeparateUse::of(world.separate_since().as_deref()); 3]);
    assert_eq!(world.server.writes(), 1, "one caller created the object, the others read it");
}

#[tokio::test]
async fn after_a_change_to_separate_no_address_of_a_live_pod_is_allocated() {
    let world = World::new().await;
    let node = Node::new();
    for pod in ["a", "b"] {
        world.add(&node, pod, Protected).await;
    }
    world.separate_for(SETTLING);
    // A node without hints tries the lowest address first.
    world.server.take_requests();
    let allocated = world.add(&Node::new(), "c", Separate).await;
    assert_eq!(allocated, ("10.0.0.3".into(), "10.0.0.0-29-10.0.0.3".into()));
    let requests = [
        "GET 10.0.0.0-29",
        "POST 10.0.0.0-29-10.0.0.1",
        "GET 10.0.0.1",
        "DELETE 10.0.0.0-29-10.0.0.1",
        // After one alternate conflict the alternate name is checked before the create too.
        "GET 10.0.0.2",
        "GET 10.0.0.3",
        "POST 10.0.0.0-29-10.0.0.3",
        "GET 10.0.0.3",
    ];
    assert_eq!(world.server.take_requests(), requests);
    assert_eq!(
        world.names(),
        ["10.0.0.0-29-10.0.0.3", "10.0.0.1", "10.0.0.2"],
        "the claim that conflicted is deleted"
    );
    let requested = Some(ip("10.0.0.2"));
    let error = world.allocate(&Node::new(), claimant("d", "d"), Separate, requested).await.unwrap_err();
    assert!(error.contains("10.0.0.2") && error.contains("default/b"), "{error}");
    assert_eq!(world.names().len(), 3);
}

#[tokio::test]
async fn after_a_change_back_no_address_of_a_live_pod_is_allocated() {
    let world = World::new().await;
    world.separate_for(SETTLING);
    let node = Node::new();
    for pod in ["a", "b"] {
        assert!(world.add(&node, pod, Separate).await.1.starts_with("10.0.0.0-29-10.0.0."));
    }
    let allocated = world.add(&Node::new(), "c", Protected).await;
    assert_eq!(allocated, ("10.0.0.3".into(), "10.0.0.3".into()));
    assert_eq!(world.names(), ["10.0.0.0-29-10.0.0.1", "10.0.0.0-29-10.0.0.2", "10.0.0.3"]);
}

#[tokio::test]
async fn concurrent_requests_of_both_kinds_get_different_addresses() {
    let world = World { range: "10.0.0.0/24", ..World::new().await };
    world.separate_for(SETTLING);
    let nodes = [Node::new(), Node::new(), Node::new(), Node::new()];
    let (a, b, c, d) = tokio::join!(
        world.add(&nodes[0], "a", Separate),
        world.add(&nodes[1], "b", Protected),
        world.add(&nodes[2], "c", Separate),
        world.add(&nodes[3], "d", Protected),
    );
    let mut addresses = [a.0, b.0, c.0, d.0];
    addresses.sort();
    let mut distinct = addresses.to_vec();
    distinct.dedup();
    assert_eq!(distinct, addresses);
    assert_eq!(world.names().len(), 4, "no other claim is left: {:?}", world.names());
}

#[tokio::test]
async fn a_pod_keeps_its_address_when_its_network_changes_its_kind() {
    let world = World::new().await;
    let node = Node::new();
    world.add(&node, "a", Protected).await;
    world.separate_for(SETTLING);
    node.hints().set_adopted(POOL, SeparateUse::Unreadable);
    let allocate = |container: &'static str, overlapping| {
        let node = &node;
        let world = &world;
        async move { world.allocate(node, claimant("a", container), overlapping, None).await.unwrap() }
    };
    let kept = allocate("c2", Separate).await;
    assert_eq!((kept.claim.name.as_str(), kept.origin), ("10.0.0.1", Origin::TakenOver));
    assert_eq!(world.names(), ["10.0.0.1"], "the shared name, which protects the address in other pools too");
    assert_eq!(world.server.get(CLAIMS, "kube-system", "10.0.0.1").unwrap()["spec"]["containerid"], "c2");
    let again = allocate("c2", Separate).await;
    assert_eq!(
        (again.claim.name, again.origin),
        (kept.claim.name, Origin::TakenOver),
        "a repeated call reuses the claim"
    );
    // The same with a claim that is named after the pool.
    world.server.remove(CLAIMS, "kube-system", "10.0.0.1");
    assert_eq!(allocate("c3", Separate).await.claim.name.as_str(), "10.0.0.0-29-10.0.0.1");
    let kept = allocate("c4", Protected).await;
    assert_eq!((kept.claim.name.as_str(), kept.origin), ("10.0.0.1", Origin::TakenOver));
    assert_eq!(world.names(), ["10.0.0.1"]);
    // DEL releases the claim by the name in the record.
    let record = Record {
        container_id: "c4".into(),
        if_name: "net1".into(),
        podref: "default/a".into(),
        network: "n".into(),
        kubeconfig: None,
        namespace: None,
        pod_uid: None,
        stage: Stage::Held,
        claims: vec![kept.claim],
    };
    assert_eq!(world.claims().first_missing(&record).await.unwrap(), None);
    world.claims().release(&record).await.unwrap();
    assert_eq!(world.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_claim_of_another_pool_does_not_block_and_one_without_a_pool_does() {
    let world = World::new().await;
    world.separate_for(SETTLING);
    world.put(&claim_of("10.0.0.0-28", "10.0.0.1", "other"));
    let bare = json!({"spec": {"podref": "default/bare", "ifname": "net1"}});
    world.server.put(CLAIMS, "kube-system", "10.0.0.2", bare);
    let node = Node::new();
    assert_eq!(world.add(&node, "a", Separate).await.0, "10.0.0.1");
    assert_eq!(world.add(&node, "b", Separate).await.0, "10.0.0.3");
}

#[tokio::test]
async fn an_empty_hint_file_of_an_older_release_is_ignored() {
    let world = World::new().await;
    world.separate_for(SETTLING);
    world.put(&claim_of(POOL, "10.0.0.0-29-10.0.0.1", "b"));
    let node = Node::new();
    node.hints().set_adopted(POOL, SeparateUse::Never);
    node::files::replace(&node.0.path().join("hints/in.kube-system").join(format!("adopted-{POOL}")), b"")
        .unwrap();
    assert_eq!(world.add(&node, "a", Protected).await.0, "10.0.0.2");
}

#[tokio::test]
async fn a_late_deletion_of_an_earlier_call_does_not_delete_a_reused_claim() {
    let world = World::new().await;
    let node = Node::new();
    // A daemon claimed the address, sent a deletion, and was killed. Then the plugin without a daemon reuses the claim.
    let before = world.allocate(&node, claimant("a", "a"), Protected, None).await.unwrap().claim;
    let after = world.allocate(&node, claimant("a", "a"), Protected, None).await.unwrap();
    assert_eq!((&after.claim.name, after.origin), (&before.name, Origin::TakenOver));
    let late = world.claims().delete(&before.name, &before.resource_version).await;
    assert!(matches!(late, Err(ApiError::Conflict { .. })), "{late:?}");
    assert_eq!(world.names(), [before.name.as_str()]);
    world.claims().delete(&before.name, &after.claim.resource_version).await.unwrap();
}

#[tokio::test]
async fn a_late_call_does_not_take_over_the_claim_of_the_pods_successor() {
    let world = World::new().await;
    world.separate_for(SETTLING);
    let spec =
        ReservationSpec { podref: "default/a".into(), ifname: "net1".into(), containerid: "new".into() };
    let range = "10.0.0.0/29".parse().unwrap();
    let holding = ReservationOwner { pool: POOL, range, pod_uid: Some("new"), node: None, spec };
    world.put(&Reservation::new("10.0.0.0-29-10.0.0.1", holding));
    world.server.put("pods", "default", "a", json!({"metadata": {"uid": "new"}}));
    let late = Claimant { pod_uid: Some("old".into()), ..claimant("a", "old") };
    let error = world.allocate(&Node::new(), late, Protected, None).await.unwrap_err();
    assert!(error.contains("is gone"), "{error}");
    assert!(world.names().contains(&"10.0.0.0-29-10.0.0.1".to_owned()));
}

/// A pool with four allocations that Whereabouts wrote.
fn put_upstream_pool(world: &World, annotations: Value) {
    let entries = json!({
        "1": {"id": "c1", "podref": "default/a", "ifname": "net1"},
        "2": {"id": "c2", "podref": "default/b", "ifname": "net1"},
        "3": {"id": "c3", "podref": "default/c", "ifname": "net1"},
        "4": {"id": "c4", "podref": "default/d", "ifname": "net1"},
    });
    let spec = json!({"range": "10.0.0.0/29", "allocations": entries});
    let pool = json!({"metadata": {"annotations": annotations}, "spec": spec});
    world.server.put("ippools", "kube-system", POOL, pool);
    // 10.0.0.1 gets a claim in the test, under one of its two names. 10.0.0.2 is claimed in another pool too. Whereabouts made the claim
    // of 10.0.0.3. 10.0.0.4 has none.
    world.put(&claim_of("10.0.0.0-28", "10.0.0.2", "other"));
    let bare = json!({"spec": {"podref": "default/c", "ifname": "net1"}});
    world.server.put(CLAIMS, "kube-system", "10.0.0.3", bare);
}

#[tokio::test]
async fn every_allocation_gets_one_claim_under_either_name() {
    let old = json!({ SEPARATE_SINCE: "2020-01-01T00:00:00Z" });
    for (overlapping, annotations, first) in [
        (Protected, json!({}), "10.0.0.1"),
        (Separate, json!({}), "10.0.0.1"),
        (Protected, old.clone(), "10.0.0.0-29-10.0.0.1"),
        (Separate, old.clone(), "10.0.0.1"),
    ] {
        let world = World::new().await;
        put_upstream_pool(&world, annotations.clone());
        world.put(&claim_of(POOL, first, "a"));
        let allocated = world.add(&Node::new(), "e", overlapping).await;
        // After this many conflicts the cursor chooses one of the free addresses at random.
        let free = ["10.0.0.5", "10.0.0.6"];
        assert!(free.contains(&allocated.0.as_str()), "{overlapping:?} {annotations}: {allocated:?}");
        assert_eq!(world.names().len(), 6, "{overlapping:?} {annotations}: {:?}", world.names());
        let b = world.server.get(CLAIMS, "kube-system", "10.0.0.0-29-10.0.0.2").unwrap();
        assert_eq!(b["spec"]["podref"], "default/b");
        let c = world.server.get(CLAIMS, "kube-system", "10.0.0.3").unwrap();
        assert_eq!(c["metadata"]["annotations"]["whereabouts.multus-rs/pool"], POOL);
        assert!(world.separate_since().is_some(), "a claim is named after the pool");
        let by_pool = overlapping == Separate && annotations == old;
        let of_d = if by_pool { "10.0.0.0-29-10.0.0.4" } else { "10.0.0.4" };
        assert!(world.server.get(CLAIMS, "kube-system", of_d).is_some(), "{overlapping:?} {annotations}");
    }
}
