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
use crate::crd::ip_pool::{SeparateUse, written};
use crate::pool::claim_names::SETTLING;

use crate::addr::range::RangeSpec;
use crate::claims::adopt;
use crate::claims::allocate;
use crate::claims::allocate::PriorAttempt;
use crate::conf::OverlappingRanges::{Protected, Separate};
use crate::conf::request::Claim;
use crate::conf::request::RequestedAddress;
use crate::crd::ip_pool::SEPARATE_SINCE;
use crate::crd::reservation::{ReservationOwner, ReservationSpec};
use crate::leader::tests::server::Server;
use crate::node_state::hints::HintStore;
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

/// The pool of a range, for an order of this kind.
fn order_of(range: &str, overlapping: OverlappingRanges) -> PoolRequest {
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

/// What a node remembers.
struct Node(TempDir);

impl Node {
    fn new() -> Self {
        Node(tempfile::tempdir().unwrap())
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

    /// The pool's object says that it was used separately, for so long.
    fn separate_for(&self, seconds: i64) -> String {
        let since = written(Timestamp::now() - k8s_openapi::jiff::SignedDuration::from_secs(seconds));
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

    fn says(&self) -> Option<String> {
        let pool = self.server.get("ippools", "kube-system", POOL)?;
        pool["metadata"]["annotations"][SEPARATE_SINCE].as_str().map(str::to_owned)
    }

    async fn order(
        &self,
        node: &Node,
        claimant: Claimant,
        overlapping: OverlappingRanges,
        requested: Option<RequestedAddress>,
    ) -> Result<Claimed, String> {
        let pools = vec![order_of(self.range, overlapping)];
        let order = AllocationRequest {
            claimant,
            namespace: None,
            pools,
            wanted: vec![Claim { range: 0, requested }],
        };
        let hints = HintStore::open(node.0.path());
        let mut claimed = allocate::serve(&self.claims(), &order, &hints, PriorAttempt::Absent)
            .await
            .map_err(|failure| failure.error.to_string())?;
        Ok(claimed.remove(0))
    }

    /// ADD, of a pod whose container has its name: the address and the claim's name.
    async fn add(&self, node: &Node, pod: &str, overlapping: OverlappingRanges) -> (String, String) {
        let claimed = self.order(node, claimant(pod, pod), overlapping, None).await.unwrap();
        (claimed.claim.address.addr().to_string(), claimed.claim.name.to_string())
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.server.names(CLAIMS);
        names.sort();
        names
    }
}

#[test]
fn a_claim_counts_as_the_pools_unless_it_says_another() {
    let pool = Pool::of(&order_of("10.0.0.0/29", Separate), None).unwrap();
    let seen = |claim: Reservation| holder(&pool, &claimant("a", "c"), Some(claim));
    assert_eq!(holder(&pool, &claimant("a", "c"), None), AlternateHolder::Nobody);
    assert_eq!(seen(claim_of("10.0.0.0-28", "10.0.0.1", "b")), AlternateHolder::Nobody);
    assert_eq!(seen(claim_of("10.0.0.0-28", "10.0.0.1", "a")), AlternateHolder::Nobody);
    assert_eq!(seen(claim_of(POOL, "10.0.0.1", "b")), AlternateHolder::OtherPod("default/b".into()));
    let own = claim_of(POOL, "10.0.0.1", "a");
    assert_eq!(seen(own.clone()), AlternateHolder::Caller(Box::new(own)));
    let bare = |podref: &str| -> Reservation {
        serde_json::from_value(json!({"metadata": {"name": "10.0.0.1"}, "spec": {"podref": podref}})).unwrap()
    };
    assert_eq!(seen(bare("default/b")), AlternateHolder::OtherPod("default/b".into()));
    assert_eq!(seen(bare("")), AlternateHolder::OtherPod(String::new()), "kept free by hand");
    assert!(matches!(seen(bare("default/a")), AlternateHolder::Caller(_)));
}

#[tokio::test]
async fn a_pool_that_is_only_shared_costs_one_request() {
    let (world, node) = (World::new().await, Node::new());
    world.add(&node, "a", Protected).await;
    assert_eq!(world.server.take_requests(), ["GET 10.0.0.0-29", "POST 10.0.0.1"]);
    world.add(&node, "b", Protected).await;
    assert_eq!(world.server.take_requests(), ["POST 10.0.0.2"]);
    assert_eq!(world.says(), None);
}

#[tokio::test]
async fn the_first_order_for_itself_makes_the_pool_say_so_and_takes_the_shared_name() {
    let (world, node) = (World::new().await, Node::new());
    world.add(&node, "a", Protected).await;
    // Known here as shared a moment ago: that does not do.
    assert_eq!(world.add(&node, "b", Separate).await, ("10.0.0.2".into(), "10.0.0.2".into()));
    let since = world.says().unwrap();
    assert!((Timestamp::now().as_second() - time(&since).as_second()).abs() < 5, "{since}");
    let pool = world.server.get("ippools", "kube-system", POOL).unwrap();
    assert_eq!(pool["metadata"]["annotations"]["whereabouts.multus-rs/adopted"], "true");
    assert_eq!(pool["spec"], json!({"range": "10.0.0.0/29", "allocations": {}}));
    world.server.take_requests();
    world.add(&node, "c", Protected).await;
    assert_eq!(world.server.take_requests(), ["POST 10.0.0.3", "GET 10.0.0.0-29-10.0.0.3"]);
}

#[tokio::test]
async fn an_earlier_time_stands() {
    let world = World::new().await;
    let name = DnsSubdomain::new(POOL).unwrap();
    let range = "10.0.0.0/29".parse().unwrap();
    let since = world.separate_for(3600);
    world.add(&Node::new(), "a", Separate).await;
    adopt::mark(&world.claims(), &name, range).await.unwrap();
    assert_eq!(world.says(), Some(since));
    // Nobody can count from what is no time.
    let mut pool = world.server.get("ippools", "kube-system", POOL).unwrap();
    pool["metadata"]["annotations"][SEPARATE_SINCE] = json!("yes");
    world.server.put("ippools", "kube-system", POOL, pool);
    assert_eq!(world.add(&Node::new(), "b", Separate).await.1, "10.0.0.2", "the clock begins anew");
    let since = world.says().unwrap();
    assert!(since.parse::<Timestamp>().is_ok(), "{since}");
}

#[tokio::test]
async fn of_many_that_say_so_at_once_all_learn_the_same_time() {
    let world = World::new().await;
    let (name, range) = (DnsSubdomain::new(POOL).unwrap(), "10.0.0.0/29".parse().unwrap());
    let claims = world.claims();
    let said = |metadata: Result<_, _>| crate::crd::ip_pool::separation(&metadata.unwrap());
    let mark = || adopt::mark(&claims, &name, range);
    let (a, b, c) = tokio::join!(mark(), mark(), mark());
    let said = [a, b, c].map(said);
    assert_eq!(said, [SeparateUse::of(world.says().as_deref()); 3]);
    assert_eq!(world.server.writes(), 1, "one made the object, the others read it");
}

#[tokio::test]
async fn toggled_to_separate_no_address_of_a_live_pod_is_given() {
    let world = World::new().await;
    let node = Node::new();
    for pod in ["a", "b"] {
        world.add(&node, pod, Protected).await;
    }
    world.separate_for(SETTLING);
    // On a node that knows nothing: it tries the lowest.
    world.server.take_requests();
    let given = world.add(&Node::new(), "c", Separate).await;
    assert_eq!(given, ("10.0.0.3".into(), "10.0.0.0-29-10.0.0.3".into()));
    let requests = [
        "GET 10.0.0.0-29",
        "POST 10.0.0.0-29-10.0.0.1",
        "GET 10.0.0.1",
        "DELETE 10.0.0.0-29-10.0.0.1",
        // Warned, it looks before it takes too.
        "GET 10.0.0.2",
        "GET 10.0.0.3",
        "POST 10.0.0.0-29-10.0.0.3",
        "GET 10.0.0.3",
    ];
    assert_eq!(world.server.take_requests(), requests);
    assert_eq!(
        world.names(),
        ["10.0.0.0-29-10.0.0.3", "10.0.0.1", "10.0.0.2"],
        "what was lost is given back"
    );
    let requested = Some(RequestedAddress::Required(ip("10.0.0.2")));
    let error = world.order(&Node::new(), claimant("d", "d"), Separate, requested).await.unwrap_err();
    assert!(error.contains("10.0.0.2") && error.contains("default/b"), "{error}");
    assert_eq!(world.names().len(), 3);
}

#[tokio::test]
async fn toggled_back_no_address_of_a_live_pod_is_given() {
    let world = World::new().await;
    world.separate_for(SETTLING);
    let node = Node::new();
    for pod in ["a", "b"] {
        assert!(world.add(&node, pod, Separate).await.1.starts_with("10.0.0.0-29-10.0.0."));
    }
    let given = world.add(&Node::new(), "c", Protected).await;
    assert_eq!(given, ("10.0.0.3".into(), "10.0.0.3".into()));
    assert_eq!(world.names(), ["10.0.0.0-29-10.0.0.1", "10.0.0.0-29-10.0.0.2", "10.0.0.3"]);
}

#[tokio::test]
async fn ordered_both_ways_at_once_every_pod_has_another_address() {
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
    let given = addresses.to_vec();
    let mut different = given.clone();
    different.dedup();
    assert_eq!(given, different);
    assert_eq!(world.names().len(), 4, "nothing else is held: {:?}", world.names());
}

#[tokio::test]
async fn a_pod_keeps_its_address_when_its_network_is_toggled() {
    let world = World::new().await;
    let node = Node::new();
    world.add(&node, "a", Protected).await;
    world.separate_for(SETTLING);
    HintStore::open(node.0.path()).set_adopted(POOL, SeparateUse::Unreadable);
    let order = |container: &'static str, overlapping| {
        let node = &node;
        let world = &world;
        async move { world.order(node, claimant("a", container), overlapping, None).await.unwrap() }
    };
    let kept = order("c2", Separate).await;
    assert_eq!((kept.claim.name.as_str(), kept.origin), ("10.0.0.1", Origin::TakenOver));
    assert_eq!(world.names(), ["10.0.0.1"], "the shared one, which keeps other pools off too");
    assert_eq!(world.server.get(CLAIMS, "kube-system", "10.0.0.1").unwrap()["spec"]["containerid"], "c2");
    let again = order("c2", Separate).await;
    assert_eq!(
        (again.claim.name, again.origin),
        (kept.claim.name, Origin::TakenOver),
        "the same call once more"
    );
    // And from a claim that is named after the pool.
    world.server.remove(CLAIMS, "kube-system", "10.0.0.1");
    assert_eq!(order("c3", Separate).await.claim.name.as_str(), "10.0.0.0-29-10.0.0.1");
    let kept = order("c4", Protected).await;
    assert_eq!((kept.claim.name.as_str(), kept.origin), ("10.0.0.1", Origin::TakenOver));
    assert_eq!(world.names(), ["10.0.0.1"]);
    // DEL knows it by that name.
    let record = Record {
        container_id: "c4".into(),
        if_name: "net1".into(),
        podref: "default/a".into(),
        network: "n".into(),
        kubeconfig: None,
        namespace: None,
        stage: Stage::Held,
        claims: vec![kept.claim],
    };
    assert_eq!(world.claims().first_missing(&record).await.unwrap(), None);
    world.claims().release(&record).await.unwrap();
    assert_eq!(world.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_claim_of_another_pool_is_in_nobodys_way_and_one_that_says_nothing_is() {
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
async fn a_note_of_an_earlier_release_is_no_knowledge_of_the_pool() {
    let world = World::new().await;
    world.separate_for(SETTLING);
    world.put(&claim_of(POOL, "10.0.0.0-29-10.0.0.1", "b"));
    let node = Node::new();
    HintStore::open(node.0.path()).set_adopted(POOL, SeparateUse::Never);
    node::files::replace(&node.0.path().join("hints").join(format!("adopted-{POOL}")), b"").unwrap();
    assert_eq!(world.add(&node, "a", Protected).await.0, "10.0.0.2");
}

#[tokio::test]
async fn a_deletion_that_an_earlier_call_sent_does_not_take_what_a_later_one_found_again() {
    let world = World::new().await;
    let node = Node::new();
    // A daemon got it, was about to give it up, and ended; the plugin goes on by itself and finds it.
    let before = world.order(&node, claimant("a", "a"), Protected, None).await.unwrap().claim;
    let after = world.order(&node, claimant("a", "a"), Protected, None).await.unwrap();
    assert_eq!((&after.claim.name, after.origin), (&before.name, Origin::TakenOver));
    let late = world.claims().delete(&before.name, &before.resource_version).await;
    assert!(matches!(late, Err(ApiError::Conflict { .. })), "{late:?}");
    assert_eq!(world.names(), [before.name.as_str()]);
    world.claims().delete(&before.name, &after.claim.resource_version).await.unwrap();
}

#[tokio::test]
async fn a_late_call_takes_nothing_from_its_pods_successor() {
    let world = World::new().await;
    world.separate_for(SETTLING);
    let spec =
        ReservationSpec { podref: "default/a".into(), ifname: "net1".into(), containerid: "new".into() };
    let range = "10.0.0.0/29".parse().unwrap();
    let holding = ReservationOwner { pool: POOL, range, pod_uid: Some("new"), node: None, spec };
    world.put(&Reservation::new("10.0.0.0-29-10.0.0.1", holding));
    world.server.put("pods", "default", "a", json!({"metadata": {"uid": "new"}}));
    let late = Claimant { pod_uid: Some("old".into()), ..claimant("a", "old") };
    let error = world.order(&Node::new(), late, Protected, None).await.unwrap_err();
    assert!(error.contains("is gone"), "{error}");
    assert!(world.names().contains(&"10.0.0.0-29-10.0.0.1".to_owned()));
}

fn adopted(world: &World, annotations: Value) {
    let entries = json!({
        "1": {"id": "c1", "podref": "default/a", "ifname": "net1"},
        "2": {"id": "c2", "podref": "default/b", "ifname": "net1"},
        "3": {"id": "c3", "podref": "default/c", "ifname": "net1"},
        "4": {"id": "c4", "podref": "default/d", "ifname": "net1"},
    });
    let spec = json!({"range": "10.0.0.0/29", "allocations": entries});
    let pool = json!({"metadata": {"annotations": annotations}, "spec": spec});
    world.server.put("ippools", "kube-system", POOL, pool);
    // The first has a claim of either name; the second's address is another pool's too; the third's claim is Whereabouts'.
    world.put(&claim_of("10.0.0.0-28", "10.0.0.2", "other"));
    let bare = json!({"spec": {"podref": "default/c", "ifname": "net1"}});
    world.server.put(CLAIMS, "kube-system", "10.0.0.3", bare);
}

#[tokio::test]
async fn every_entry_gets_one_claim_whatever_it_is_called() {
    let old = json!({ SEPARATE_SINCE: "2020-01-01T00:00:00Z" });
    for (overlapping, said, first) in [
        (Protected, json!({}), "10.0.0.1"),
        (Separate, json!({}), "10.0.0.1"),
        (Protected, old.clone(), "10.0.0.0-29-10.0.0.1"),
        (Separate, old.clone(), "10.0.0.1"),
    ] {
        let world = World::new().await;
        adopted(&world, said.clone());
        world.put(&claim_of(POOL, first, "a"));
        let given = world.add(&Node::new(), "e", overlapping).await;
        // Which of the free ones is by chance after so many that are not.
        assert!(["10.0.0.5", "10.0.0.6"].contains(&given.0.as_str()), "{overlapping:?} {said}: {given:?}");
        assert_eq!(world.names().len(), 6, "{overlapping:?} {said}: {:?}", world.names());
        let b = world.server.get(CLAIMS, "kube-system", "10.0.0.0-29-10.0.0.2").unwrap();
        assert_eq!(b["spec"]["podref"], "default/b");
        let c = world.server.get(CLAIMS, "kube-system", "10.0.0.3").unwrap();
        assert_eq!(c["metadata"]["annotations"]["whereabouts.multus-rs/pool"], POOL);
        assert!(world.says().is_some(), "one is named after the pool");
        let apart = overlapping == Separate && said == old;
        let of_d = if apart { "10.0.0.0-29-10.0.0.4" } else { "10.0.0.4" };
        assert!(world.server.get(CLAIMS, "kube-system", of_d).is_some(), "{overlapping:?} {said}");
    }
}
