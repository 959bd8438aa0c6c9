//! What is known of a cluster before it changes over.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use whereabouts::crd::ip_pool::Pool as IpPool;
use whereabouts::crd::reservation::Reservation;

use super::accounts::{Account, Identity, Roles, account};
use super::program::{Program, Started};
use super::workload::Workload;
use crate::definition::Definition;
use crate::finding::Finding;

/// What is there.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The workloads of Multus and Whereabouts, ours too.
    pub workloads: Vec<Workload>,
    /// The custom resources that exist, of those that are needed.
    pub resources: Vec<CustomResource>,
    /// The networks.
    pub definitions: Vec<Definition>,
    /// What `check` finds in them.
    pub findings: Vec<Finding>,
    /// The IPPools.
    pub pools: Vec<IpPool>,
    /// The reservations.
    pub claims: Vec<Reservation>,
    /// The NodeSlicePools, as `<namespace>/<name>`.
    pub slices: Vec<String>,
    /// The leases of Whereabouts and of our leader.
    pub leases: Vec<LeaseFacts>,
    /// The roles. `None` if the user may not read them.
    pub roles: Option<Roles>,
    /// The text of `daemon-config.json`, by namespace.
    pub daemon_configs: BTreeMap<String, String>,
    /// Pods that request networks and have no network-status, as `<namespace>/<name>`.
    pub without_status: Vec<String>,
    /// What the user may not read.
    pub unread: Vec<String>,
}

/// A custom resource definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CustomResource {
    /// Its name.
    pub name: String,
    /// The versions that the API server serves.
    pub versions: Vec<String>,
    /// Fields of ours that its schema does not have, so that the API server drops them.
    pub without: Vec<&'static str>,
}

/// A lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeaseFacts {
    /// `<namespace>/<name>`.
    pub lease: String,
    /// Who holds it; empty if nobody does.
    pub holder: String,
}

impl Facts {
    /// The accounts of the workloads.
    pub fn accounts(&self) -> Vec<Account> {
        let Some(roles) = &self.roles else { return Vec::new() };
        let mut all: BTreeMap<String, Account> = BTreeMap::new();
        for workload in &self.workloads {
            let found = account(workload, self.identity(workload), roles);
            let known = all.entry(found.account.clone()).or_insert_with(|| found.clone());
            // Two workloads of one account need different rights.
            known.lacks.extend(found.lacks);
            known.lacks.sort();
            known.lacks.dedup();
        }
        all.into_values().collect()
    }

    fn identity(&self, workload: &Workload) -> Identity {
        let config =
            self.daemon_configs.get(workload.namespace.as_str()).map(String::as_str).unwrap_or_default();
        let config: serde_json::Value = serde_json::from_str(config).unwrap_or_default();
        // Keys match in any case, as the daemon reads them.
        let key = |object: &serde_json::Value, wanted: &str| {
            let mut entries = object.as_object().into_iter().flatten();
            entries.find(|(key, _)| key.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.clone())
        };
        let certificate = key(&config, "perNodeCertificate").unwrap_or_default();
        let is_enabled = key(&certificate, "enabled") == Some(true.into());
        let generates = |started| started == Started::Upstream(Program::Certificates);
        let has_generator = workload.containers.iter().any(|container| generates(container.started));
        match workload.program {
            Program::MultusThick if is_enabled => Identity::Node,
            Program::MultusThin if has_generator => Identity::Node,
            _ => Identity::Account,
        }
    }
}

/// The custom resource definitions that are needed.
pub const NEEDED: [&str; 4] = [
    "network-attachment-definitions.k8s.cni.cncf.io",
    "ippools.whereabouts.cni.cncf.io",
    "overlappingrangeipreservations.whereabouts.cni.cncf.io",
    "nodeslicepools.whereabouts.cni.cncf.io",
];

/// The fields of an entry of an IPPool, below the schema of a version.
const ENTRY: &str =
    "/schema/openAPIV3Schema/properties/spec/properties/allocations/additionalProperties/properties";

/// The fields of a reservation.
const RESERVATION: &str = "/schema/openAPIV3Schema/properties/spec/properties";

/// What is known of a custom resource definition, by its whole object.
pub fn custom_resource(name: &str, object: &Value) -> CustomResource {
    let versions =
        object.pointer("/spec/versions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let served = versions.iter().filter(|version| version.get("served") == Some(&true.into()));
    let (pointer, fields): (&str, &[&'static str]) = match name.split_once('.').map(|(plural, _)| plural) {
        Some("ippools") => (ENTRY, &["ifname", "via"]),
        Some("overlappingrangeipreservations") => (RESERVATION, &["ifname", "containerid"]),
        _ => ("", &[]),
    };
    let lacks = |version: &Value, field: &str| {
        version.pointer(pointer).is_some_and(|fields| fields.get(field).is_none())
    };
    let without = fields.iter().copied().filter(|field| versions.iter().any(|version| lacks(version, field)));
    CustomResource {
        name: name.to_owned(),
        versions: served.filter_map(|version| version.get("name")?.as_str().map(str::to_owned)).collect(),
        without: without.collect(),
    }
}

/// Whether a pod with these annotations requests networks and has no network-status.
pub fn lacks_status(annotations: Option<&BTreeMap<String, String>>) -> bool {
    let value = |key: &str| annotations.and_then(|all| all.get(key)).map_or("", |text| text.trim());
    !value(nad::NETWORKS).is_empty() && value(nad::NETWORK_STATUS).is_empty()
}
