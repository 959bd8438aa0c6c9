//! The format of a record. It is upstream's, read and written, so that a node can change between upstream and multus-rs while pods run:
//! a JSON list with one object for each network, in the order of ADD. What upstream does not record is in a key of our own, which
//! upstream ignores.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cni::json::fold_keys;
use cni::list::Allowed;
use cni::names::{IfName, NetworkName};
use nad::PodRef;
use node::names::{DnsLabel, DnsSubdomain, PodUid};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::content::{Owner, Record, Recorded};
use crate::network::Network;
use crate::plan::{self, Delegate, Role};
use crate::request::Requester;

/// The key for what upstream does not record.
pub(super) const OWN: &str = "multusRs";

/// One network as written. Upstream reads `Conf` or `ConfList`, and `Bytes`; we read `Bytes` and our own key.
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
    #[serde(rename = "resourceName", skip_serializing_if = "Option::is_none")]
    resource_name: Option<&'a str>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    requested: Option<Map<String, Value>>,
}

/// The record of these networks as it is on disk.
pub(super) fn to_bytes(owner: &Owner, delegates: &[Delegate]) -> Result<Vec<u8>, serde_json::Error> {
    let wires: Vec<Wire<'_>> = delegates.iter().map(|delegate| wire(owner, delegate)).collect();
    serde_json::to_vec(&wires)
}

/// Reads a record. The error is what is wrong with it.
pub(super) fn from_bytes(bytes: &[u8], first: &IfName) -> Result<Record, String> {
    let items: Vec<Map<String, Value>> = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    if items.is_empty() {
        return Err("it has no network".to_owned());
    }
    let mut record = Record { delegates: Vec::with_capacity(items.len()), owner: None };
    for (at, item) in items.into_iter().enumerate() {
        let (recorded, owner) = recorded(at, item, first)?;
        record.delegates.push(recorded);
        // Each object repeats the owner, because the file has no place outside of them.
        record.owner = record.owner.or(owner);
    }
    Ok(record)
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
        resource_name: network.resource_name.as_deref(),
        bytes: STANDARD.encode(Value::Object(object).to_string()),
        own: Own {
            network: owner.network.to_string(),
            if_name: if_name.to_string(),
            pod_namespace: pod.map(|p| p.namespace.clone()),
            pod_name: pod.map(|p| p.name.clone()),
            pod_uid: pod.and_then(|p| p.uid.clone()),
            capability_args: capability_args.clone(),
            requested: requested(delegate),
        },
    }
}

/// What the pod requests of the network, if it is a network of the pod's own.
fn requested(delegate: &Delegate) -> Option<Map<String, Value>> {
    match (delegate.role, delegate.request.requester) {
        (Role::Additional, Requester::Pod) => Some(delegate.request.arguments()),
        (Role::Default, _) | (_, Requester::Configuration) => None,
    }
}

/// The record with one more network at its end. The others stay as they are written.
pub(super) fn with_network(bytes: &[u8], owner: &Owner, delegate: &Delegate) -> Result<Vec<u8>, String> {
    let mut items: Vec<Value> = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    items.push(serde_json::to_value(wire(owner, delegate)).map_err(|e| e.to_string())?);
    serde_json::to_vec(&items).map_err(|e| e.to_string())
}

/// The record without the network at place `at`. Those behind it keep their interfaces, also for upstream, which counts them unless they have a
/// requested name.
pub(super) fn without_network(bytes: &[u8], at: usize) -> Result<Vec<u8>, String> {
    let mut items: Vec<Map<String, Value>> = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    for item in items.iter_mut().skip(at) {
        let if_name = item.get(OWN).and_then(|own| own.get("ifName")).cloned();
        item.extend(if_name.map(|name| ("ifnameRequest".to_owned(), name)));
    }
    if at < items.len() {
        items.remove(at);
    }
    serde_json::to_vec(&items).map_err(|e| e.to_string())
}

/// The configuration with an explicit version. Without one, upstream rewrites a list at DEL and drops unknown keys of its plugins.
fn with_version(network: &Network) -> Map<String, Value> {
    let mut object = network.object.clone();
    fold_keys(&mut object, &["cniVersion", "name", "type", "plugins"]);
    object.entry("cniVersion").or_insert_with(|| network.list.cni_version.as_str().into());
    object
}

/// Upstream's typed form of a single configuration. For a list it has only version and name.
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

/// Upstream's typed form of a list. Empty for a single configuration: upstream takes a delegate for a list if this has plugins.
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

/// Reads one object of a record. The error is what is wrong with it.
fn recorded(
    at: usize,
    mut item: Map<String, Value>,
    first: &IfName,
) -> Result<(Recorded, Option<Owner>), String> {
    fold_keys(&mut item, &["Name", "Bytes", "ifnameRequest"]);
    let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default();
    let wrong = |what: &str, why: &dyn std::fmt::Display| format!("network {at}: {what}: {why}");
    let object = match whole_list(&item) {
        Some(object) => object,
        None => {
            let bytes = STANDARD.decode(text("Bytes")).map_err(|e| wrong("Bytes", &e))?;
            cni::json::parse_object(&bytes).map_err(|e| wrong("Bytes", &e))?
        }
    };
    let label = Some(text("Name").to_owned()).filter(|label| !label.is_empty());
    let network = Network::from_object(object, label).map_err(|e| wrong("Bytes", &e))?;
    let own: Option<Own> =
        item.get(OWN).cloned().map(serde_json::from_value).transpose().map_err(|e| wrong(OWN, &e))?;
    // Our key has the final name. Upstream records only a requested one.
    let name = Some(own.as_ref().map_or_else(|| text("ifnameRequest"), |own| &own.if_name))
        .filter(|name| !name.is_empty());
    let name = name.map(IfName::parse).transpose().map_err(|e| wrong("interface", &e))?;
    let if_name = plan::interface(at, name.as_ref(), first).map_err(|e| wrong("interface", &e))?;
    let requested = own.as_ref().and_then(|own| own.requested.clone());
    let (capability_args, owner) = match own {
        None => (Map::new(), None),
        Some(own) => {
            let network = NetworkName::parse(&own.network).map_err(|e| wrong(OWN, &e))?;
            let names = own.pod_namespace.zip(own.pod_name);
            let pod = names.map(|(namespace, name)| PodRef { namespace, name, uid: own.pod_uid });
            (own.capability_args, Some(Owner { network, pod }))
        }
    };
    Ok((Recorded { network, if_name, capability_args, requested }, owner))
}

/// A list as Multus 4.2.1 to 4.3.0 ran it. Its `Bytes` have lost the keys that upstream does not know, such as the ranges of `host-local`; the plugins in
/// `CNINetworkConfigList`, those of the list's folder included, have them. `None` if the record has no such
/// list, or one that cannot be run.
fn whole_list(item: &Map<String, Value>) -> Option<Map<String, Value>> {
    let list = item.get("CNINetworkConfigList")?.as_object()?;
    let plugin = |plugin: &Value| {
        let bytes = STANDARD.decode(plugin.get("Bytes")?.as_str()?).ok()?;
        let object = cni::json::parse_object(&bytes).ok()?;
        object.get("type").is_some_and(Value::is_string).then_some(Value::Object(object))
    };
    let plugins: Option<Vec<Value>> = list.get("Plugins")?.as_array()?.iter().map(plugin).collect();
    let plugins = plugins.filter(|plugins| !plugins.is_empty())?;
    let mut object = Map::new();
    for (key, upstream) in [
        ("cniVersion", "CNIVersion"),
        ("name", "Name"),
        ("disableCheck", "DisableCheck"),
        ("disableGC", "DisableGC"),
    ] {
        // Upstream writes the zero values of what is not set.
        let set = list
            .get(upstream)
            .filter(|value| !matches!(value.as_str(), Some("")) && **value != Value::Bool(false));
        object.extend(set.map(|value| (key.to_owned(), value.clone())));
    }
    object.insert("plugins".to_owned(), Value::Array(plugins));
    Some(object)
}
