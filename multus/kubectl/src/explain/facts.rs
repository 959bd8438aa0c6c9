//! What is known of a pod, as values.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::jiff::Timestamp;
use nad::{DEFAULT_NETWORK, MIRROR_POD, NETWORK_STATUS, NETWORKS, NadRef, PodIdentity, PodRef};
use serde_json::{Map, Value};
use whereabouts::crd::reservation::{LABEL_NODE, Reservation};
use whereabouts::pool::claim_reader::ClaimNameReader;

/// All that is known. A part that could not be read is an error text.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The pod.
    pub pod: PodFacts,
    /// The definitions that it names.
    pub definitions: BTreeMap<NadRef, Lookup>,
    /// Definitions of other namespaces that have a name which the pod asks for.
    pub namesakes: Vec<NadRef>,
    /// The claims whose `podref` is the pod.
    pub claims: Result<Vec<ClaimFacts>, String>,
    /// The events about the pod.
    pub events: Result<Vec<EventFacts>, String>,
}

/// The answer of the API server about a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Its `spec.config`.
    Found(String),
    /// It does not exist.
    Absent,
    /// It cannot be read.
    Unreadable(String),
}

/// The parts of a pod object that matter.
#[derive(Clone, Debug)]
pub struct PodFacts {
    /// Its names.
    pub pod_ref: PodRef,
    /// Its UID.
    pub uid: String,
    /// Its UIDs.
    pub identity: PodIdentity,
    /// Its node; empty if none was chosen yet.
    pub node: String,
    /// Its phase.
    pub phase: String,
    /// Whether it is being deleted.
    pub deletion: Deletion,
    /// Whether it has a network of its own.
    pub network: PodNetwork,
    /// The annotation `k8s.v1.cni.cncf.io/networks`.
    pub networks: String,
    /// The annotation `v1.multus-cni.io/default-network`.
    pub default_network: String,
    /// The annotation `k8s.v1.cni.cncf.io/network-status`.
    pub status: Status,
}

/// Whether a pod is being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// No.
    NotAsked,
    /// Yes.
    Asked,
}

/// Whether a pod has a network of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodNetwork {
    /// Yes.
    Own,
    /// `hostNetwork: true`: it uses the node's.
    Hosts,
}

/// The annotation network-status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// There is none.
    Absent,
    /// Its entries.
    Entries(Vec<Map<String, Value>>),
    /// It is not what the spec says.
    Unreadable(String),
}

/// One claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimFacts {
    /// The address, or the name of the claim if that names none.
    pub address: String,
    /// The pool; empty if the claim states none.
    pub pool: String,
    /// The interface; empty if the claim states none.
    pub interface: String,
    /// The node; empty if the claim states none.
    pub node: String,
    /// The UID of the pod, if the claim states one.
    pub pod_uid: Option<String>,
    /// When it was made.
    pub since: Option<Timestamp>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFacts {
    /// Its reason, such as `FailedCreatePodSandBox`.
    pub reason: String,
    /// Its text.
    pub message: String,
    /// How often it happened.
    pub count: i32,
    /// When it happened last.
    pub last: Option<Timestamp>,
}

impl PodFacts {
    /// From the pod's object.
    pub fn of(pod_ref: PodRef, pod: &Pod) -> Self {
        let annotations = pod.metadata.annotations.as_ref();
        let annotation = |key: &str| annotations.and_then(|all| all.get(key)).cloned().unwrap_or_default();
        let (spec, status) = (pod.spec.as_ref(), pod.status.as_ref());
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let mirror = annotations.and_then(|all| all.get(MIRROR_POD));
        PodFacts {
            pod_ref,
            identity: PodIdentity::new(&uid, mirror.map(String::as_str)),
            uid,
            node: spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
            phase: status.and_then(|status| status.phase.clone()).unwrap_or_default(),
            deletion: match pod.metadata.deletion_timestamp {
                Some(_) => Deletion::Asked,
                None => Deletion::NotAsked,
            },
            network: match spec.and_then(|spec| spec.host_network) {
                Some(true) => PodNetwork::Hosts,
                Some(false) | None => PodNetwork::Own,
            },
            networks: annotation(NETWORKS),
            default_network: annotation(DEFAULT_NETWORK),
            status: Status::of(&annotation(NETWORK_STATUS)),
        }
    }

    /// The phase, or "Terminating".
    pub fn shown_phase(&self) -> &str {
        match self.deletion {
            Deletion::Asked => "Terminating",
            Deletion::NotAsked => &self.phase,
        }
    }
}

impl Status {
    /// From the annotation's text.
    fn of(text: &str) -> Self {
        if text.trim().is_empty() {
            return Status::Absent;
        }
        match serde_json::from_str(text) {
            Ok(entries) => Status::Entries(entries),
            Err(error) => Status::Unreadable(error.to_string()),
        }
    }
}

impl ClaimFacts {
    /// From the claim's object.
    pub fn of(claim: &Reservation) -> Self {
        let name = claim.metadata.name.clone().unwrap_or_default();
        let pool = claim.pool().unwrap_or_default();
        let address = claim.range().and_then(|range| ClaimNameReader::of(pool, &range).address(&name));
        ClaimFacts {
            address: address.map_or(name, |ip| ip.to_string()),
            pool: pool.to_owned(),
            interface: claim.if_name().to_owned(),
            node: claim
                .metadata
                .labels
                .as_ref()
                .and_then(|labels| labels.get(LABEL_NODE))
                .cloned()
                .unwrap_or_default(),
            pod_uid: claim.pod_uid().map(str::to_owned),
            since: claim.metadata.creation_timestamp.as_ref().map(|time| time.0),
        }
    }
}

impl EventFacts {
    /// From the event's object.
    pub fn of(event: &Event) -> Self {
        let series = event.series.as_ref();
        let of_series = series.and_then(|series| series.last_observed_time.as_ref().map(|time| time.0));
        let last = of_series.or(event.last_timestamp.as_ref().map(|time| time.0));
        EventFacts {
            reason: event.reason.clone().unwrap_or_default(),
            message: event.message.clone().unwrap_or_default(),
            count: series.and_then(|series| series.count).or(event.count).unwrap_or(1),
            last: last.or(event.event_time.as_ref().map(|time| time.0)),
        }
    }
}
