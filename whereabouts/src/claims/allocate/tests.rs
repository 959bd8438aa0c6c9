use std::net::IpAddr;
use std::time::{Duration, Instant};

use node::client::ApiClient;
use node::deadline::Deadline;
use node::names::{DnsLabel, DnsSubdomain};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::addr::range::RangeSpec;
use crate::claims::testing::begun;
use crate::claims::{release, tombstones};
use crate::conf::OverlappingRanges;
use crate::conf::request::Claim;
use crate::leader::tests::server::Server;
use crate::node_state::hints::{HintStore, NodeHints};
use crate::node_state::installation::Writer;
use crate::node_state::record::Records;
use crate::node_state::record::Stage;
use crate::pool::held_claim::HeldClaim;
use crate::pool::request::Claimant;

const CLAIMS: &str = "overlappingrangeipreservations";

/// A node without a daemon, and its API server.
struct Node {
    server: Server,
    api: ApiClient,
    namespace: DnsLabel,
    state: TempDir,
}

impl Node {
    async fn new() -> Self {
        let server = Server::default();
        let api = server.client().await;
        let namespace = DnsLabel::new("kube-system").unwrap();
        Node { server, api, namespace, state: tempfile::tempdir().unwrap() }
    }

    fn claims(&self) -> Claims<'_> {
        Claims {
            api: &self.api,
            namespace: &self.namespace,
            deadline: Deadline::after(Duration::from_secs(20)),
        }
    }

    fn hints(&self) -> HintStore {
        NodeHints::open(self.state.path()).of(&self.namespace)
    }

    /// Serves a request for an address of each range; `requested` is that of the first one.
    async fn add(
        &self,
        pod: &str,
        ranges: &[RangeSpec],
        requested: Option<&str>,
    ) -> Result<Vec<IpAddr>, String> {
        self.add_interface(pod, "net1", ranges, requested).await
    }

    async fn add_interface(
        &self,
        pod: &str,
        if_name: &str,
        ranges: &[RangeSpec],
        requested: Option<&str>,
    ) -> Result<Vec<IpAddr>, String> {
        let claimant = Claimant {
            podref: format!("default/{pod}"),
            pod_uid: Some(format!("uid-{pod}")),
            if_name: if_name.into(),
            container_id: pod.into(),
            node: None,
        };
        self.add_claimant(claimant, ranges, requested).await
    }

    async fn add_claimant(
        &self,
        claimant: Claimant,
        ranges: &[RangeSpec],
        requested: Option<&str>,
    ) -> Result<Vec<IpAddr>, String> {
        let requested = requested.map(|ip| ip.parse().unwrap());
        let wanted =
            (0..ranges.len()).map(|range| Claim { range, requested: requested.filter(|_| range == 0) });
        let request = AllocationRequest {
            claimant,
            namespace: None,
            pools: ranges.iter().map(pool_of).collect(),
            wanted: wanted.collect(),
        };
        let begun = begun(&request.claimant);
        Records::open(self.state.path()).unwrap().write(&begun).unwrap();
        let served = serve(&self.claims(), &request, &self.hints(), PriorAttempt::Absent).await;
        let addresses = |claims: Vec<Claimed>| claims.iter().map(|one| one.claim.address.addr()).collect();
        served.map(addresses).map_err(|failure| failure.error.to_string())
    }
}

fn range(text: &str, start: Option<&str>, excludes: &[&str]) -> RangeSpec {
    let start = start.map(|ip| ip.parse().unwrap());
    RangeSpec::parse(text, start, None, excludes.iter().map(|text| (*text).to_owned()).collect()).unwrap()
}

fn pool_of(range: &RangeSpec) -> PoolRequest {
    PoolRequest {
        range: range.clone(),
        network: None,
        overlapping: OverlappingRanges::Protected,
        slice: None,
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn record(name: &str) -> Record {
    Record {
        container_id: name.into(),
        if_name: "net1".into(),
        podref: format!("default/{name}"),
        network: "n".into(),
        kubeconfig: None,
        namespace: None,
        pod_uid: None,
        stage: Stage::Held,
        claims: vec![HeldClaim {
            name: DnsSubdomain::new(name).unwrap(),
            resource_version: "1".into(),
            second: None,
            entry: None,
            pool: "10.0.0.0-8".into(),
            address: "10.0.0.1/8".parse().unwrap(),
        }],
    }
}

// Found by the simulation: the plugin's caller was killed, and its pod's next sandbox has the address.
#[tokio::test]
async fn a_call_whose_record_a_del_took_away_takes_no_claim_over() {
    let node = Node::new().await;
    let records = Records::open(node.state.path()).unwrap();
    let request = |container: &str| AllocationRequest {
        claimant: Claimant {
            podref: "default/p".into(),
            pod_uid: Some("u".into()),
            if_name: "net1".into(),
            container_id: container.into(),
            node: None,
        },
        namespace: None,
        pools: vec![pool_of(&range("10.61.32.0/24", None, &[]))],
        wanted: vec![Claim { range: 0, requested: None }],
    };
    let hints = node.hints();
    let (old, new) = (record("old"), record("new"));
    records.write(&old).unwrap();
    records.begin_release(&old).unwrap();
    records.write(&new).unwrap();
    let (claims, absent) = (node.claims(), PriorAttempt::Absent);
    assert_eq!(serve(&claims, &request("new"), &hints, absent).await.unwrap().len(), 1);
    let failure = serve(&claims, &request("old"), &hints, absent).await.unwrap_err();
    assert!(
        matches!(failure.error, AllocateError::Claim(ClaimError::Superseded { .. })),
        "{}",
        failure.error
    );
    let claim = node.server.get(CLAIMS, "kube-system", "10.61.32.1").unwrap();
    assert_eq!(claim["spec"]["containerid"], "new");
}

#[tokio::test]
async fn overlapping_ranges_of_one_network_give_different_addresses() {
    let node = Node::new().await;
    let ranges = [range("10.61.31.0/24", None, &[]), range("10.61.31.0/24", Some("10.61.31.100"), &[])];
    assert_eq!(node.add("a", &ranges, None).await.unwrap(), [ip("10.61.31.1"), ip("10.61.31.100")]);
    let equal = [range("10.7.0.0/24", None, &[]), range("10.7.0.0/24", None, &[])];
    assert_eq!(node.add("a", &equal, None).await.unwrap(), [ip("10.7.0.1"), ip("10.7.0.2")]);
}

#[tokio::test]
async fn a_requested_address_outside_every_range_is_given_once() {
    let node = Node::new().await;
    // The pool that the plugin makes for such an address: its subnet.
    let subnet = [range("172.16.0.0/16", None, &[])];
    assert_eq!(node.add("a", &subnet, Some("172.16.0.9")).await.unwrap(), [ip("172.16.0.9")]);
    let error = node.add("b", &subnet, Some("172.16.0.9")).await.unwrap_err();
    assert!(error.contains("172.16.0.9") && error.contains("default/a"), "{error}");
}

#[tokio::test]
async fn two_interfaces_of_a_pod_differ_even_if_the_definition_drops_ifname() {
    let node = Node::new().await;
    let tiny = [range("10.78.0.10/32", None, &[])];
    node.add_interface("a", "net1", &tiny, None).await.unwrap();
    let mut claim = node.server.get(CLAIMS, "kube-system", "10.78.0.10").unwrap();
    claim["spec"].as_object_mut().unwrap().remove("ifname");
    node.server.put(CLAIMS, "kube-system", "10.78.0.10", claim);
    assert!(node.add_interface("a", "net2", &tiny, None).await.is_err(), "one address for two interfaces");
    assert_eq!(node.add_interface("a", "net1", &tiny, None).await.unwrap(), [ip("10.78.0.10")]);
}

/// The caller names one pod for all its containers, and no UID.
#[tokio::test]
async fn without_a_pod_uid_nothing_is_taken_over_from_another_container() {
    let node = Node::new().await;
    let pool = [range("10.0.0.0/24", None, &[])];
    let claimant = |container: &str, uid: Option<&str>| Claimant {
        podref: "default/pod-whereabouts".into(),
        pod_uid: uid.map(str::to_owned),
        if_name: "eth1".into(),
        container_id: container.into(),
        node: None,
    };
    let add = async |container, uid| node.add_claimant(claimant(container, uid), &pool, None).await.unwrap();
    assert_eq!(add("claim-1", None).await, [ip("10.0.0.1")]);
    assert_eq!(add("claim-2", None).await, [ip("10.0.0.2")]);
    assert_eq!(add("claim-1", None).await, [ip("10.0.0.1")], "its own");
    let requested = node.add_claimant(claimant("claim-3", None), &pool, Some("10.0.0.1")).await;
    assert!(requested.unwrap_err().contains("is in use"));
    let requested = node.add_claimant(claimant("sandbox", Some("u")), &pool, Some("10.0.0.1")).await;
    assert!(requested.unwrap_err().contains("is in use"), "a pod of that name does not get it either");
    assert_eq!(add("sandbox", Some("u")).await, [ip("10.0.0.3")]);
    assert_eq!(add("next", Some("u")).await, [ip("10.0.0.3")], "the pod's next sandbox");
    let claim = node.server.get(CLAIMS, "kube-system", "10.0.0.3").unwrap();
    assert_eq!(claim["metadata"]["annotations"]["whereabouts.multus-rs/owner"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_mistake_in_the_excludes_does_not_keep_an_allocation_of_whereabouts() {
    let node = Node::new().await;
    let allocations = json!({"1": {"id": "c1", "podref": "default/a", "ifname": "net1"}});
    let pool = json!({"spec": {"range": "10.0.0.0/24", "allocations": allocations}});
    node.server.put("ippools", "kube-system", "10.0.0.0-24", pool);
    let upstream = [pool_of(&range("10.0.0.0/24", None, &["x"]))];
    let own = Record { container_id: "c1".into(), stage: Stage::Claiming, claims: Vec::new(), ..record("a") };
    release::release(&node.claims(), &own, Writer::Unknown, &upstream).await.unwrap();
    let pool = node.server.get("ippools", "kube-system", "10.0.0.0-24").unwrap();
    assert_eq!(pool["spec"]["allocations"], json!({}));
    assert_eq!(node.server.names(CLAIMS), Vec::<String>::new(), "its adopted claim is released too");
}

#[tokio::test]
async fn the_del_of_an_attachment_of_whereabouts_removes_its_allocation_and_the_claim_beside_it() {
    let node = Node::new().await;
    let allocations = json!({"1": {"id": "c1", "podref": "default/a", "ifname": "net1"}});
    // Adopted before: Whereabouts wrote the allocation on a node that had not changed over.
    let adopted = json!({"annotations": {"whereabouts.multus-rs/claim-names": "address"}});
    let pool = json!({"metadata": adopted, "spec": {"range": "10.0.0.0/24", "allocations": allocations}});
    node.server.put("ippools", "kube-system", "10.0.0.0-24", pool);
    node.server.put(
        CLAIMS,
        "kube-system",
        "10.0.0.1",
        json!({"spec": {"podref": "default/a", "ifname": "net1"}}),
    );
    let upstream = [pool_of(&range("10.0.0.0/24", None, &[]))];
    let other = Record { container_id: "c2".into(), ..record("a") };
    release::release(&node.claims(), &other, Writer::Unknown, &upstream).await.unwrap();
    assert_eq!(node.server.names(CLAIMS), ["10.0.0.1"], "another container's");
    let own = Record { container_id: "c1".into(), stage: Stage::Claiming, claims: Vec::new(), ..record("a") };
    release::release(&node.claims(), &own, Writer::Unknown, &upstream).await.unwrap();
    assert_eq!(node.server.names(CLAIMS), Vec::<String>::new());
    let pool = node.server.get("ippools", "kube-system", "10.0.0.0-24").unwrap();
    assert_eq!(pool["spec"]["allocations"], json!({}));
}

#[tokio::test]
async fn a_claim_that_cannot_be_deleted_does_not_keep_the_others_or_the_call() {
    let node = Node::new().await;
    let records = Records::open(node.state.path()).unwrap();
    for name in ["a-stuck", "b", "c"] {
        records.bury(&record(name)).unwrap();
    }
    node.server.fail("/a-stuck");
    let began = Instant::now();
    tombstones::drain_some(&node.claims(), &records, &NodeHints::open(node.state.path())).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let left: Vec<String> =
        records.tombstones().unwrap().into_iter().map(|record| record.container_id).collect();
    assert_eq!(left, ["a-stuck"]);
}
