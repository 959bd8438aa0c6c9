use std::sync::Arc;

use node::client::ApiClient;
use node::names::{DnsLabel, DnsSubdomain};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use super::*;
use crate::addr::range::RangeSpec;
use crate::conf::OverlappingRanges;
use crate::conf::request::Claim;
use crate::crd::reservation::{ReservationOwner, ReservationSpec};
use crate::daemon::pool_cache::{self, PoolCaches, RequestCandidates, StartedPools};
use crate::leader::tests::server::Server;
use crate::metrics::Metrics;
use crate::node_state::hints::NodeHints;
use crate::node_state::installation::Writer;
use crate::node_state::record::Stage;
use crate::pool::candidates::CandidateSource as _;
use crate::pool::range_pool::plain;
use crate::pool::request::{AllocationRequest, Claimant, PoolRequest};
use crate::rpc::wire::{Release, Request, Response};

const CLAIMS: &str = "overlappingrangeipreservations";
const POOL: &str = "10.0.0.0-24";

/// A node whose pod a/b has the address 10.0.0.5.
struct Node {
    server: Server,
    api: ApiClient,
    upkeep: ClaimUpkeep,
    records: Records,
    caches: Arc<PoolCaches>,
    started: StartedPools,
    registry: Registry,
    _state: tempfile::TempDir,
}

impl Node {
    async fn new() -> Self {
        let (server, state) = (Server::default(), tempfile::tempdir().unwrap());
        let (records, hints) =
            (Records::open(state.path()).unwrap(), NodeHints::open(state.path()).of(&namespace()));
        let (metrics, registry) = Metrics::new();
        let (caches, started) = PoolCaches::new(hints, metrics.clone());
        let (caches, api) = (Arc::new(caches), server.client().await);
        let service = Service::new(api.clone(), namespace(), caches.clone(), metrics);
        let upkeep = ClaimUpkeep::new(service, records.clone(), "n1".to_owned());
        server.put("pods", "a", "b", json!({"metadata": {"uid": "u1"}}));
        records.write(&record()).unwrap();
        Node { server, api, upkeep, records, caches, started, registry, _state: state }
    }

    async fn examine(&mut self) {
        let record = record();
        let _ = self.upkeep.examine(&record, &record.claims[0]).await;
    }

    fn claim(&self) -> Option<Reservation> {
        Some(serde_json::from_value(self.server.get(CLAIMS, "kube-system", "10.0.0.5")?).unwrap())
    }

    fn events(&self) -> Vec<String> {
        let text = |event: &Value| {
            assert_eq!((&event["reason"], &event["type"]), (&json!(REASON), &json!("Warning")));
            format!(
                "{}: {}",
                event["involvedObject"]["name"].as_str().unwrap(),
                event["message"].as_str().unwrap()
            )
        };
        self.server.all("events").iter().map(text).collect()
    }

    fn assert_metric(&self, line: &str) {
        let shown = node::daemon::metrics_text(&self.registry);
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
}

fn namespace() -> DnsLabel {
    DnsLabel::new("kube-system").unwrap()
}

fn record() -> Record {
    recorded("c1", "10.0.0.5")
}

fn recorded(container: &str, address: &str) -> Record {
    Record {
        container_id: container.into(),
        if_name: "net1".into(),
        podref: "a/b".into(),
        network: "n".into(),
        kubeconfig: None,
        namespace: None,
        pod_uid: Some("u1".into()),
        stage: Stage::Held,
        claims: vec![HeldClaim {
            name: DnsSubdomain::new(address).unwrap(),
            resource_version: "1".into(),
            second: None,
            entry: None,
            pool: POOL.into(),
            address: format!("{address}/24").parse().unwrap(),
        }],
    }
}

/// The claim of 10.0.0.5, of this container of this pod.
fn claimed(podref: &str, container: &str) -> Value {
    let spec =
        ReservationSpec { podref: podref.into(), ifname: "net1".into(), containerid: container.into() };
    let range = "10.0.0.0/24".parse().unwrap();
    let owner =
        ReservationOwner { pool: POOL, whole: POOL, range, pod_uid: Some("u1"), node: Some("n1"), spec };
    serde_json::to_value(Reservation::new("10.0.0.5", owner)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_deleted_by_hand_is_made_again_as_it_was() {
    let mut node = Node::new().await;
    node.examine().await;
    let claim = node.claim().unwrap();
    let expected: Reservation = serde_json::from_value(claimed("a/b", "c1")).unwrap();
    assert_eq!((&claim.spec, &claim.metadata.labels), (&expected.spec, &expected.metadata.labels));
    assert_eq!(claim.metadata.annotations, expected.metadata.annotations);
    node.assert_metric("whereabouts_restored_claims_total{outcome=\"done\"} 1");
    let version = claim.metadata.resource_version;
    node.examine().await;
    assert_eq!(
        node.claim().unwrap().metadata.resource_version,
        version,
        "a claim that exists is not written"
    );
}

/// A request makes the pool watched.
fn request(caches: &PoolCaches) {
    let claimant = Claimant {
        podref: "a/other".into(),
        pod_uid: None,
        if_name: "net1".into(),
        container_id: "c9".into(),
        node: None,
    };
    drop(RequestCandidates { caches, in_flight: None }.cursor(&plain("10.0.0.0/24"), &claimant));
}

#[tokio::test(start_paused = true)]
async fn a_round_examines_all_claims_that_a_watched_pool_lacks() {
    let node = Node::new().await;
    for n in 6..9 {
        let record = recorded(&format!("c{n}"), &format!("10.0.0.{n}"));
        node.records.write(&Record { if_name: format!("net{n}"), ..record }).unwrap();
    }
    request(&node.caches);
    let follow = pool_cache::follow(node.caches.clone(), node.api.clone(), namespace(), node.started);
    let follow = tokio::spawn(follow);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let upkeep = tokio::spawn(node.upkeep.run(node.caches.deleted_claims()));
    tokio::time::sleep(PACE + Duration::from_millis(200)).await;
    assert_eq!(node.server.names(CLAIMS), ["10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.8"]);
    [upkeep, follow].iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn the_watch_of_the_pool_leads_to_the_deleted_claim_at_once() {
    let node = Node::new().await;
    node.server.put(CLAIMS, "kube-system", "10.0.0.5", claimed("a/b", "c1"));
    request(&node.caches);
    let upkeep = tokio::spawn(node.upkeep.run(node.caches.deleted_claims()));
    let follow = pool_cache::follow(node.caches.clone(), node.api.clone(), namespace(), node.started);
    let follow = tokio::spawn(follow);
    tokio::time::sleep(Duration::from_millis(200)).await;
    node.server.remove(CLAIMS, "kube-system", "10.0.0.5");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(node.server.names(CLAIMS), ["10.0.0.5"]);
    [upkeep, follow].iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn a_round_finds_a_claim_of_a_pool_that_is_not_watched() {
    let node = Node::new().await;
    let upkeep = tokio::spawn(node.upkeep.run(node.caches.deleted_claims()));
    tokio::time::sleep(PACE * 2).await;
    assert_eq!(node.server.names(CLAIMS), ["10.0.0.5"]);
    upkeep.abort();
}

#[tokio::test(start_paused = true)]
async fn claims_of_pools_that_are_not_watched_cost_one_request_each_ten_seconds() {
    let node = Node::new().await;
    for n in 0..250 {
        let (container, address) = (format!("c{n}"), format!("10.0.0.{n}"));
        node.server.put(CLAIMS, "kube-system", &address, claimed("a/b", &container));
        node.records.write(&recorded(&container, &address)).unwrap();
    }
    let upkeep = tokio::spawn(node.upkeep.run(node.caches.deleted_claims()));
    tokio::time::sleep(Duration::from_secs(300)).await;
    let requests = node.server.take_requests();
    assert!((28..=31).contains(&requests.len()), "{requests:?}");
    upkeep.abort();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_made_again_unless_the_attachment_and_its_pod_certainly_live() {
    let changes: [fn(&Node); 6] = [
        |node| drop(node.records.begin_release(&record()).unwrap()),
        |node| node.records.remove("c1", "net1").unwrap(),
        |node| node.server.remove("pods", "a", "b"),
        |node| node.server.put("pods", "a", "b", json!({"metadata": {"uid": "another"}})),
        |node| node.server.fail("/namespaces/a/pods/b"),
        // The older sandbox of the pod must not take the claim of the newer one.
        |node| node.records.write(&recorded("c2", "10.0.0.5")).unwrap(),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut node = Node::new().await;
        change(&node);
        node.examine().await;
        assert_eq!(node.claim(), None, "change {number}");
    }
    let mut node = Node::new().await;
    let record = Record { pod_uid: None, ..record() };
    node.records.write(&record).unwrap();
    node.upkeep.examine(&record, &record.claims[0]).await.unwrap();
    assert_eq!(node.claim(), None, "without a UID the pod may be another one");
}

#[tokio::test(start_paused = true)]
async fn a_request_in_flight_decides_about_its_claim_itself() {
    let mut node = Node::new().await;
    let in_flight = node.upkeep.service.in_flight.clone();
    let request = in_flight.begin_if_idle(&record()).unwrap();
    node.examine().await;
    assert_eq!(node.claim(), None);
    drop(request);
    node.examine().await;
    assert!(node.claim().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_made_while_its_attachment_is_deleted_is_deleted_again() {
    let steps: [fn(&Records); 2] = [
        |records| drop(records.begin_release(&record()).unwrap()),
        |records| records.remove("c1", "net1").unwrap(),
    ];
    for step in steps {
        let mut node = Node::new().await;
        let records = node.records.clone();
        node.server.on_request(move |method, _| {
            if method == "POST" {
                step(&records);
            }
        });
        node.examine().await;
        let requests = node.server.take_requests();
        assert!(requests.contains(&"POST 10.0.0.5".to_owned()), "{requests:?}");
        assert_eq!(node.claim(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_newer_sandbox_of_the_pod_keeps_its_claim() {
    let mut node = Node::new().await;
    node.server.put(CLAIMS, "kube-system", "10.0.0.5", claimed("a/b", "c2"));
    node.examine().await;
    assert_eq!((node.claim().unwrap().container(), node.events()), ("c2", Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn an_address_that_another_pod_has_by_now_is_reported_to_both_once_and_returns_after_it() {
    let mut node = Node::new().await;
    node.server.put(CLAIMS, "kube-system", "10.0.0.5", claimed("a/thief", "c9"));
    node.examine().await;
    node.examine().await;
    let text = "pod a/b (net1) uses 10.0.0.5, but its reservation 10.0.0.5 was deleted, and pod a/thief has the address now: \
                delete one of the two";
    assert_eq!(node.events(), [format!("b: {text}"), format!("thief: {text}")]);
    node.assert_metric("whereabouts_addresses_held_twice 1");
    assert_eq!(node.claim().unwrap().spec.podref, "a/thief", "nobody's claim is changed");
    node.server.remove(CLAIMS, "kube-system", "10.0.0.5");
    node.examine().await;
    assert_eq!(node.claim().unwrap().spec.podref, "a/b");
    node.assert_metric("whereabouts_addresses_held_twice 0");
}

#[tokio::test(start_paused = true)]
async fn an_address_of_a_pod_that_is_gone_or_deleted_is_not_held_twice() {
    let changes: [fn(&Node); 3] = [
        |node| node.server.remove("pods", "a", "b"),
        |node| drop(node.records.begin_release(&record()).unwrap()),
        |node| node.records.write(&recorded("c2", "10.0.0.6")).unwrap(),
    ];
    for change in changes {
        let mut node = Node::new().await;
        node.server.put(CLAIMS, "kube-system", "10.0.0.5", claimed("a/thief", "c9"));
        change(&node);
        node.examine().await;
        assert_eq!(node.events(), Vec::<String>::new());
        node.assert_metric("whereabouts_addresses_held_twice 0");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_was_faster_keeps_the_claim() {
    let node = Node::new().await;
    node.server.put(CLAIMS, "kube-system", "10.0.0.5", claimed("a/thief", "c9"));
    let claims = node.upkeep.service.claims_until(None, Deadline::after(LIMIT));
    let created = claims.create_again(&record(), &record().claims[0], "n1").await;
    assert_eq!(created.unwrap(), None);
    assert_eq!(node.claim().unwrap().spec.podref, "a/thief");
}

#[tokio::test(start_paused = true)]
async fn a_create_that_fails_is_counted_and_the_next_round_tries_again() {
    let mut node = Node::new().await;
    node.server.fail("/overlappingrangeipreservations");
    node.examine().await;
    assert_eq!(node.claim(), None);
    node.assert_metric("whereabouts_restored_claims_total{outcome=\"failed\"} 1");
}

/// Examines the claim of the record, and runs `other` meanwhile. Requests take up to 2 ms each way, and `other` begins at any time: all by
/// chance, from `seed`.
async fn meanwhile(node: &mut Node, seed: u64, other: impl Future<Output = ()>) {
    fastrand::seed(seed);
    node.server.delay(Duration::from_millis(2));
    let later = async {
        tokio::time::sleep(Duration::from_millis(12).mul_f64(fastrand::f64())).await;
        other.await;
    };
    futures::join!(node.examine(), later);
}

const SEEDS: std::ops::Range<u64> = 0..150;

#[tokio::test(start_paused = true)]
async fn no_claim_is_left_whenever_a_del_begins_during_an_examination() {
    for seed in SEEDS {
        let mut node = Node::new().await;
        let (service, records) = (node.upkeep.service.clone(), node.records.clone());
        let by_the_daemon = async {
            drop(records.begin_release(&record()).unwrap());
            let release =
                Release { record: record(), upstream: Vec::new(), writer: Writer::ThisInstallation };
            let response = service.answer(Request::Release(Box::new(release))).await;
            assert!(matches!(&response, Response::Done), "{response:?}");
            records.remove("c1", "net1").unwrap();
        };
        meanwhile(&mut node, seed, by_the_daemon).await;
        assert_eq!(node.claim(), None, "by the daemon, seed {seed}");
        let mut node = Node::new().await;
        let (service, records) = (node.upkeep.service.clone(), node.records.clone());
        let by_the_plugin_itself = async {
            drop(records.begin_release(&record()).unwrap());
            service
                .claims_until(None, Deadline::after(LIMIT))
                .release(&record(), Writer::ThisInstallation)
                .await
                .unwrap();
            records.remove("c1", "net1").unwrap();
        };
        meanwhile(&mut node, seed, by_the_plugin_itself).await;
        assert_eq!(node.claim(), None, "without the daemon, seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_sandbox_has_the_claim_whenever_its_add_begins_during_an_examination() {
    for seed in SEEDS {
        let mut node = Node::new().await;
        let (service, records) = (node.upkeep.service.clone(), node.records.clone());
        let next = Claimant {
            podref: "a/b".into(),
            pod_uid: Some("u1".into()),
            if_name: "net1".into(),
            container_id: "c2".into(),
            node: Some("n1".into()),
        };
        let range = RangeSpec::parse("10.0.0.0/24", None, None, Vec::new()).unwrap();
        let (network, overlapping, slice) = (None, OverlappingRanges::Protected, None);
        let request = AllocationRequest {
            claimant: next,
            namespace: None,
            pools: vec![PoolRequest { range, network, overlapping, slice }],
            wanted: vec![Claim { range: 0, requested: Some("10.0.0.5".parse().unwrap()) }],
        };
        let add = async {
            let begun = Record { stage: Stage::Claiming, claims: Vec::new(), ..recorded("c2", "10.0.0.5") };
            records.write(&begun).unwrap();
            let response = service.answer(Request::Claim(Box::new(request))).await;
            assert!(matches!(&response, Response::Claimed(_)), "{response:?}");
        };
        meanwhile(&mut node, seed, add).await;
        assert_eq!(node.claim().unwrap().container(), "c2", "seed {seed}");
        assert_eq!(node.server.names(CLAIMS), ["10.0.0.5"]);
    }
}
