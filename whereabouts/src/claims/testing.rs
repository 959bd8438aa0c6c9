//! A cluster of nodes without daemons, for the tests of this folder: the shared fake of the API server, and the calls of the plugins.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use node::deadline::Deadline;
use node::names::DnsLabel;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::allocate::{self, PriorAttempt};
use super::store::Claims;
use super::{release, tombstones};
use crate::addr::range::RangeSpec;
use crate::conf::OverlappingRanges;
use crate::conf::request::Claim;
use crate::crd::ip_pool::{CLAIM_NAMES, ClaimNaming};
use crate::crd::reservation::{Reservation, ReservationOwner, ReservationSpec};
use crate::leader::tests::server::Server;
use crate::node_state::hints::{HintStore, NodeHints};
use crate::node_state::installation::Writer;
use crate::node_state::record::{Record, Records, Stage};
use crate::pool::held_claim::Claimed;
use crate::pool::request::{AllocationRequest, Claimant, PoolRequest};

pub(super) const CLAIMS: &str = "overlappingrangeipreservations";
pub(super) const POOL: &str = "10.0.0.0-29";

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The interface of a pod whose container has the pod's name.
pub(super) fn claimant(pod: &str) -> Claimant {
    Claimant {
        podref: format!("default/{pod}"),
        pod_uid: Some(format!("uid-{pod}")),
        if_name: "net1".into(),
        container_id: pod.into(),
        node: None,
    }
}

pub(super) fn pool_request(range: &str, overlapping: OverlappingRanges) -> PoolRequest {
    let range = RangeSpec::parse(range, None, None, Vec::new()).unwrap();
    PoolRequest { range, network: None, overlapping, slice: None }
}

pub(super) fn claim_of(pool: &str, name: &str, pod: &str) -> Reservation {
    let spec =
        ReservationSpec { podref: format!("default/{pod}"), ifname: "net1".into(), containerid: pod.into() };
    let range: IpNet = "10.0.0.0/29".parse().unwrap();
    Reservation::new(name, ReservationOwner { pool, whole: pool, range, pod_uid: None, node: None, spec })
}

/// A cluster of nodes without daemons.
pub(super) struct World {
    pub(super) server: Server,
    api: node::client::ApiClient,
    namespace: DnsLabel,
}

/// The state folder of a node.
pub(super) struct Node(TempDir);

impl Node {
    pub(super) fn new() -> Self {
        Node(tempfile::tempdir().unwrap())
    }

    pub(super) fn hints(&self) -> HintStore {
        NodeHints::open(self.0.path()).of(&DnsLabel::new("kube-system").unwrap())
    }

    pub(super) fn records(&self) -> Records {
        Records::open(self.0.path()).unwrap()
    }

    /// The clock of the node runs on: what it remembers of the pool is too old.
    pub(super) fn forget(&self) {
        self.hints().remove_naming(POOL);
    }
}

pub(super) fn record(pod: &str, claims: Vec<Claimed>) -> Record {
    Record {
        container_id: pod.into(),
        if_name: "net1".into(),
        podref: format!("default/{pod}"),
        network: "n".into(),
        kubeconfig: None,
        namespace: Some(DnsLabel::new("kube-system").unwrap()),
        pod_uid: Some(format!("uid-{pod}")),
        stage: Stage::Held,
        claims: claims.into_iter().map(|claimed| claimed.claim).collect(),
    }
}

/// The record of an ADD that has begun: without it a call claims nothing.
pub(crate) fn begun(claimant: &Claimant) -> Record {
    let Claimant { podref, pod_uid, if_name, container_id, .. } = claimant.clone();
    let none = record("", Vec::new());
    Record { container_id, if_name, podref, pod_uid, stage: Stage::Claiming, ..none }
}

impl World {
    pub(super) async fn new() -> Self {
        let server = Server::default();
        let api = server.client().await;
        World { server, api, namespace: DnsLabel::new("kube-system").unwrap() }
    }

    /// A world whose pool is named like this.
    pub(super) async fn with(naming: ClaimNaming) -> Self {
        let world = World::new().await;
        world.put_pool(json!({ CLAIM_NAMES: naming.text() }), json!({}));
        world
    }

    pub(super) fn claims(&self) -> Claims<'_> {
        let deadline = Deadline::after(Duration::from_secs(20));
        Claims { api: &self.api, namespace: &self.namespace, deadline }
    }

    pub(super) fn put_pool(&self, annotations: Value, allocations: Value) {
        let spec = json!({ "range": "10.0.0.0/29", "allocations": allocations });
        let pool = json!({ "metadata": { "annotations": annotations }, "spec": spec });
        self.server.put("ippools", "kube-system", POOL, pool);
    }

    pub(super) fn delete_pool(&self) {
        self.server.remove("ippools", "kube-system", POOL);
    }

    pub(super) fn put(&self, claim: &Reservation) {
        let name = claim.metadata.name.clone().unwrap();
        self.server.put(CLAIMS, "kube-system", &name, serde_json::to_value(claim).unwrap());
    }

    pub(super) fn naming(&self) -> Option<String> {
        let pool = self.server.get("ippools", "kube-system", POOL)?;
        pool["metadata"]["annotations"][CLAIM_NAMES].as_str().map(str::to_owned)
    }

    pub(super) async fn serve(
        &self,
        node: &Node,
        claimant: Claimant,
        pool: PoolRequest,
        requested: Option<IpAddr>,
    ) -> Result<Vec<Claimed>, String> {
        node.records().write(&begun(&claimant)).unwrap();
        let request = AllocationRequest {
            claimant,
            namespace: None,
            pools: vec![pool],
            wanted: vec![Claim { range: 0, requested }],
        };
        let served = allocate::serve(&self.claims(), &request, &node.hints(), PriorAttempt::Absent).await;
        served.map_err(|failure| failure.error.to_string())
    }

    /// ADD. Returns the names of the claims.
    pub(super) async fn add(&self, node: &Node, pod: &str, overlapping: OverlappingRanges) -> Vec<String> {
        let pool = pool_request("10.0.0.0/29", overlapping);
        let claimed = self.serve(node, claimant(pod), pool, None).await.unwrap();
        let names = claimed[0].claim.objects().map(|(name, _)| name.to_string()).collect();
        node.records().write(&record(pod, claimed)).unwrap();
        names
    }

    /// DEL.
    pub(super) async fn del(&self, node: &Node, pod: &str) {
        let all = node.records().all().unwrap();
        let record = all.iter().find(|record| record.container_id == pod).unwrap();
        NodeHints::open(node.0.path()).remove_pins(record).unwrap();
        release::release(&self.claims(), record, Writer::ThisInstallation, &[]).await.unwrap();
        node.records().remove(pod, "net1").unwrap();
        tombstones::update_hints(&node.hints(), record);
    }

    pub(super) fn names(&self) -> Vec<String> {
        let mut names = self.server.names(CLAIMS);
        names.sort();
        names
    }
}
