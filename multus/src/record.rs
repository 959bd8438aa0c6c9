//! The record of a sandbox: `<cniDir>/<container id>`, written before the first plugin runs and removed after the last one is undone. DEL
//! needs nothing else.
//!
//! It is upstream's file, read and written, so that a node can change between the two under running pods: a JSON list with one object
//! for each network, in order. What multus-rs knows besides is in a key of its own, which upstream passes over.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cni::json::fold_keys;
use cni::list::Allowed;
use cni::names::{ContainerId, IfName, NetworkName};
use node::files::{Dir, FileError, read_bounded, remove_if_exists};
use node::names::{DnsLabel, DnsSubdomain, PodUid};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::network::Network;
use crate::plan::{self, Delegate};
use crate::pod::PodRef;

/// Largest record that is written or read, in bytes.
const MAX_RECORD: usize = 16 << 20;

/// The key for what upstream does not know.
const OWN: &str = "multusRs";

/// What was, or was to be, attached to one sandbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The networks in the order of ADD; at least one.
    pub delegates: Vec<Recorded>,
    /// Who it was for; unknown in a record of upstream's.
    pub owner: Option<Owner>,
}

/// One network of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// The network.
    pub network: Network,
    /// Its interface in the pod.
    pub if_name: IfName,
    /// What was offered as capabilities; upstream keeps this in the result cache only.
    pub capability_args: Map<String, Value>,
}

/// For whom a record was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The name of the conf that multus was called with.
    pub network: NetworkName,
    /// The pod, in Kubernetes.
    pub pod: Option<PodRef>,
}

/// A record cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file system.
    #[error("record of the sandbox: {0}")]
    File(#[from] FileError),
    /// It is there, and is none.
    #[error("record {} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It would be larger than any that is read.
    #[error(
        "the configurations of the pod's networks have {size} bytes together, at most {MAX_RECORD} can be recorded"
    )]
    TooLarge {
        /// Its size.
        size: usize,
    },
}

#[derive(Serialize)]
struct Wire<'a> {
    #[serde(rename = "Conf")]
    conf: Value,
    #[serde(rename = "ConfList")]
    conf_list: Value,
    #[serde(rename = "Name")]
    name: &'a str,
    #[serde(rename = "ifnameRequest", skip_serializing_if = "Option::is_none")]
    interface: Option<&'a str>,
    #[serde(rename = "macRequest", skip_serializing_if = "Option::is_none")]
    mac: Option<&'a str>,
    #[serde(rename = "infinibandGUIDRequest", skip_serializing_if = "Option::is_none")]
    infiniband_guid: Option<&'a str>,
    #[serde(rename = "ipRequest", skip_serializing_if = "<[String]>::is_empty")]
    ips: &'a [String],
    #[serde(rename = "default-route", skip_serializing_if = "Option::is_none")]
    default_route: Option<&'a [std::net::IpAddr]>,
    #[serde(rename = "IsFilterV4Gateway")]
    drop_v4: bool,
    #[serde(rename = "IsFilterV6Gateway")]
    drop_v6: bool,
    #[serde(rename = "deviceID", skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a str>,
    #[serde(rename = "Bytes")]
    bytes: String,
    #[serde(rename = "multusRs")]
    own: Own,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Own {
    network: String,
    if_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pod_namespace: Option<DnsLabel>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pod_name: Option<DnsSubdomain>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pod_uid: Option<PodUid>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    capability_args: Map<String, Value>,
}

/// Writes the record of a sandbox: whole, or not at all.
pub fn write(
    cni_dir: &Path,
    container_id: &ContainerId,
    owner: &Owner,
    delegates: &[Delegate],
) -> Result<(), RecordError> {
    let wires: Vec<Wire<'_>> = delegates.iter().map(|delegate| wire(owner, delegate)).collect();
    let damaged = |e: serde_json::Error| damaged(&file(cni_dir, container_id), &e);
    let bytes = serde_json::to_vec(&wires).map_err(damaged)?;
    if bytes.len() > MAX_RECORD {
        return Err(RecordError::TooLarge { size: bytes.len() });
    }
    Ok(Dir::open(cni_dir)?.write(container_id.as_str(), &bytes)?)
}

/// The record of a sandbox; `None` where there is none. `first` is the interface of the first network, which upstream leaves out.
pub fn read(
    cni_dir: &Path,
    container_id: &ContainerId,
    first: &IfName,
) -> Result<Option<Record>, RecordError> {
    let path = file(cni_dir, container_id);
    let bytes = match read_bounded(&path, MAX_RECORD as u64) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let items: Vec<Map<String, Value>> = serde_json::from_slice(&bytes).map_err(|e| damaged(&path, &e))?;
    if items.is_empty() {
        return Err(damaged(&path, &"it names no network"));
    }
    let mut record = Record { delegates: Vec::with_capacity(items.len()), owner: None };
    for (at, item) in items.into_iter().enumerate() {
        let (recorded, owner) = recorded(at, item, first).map_err(|reason| damaged(&path, &reason))?;
        record.delegates.push(recorded);
        record.owner = record.owner.or(owner);
    }
    Ok(Some(record))
}

/// Removes the record of a sandbox, if there is one.
pub fn remove(cni_dir: &Path, container_id: &ContainerId) -> Result<(), RecordError> {
    Ok(remove_if_exists(&file(cni_dir, container_id))?)
}

/// The sandboxes that have a record, with the time it was written.
pub fn all(cni_dir: &Path) -> Result<Vec<(ContainerId, SystemTime)>, RecordError> {
    let entries = match std::fs::read_dir(cni_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(FileError::Io { action: "list", path: cni_dir.to_owned(), source }.into()),
    };
    let of = |entry: std::fs::DirEntry| {
        let container_id = ContainerId::parse(entry.file_name().to_str()?).ok()?;
        let found = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some((container_id, found.modified().ok()?))
    };
    let mut records: Vec<_> = entries.flatten().filter_map(of).collect();
    records.sort();
    Ok(records)
}

fn file(cni_dir: &Path, container_id: &ContainerId) -> PathBuf {
    cni_dir.join(container_id.as_str())
}

fn wire<'a>(owner: &Owner, delegate: &'a Delegate) -> Wire<'a> {
    let Delegate { network, if_name, request, capability_args, route_edit, .. } = delegate;
    let object = with_version(network);
    let pod = owner.pod.as_ref();
    Wire {
        conf: typed_conf(&object),
        conf_list: typed_list(network, &object),
        name: &network.label,
        interface: request.interface.as_ref().map(IfName::as_str),
        mac: request.mac.as_deref(),
        infiniband_guid: request.infiniband_guid.as_deref(),
        ips: &request.ips,
        default_route: request.default_route.as_deref(),
        drop_v4: route_edit.drop_v4,
        drop_v6: route_edit.drop_v6,
        device_id: request.device_id.as_deref(),
        bytes: STANDARD.encode(Value::Object(object).to_string()),
        own: Own {
            network: owner.network.to_string(),
            if_name: if_name.to_string(),
            pod_namespace: pod.map(|p| p.namespace.clone()),
            pod_name: pod.map(|p| p.name.clone()),
            pod_uid: pod.and_then(|p| p.uid.clone()),
            capability_args: capability_args.clone(),
        },
    }
}

/// The configuration with its version spelt out: upstream would rewrite a list without one at DEL, and lose its plugins' keys.
fn with_version(network: &Network) -> Map<String, Value> {
    let mut object = network.object.clone();
    fold_keys(&mut object, &["cniVersion", "name", "type", "plugins"]);
    object.entry("cniVersion").or_insert_with(|| network.list.cni_version.as_str().into());
    object
}

/// What upstream's typed view of a single configuration holds; of a list, its version and name.
fn typed_conf(object: &Map<String, Value>) -> Value {
    let mut folded = object.clone();
    fold_keys(&mut folded, &["cniVersion", "name", "type", "capabilities", "ipam"]);
    let mut typed = Map::new();
    for key in ["cniVersion", "name", "type", "capabilities"] {
        typed.extend(folded.get(key).map(|value| (key.to_owned(), value.clone())));
    }
    let ipam = folded.get("ipam").and_then(|ipam| ipam.get("type")).cloned();
    typed.insert("ipam".to_owned(), ipam.map_or_else(|| json!({}), |kind| json!({ "type": kind })));
    typed.insert("dns".to_owned(), json!({}));
    Value::Object(typed)
}

/// Upstream takes a delegate for a list if this has plugins.
fn typed_list(network: &Network, object: &Map<String, Value>) -> Value {
    if object.get("type").and_then(Value::as_str).is_some_and(|t| !t.is_empty()) {
        return json!({});
    }
    let plugins: Vec<Value> = network.list.plugins.iter().map(|plugin| typed_conf(&plugin.object)).collect();
    let mut list =
        json!({ "cniVersion": network.list.cni_version.as_str(), "name": network.list.name.as_str() });
    if let Value::Object(typed) = &mut list {
        for (key, allowed) in [("disableCheck", network.list.check), ("disableGC", network.list.gc)] {
            typed.extend((allowed == Allowed::No).then(|| (key.to_owned(), Value::Bool(true))));
        }
        typed.insert("plugins".to_owned(), Value::Array(plugins));
    }
    list
}

/// Reads one object of a record. The error is the reason alone.
fn recorded(
    at: usize,
    mut item: Map<String, Value>,
    first: &IfName,
) -> Result<(Recorded, Option<Owner>), String> {
    fold_keys(&mut item, &["Name", "Bytes", "ifnameRequest"]);
    let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default();
    let wrong = |what: &str, why: &dyn std::fmt::Display| format!("network {at}: {what}: {why}");
    let bytes = STANDARD.decode(text("Bytes")).map_err(|e| wrong("Bytes", &e))?;
    let object = cni::json::parse_object(&bytes).map_err(|e| wrong("Bytes", &e))?;
    let label = Some(text("Name").to_owned()).filter(|label| !label.is_empty());
    let network = Network::from_object(object, label).map_err(|e| wrong("Bytes", &e))?;
    let own: Option<Own> =
        item.get(OWN).cloned().map(serde_json::from_value).transpose().map_err(|e| wrong(OWN, &e))?;
    let asked = Some(own.as_ref().map_or_else(|| text("ifnameRequest"), |own| &own.if_name))
        .filter(|name| !name.is_empty());
    let asked = asked.map(IfName::parse).transpose().map_err(|e| wrong("interface", &e))?;
    let if_name = plan::interface(at, asked.as_ref(), first).map_err(|e| wrong("interface", &e))?;
    let (capability_args, owner) = match own {
        None => (Map::new(), None),
        Some(own) => {
            let network = NetworkName::parse(&own.network).map_err(|e| wrong(OWN, &e))?;
            let names = own.pod_namespace.zip(own.pod_name);
            let pod = names.map(|(namespace, name)| PodRef { namespace, name, uid: own.pod_uid });
            (own.capability_args, Some(Owner { network, pod }))
        }
    };
    Ok((Recorded { network, if_name, capability_args }, owner))
}

fn damaged(path: &Path, reason: &dyn std::fmt::Display) -> RecordError {
    RecordError::Damaged { path: path.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests;
