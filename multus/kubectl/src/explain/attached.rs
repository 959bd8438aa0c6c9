//! What a pod has: the entries of network-status, and its claims.

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::facts::{Facts, Status};
use crate::age::age;

/// One entry of network-status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attached {
    /// The interface; empty if the status names none.
    pub interface: String,
    /// The network.
    pub network: String,
    /// The addresses.
    pub ips: Vec<String>,
    /// The MAC address.
    pub mac: String,
    /// The MTU; empty if the status has none.
    pub mtu: String,
    /// The gateways.
    pub gateway: Vec<String>,
    /// Whether Kubernetes uses its address for the pod.
    pub default: bool,
}

/// One address that is claimed for the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claimed {
    /// The address.
    pub address: String,
    /// The pool.
    pub pool: String,
    /// The interface.
    pub interface: String,
    /// The node.
    pub node: String,
    /// How long it is claimed.
    pub age: String,
    /// For which pod of this name it was made.
    pub of: ClaimOf,
}

/// For which pod a claim was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimOf {
    /// This one, or the claim does not say.
    ThisPod,
    /// An earlier pod of the same name.
    EarlierPod,
}

/// The entries of network-status.
pub(super) fn rows(status: &Status) -> Vec<Attached> {
    match status {
        Status::Entries(entries) => entries.iter().map(row).collect(),
        Status::Absent | Status::Unreadable(_) => Vec::new(),
    }
}

fn row(entry: &Map<String, Value>) -> Attached {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let list = |key: &str| -> Vec<String> {
        let items = entry.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    Attached {
        interface: text("interface"),
        network: text("name"),
        ips: list("ips"),
        mac: text("mac"),
        mtu: entry.get("mtu").and_then(Value::as_u64).map(|mtu| mtu.to_string()).unwrap_or_default(),
        gateway: list("gateway"),
        default: entry.get("default").and_then(Value::as_bool).unwrap_or_default(),
    }
}

/// The claims of the pod, by interface and address.
pub(super) fn claims(facts: &Facts, now: Timestamp) -> Vec<Claimed> {
    let is_earlier = |uid: &str| !facts.pod.identity.is(uid);
    let mut all: Vec<Claimed> = facts
        .claims
        .iter()
        .flatten()
        .map(|claim| Claimed {
            address: claim.address.clone(),
            pool: claim.pool.clone(),
            interface: claim.interface.clone(),
            node: claim.node.clone(),
            age: age(claim.since, now),
            of: match claim.pod_uid.as_deref() {
                Some(uid) if is_earlier(uid) => ClaimOf::EarlierPod,
                Some(_) | None => ClaimOf::ThisPod,
            },
        })
        .collect();
    all.sort_by(|a, b| (&a.interface, &a.address).cmp(&(&b.interface, &b.address)));
    all
}
