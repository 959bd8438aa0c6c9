//! A pod's annotation, a NetworkAttachmentDefinition, and the record of a sandbox.

use std::net::IpAddr;
use std::path::Path;

use cni::names::{ContainerId, IfName, NetworkName};
use ipnet::IpNet;
use multus::network::{Network, is_self, of_definition};
use multus::plan::{Delegate, Role, RouteEdit, RuntimeRequest, plan};
use multus::record::{self, Owner, Record, RecordError};
use multus::request::{self, AttachmentRequest, Element, MAX_NETWORKS};
use nad::{NadRef, NetworkAttachmentDefinition, Spec};
use node::names::{DnsLabel, DnsSubdomain};
use serde_json::{Map, Value, json};

use super::super::{is_file_name, is_interface_name, is_network_name, lossy, put, same};

/// The annotation of a pod: an accepted one has checked names and at most 32 elements, and survives a round trip as JSON.
pub fn multus_networks(bytes: &[u8]) {
    let (text, own) = (lossy(bytes), DnsLabel::new("pod-ns").expect("a label"));
    let elements = match request::parse(&text, &own) {
        Ok(elements) => elements,
        Err(error) => return assert!(error.to_string().len() < 8192, "an error is short"),
    };
    assert!(elements.len() <= MAX_NETWORKS, "{} networks", elements.len());
    elements.iter().for_each(check);
    let written = Value::Array(elements.iter().map(json_form).collect()).to_string();
    let again = request::parse(&written, &own).unwrap_or_else(|e| panic!("{e}: {written}"));
    for (one, two) in elements.iter().zip(&again) {
        assert!(same(
            &Value::Object(one.request.cni_args.clone()),
            &Value::Object(two.request.cni_args.clone())
        ));
        let without_args = |e: &Element| Element {
            request: AttachmentRequest { cni_args: Map::new(), ..e.request.clone() },
            ..e.clone()
        };
        assert_eq!(without_args(one), without_args(two));
    }
    assert_eq!(again.len(), elements.len());
    if let Ok(Some(default)) = request::parse_default(&text, &own) {
        assert_eq!(elements, [default]);
    }
    planned(elements);
}

fn check(element: &Element) {
    let Element { namespace, name, request } = element;
    assert!(is_label(namespace.as_str()) && namespace.as_str().len() <= 63, "namespace {namespace:?}");
    assert!(name.as_str().split('.').all(is_label) && name.as_str().len() <= 253, "name {name:?}");
    assert!(
        request.interface.as_ref().is_none_or(|i| is_interface_name(i.as_str())),
        "{:?}",
        request.interface
    );
    for ip in &request.ips {
        assert!(ip.parse::<IpAddr>().is_ok() || ip.parse::<IpNet>().is_ok(), "{ip:?}");
    }
    for address in [&request.mac, &request.infiniband_guid].into_iter().flatten() {
        let digits = address.bytes().filter(u8::is_ascii_hexdigit).count();
        assert!(matches!(digits, 12 | 16 | 40) && address.is_ascii(), "{address:?}");
    }
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = [text.bytes().next(), text.bytes().last()];
    text.bytes().all(|b| inner(b) || b == b'-') && ends.iter().all(|end| end.is_some_and(inner))
}

fn json_form(element: &Element) -> Value {
    let AttachmentRequest {
        requester: _,
        interface,
        ips,
        mac,
        infiniband_guid,
        port_mappings,
        bandwidth,
        device_id,
        cni_args,
        default_route,
        routes,
        families,
    } = &element.request;
    let mut object = json!({ "namespace": element.namespace, "name": element.name, "ips": ips, "cni-args": cni_args,
        "portMappings": port_mappings, "bandwidth": bandwidth, "mac": mac, "infiniband-guid": infiniband_guid,
        "routes": routes, "ipFamilies": families, "interface": interface.as_ref().map(IfName::as_str), "deviceID": device_id });
    if let Some(gateways) = default_route {
        object["default-route"] = json!(gateways);
    }
    object
}

/// A plan of accepted networks gives each network its own interface.
fn planned(elements: Vec<Element>) {
    let container_id = ContainerId::parse("c1").expect("an id");
    let if_name = IfName::parse("eth0").expect("a name");
    let runtime = RuntimeRequest {
        container_id: &container_id,
        if_name: &if_name,
        runtime_config: &Map::new(),
        cluster_cidrs: &[],
    };
    let networks = elements.into_iter().map(|element| (network("a"), element.request)).collect();
    let Ok(delegates) = plan(runtime, networks) else { return };
    let mut names: Vec<&str> = delegates.iter().map(|d| d.if_name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), delegates.len(), "two networks share an interface");
}

fn network(name: &str) -> Network {
    let object = json!({ "cniVersion": "1.0.0", "name": name, "type": "bridge" });
    Network::from_object(object.as_object().cloned().unwrap_or_default(), None).expect("a network")
}

/// The configuration in a NetworkAttachmentDefinition: an accepted one has checked names, does not run multus, and accepts `cni-args`.
pub fn multus_nad(bytes: &[u8]) {
    let label = |text| DnsLabel::new(text).expect("a label");
    let nad_ref = NadRef { namespace: label("default"), name: DnsSubdomain::new("net.a").expect("a name") };
    let spec = Spec { config: lossy(bytes) };
    let definition = NetworkAttachmentDefinition { spec, ..NetworkAttachmentDefinition::default() };
    let Ok(network) = of_definition(&nad_ref, &definition, Path::new("/nonexistent")) else { return };
    assert_eq!(network.label, "default/net.a");
    check_network(&network);
    let args = json!({ "asked": 1 }).as_object().cloned().unwrap_or_default();
    let Ok(asked) = network.with_cni_args(&args) else { return };
    check_network(&asked);
    for plugin in &asked.list.plugins {
        let request = plugin.request(&asked.list, &Map::new(), None);
        if let Ok(conf) = cni::conf::NetConf::parse(Value::Object(request).to_string().as_bytes()) {
            assert_eq!(conf.args_cni["asked"], 1, "every plugin gets the cni-args");
        }
    }
}

fn check_network(network: &Network) {
    assert!(is_network_name(network.list.name.as_str()), "network name {:?}", network.list.name);
    assert!(!network.list.plugins.is_empty());
    for plugin in &network.list.plugins {
        let name = plugin.plugin_type.as_str();
        assert!(is_file_name(name) && !is_self(name), "plugin {name:?}");
    }
}

/// The record of a sandbox: an accepted one has checked names and survives a round trip.
pub fn multus_record(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (id, first) = (ContainerId::parse("c1").expect("an id"), IfName::parse("eth0").expect("a name"));
    put(&folder.path().join("c1"), bytes);
    let read = match record::read(folder.path(), &id, &first) {
        Ok(read) => read.expect("the file exists"),
        Err(RecordError::Damaged { .. }) => return,
        Err(other) => panic!("expected the error Damaged, got: {other}"),
    };
    assert!(!read.delegates.is_empty(), "a record names a network");
    for recorded in &read.delegates {
        check_network(&recorded.network);
        assert!(is_interface_name(recorded.if_name.as_str()), "{:?}", recorded.if_name);
    }
    let owner = read.owner.clone();
    let owner =
        owner.unwrap_or_else(|| Owner { network: NetworkName::parse("n").expect("a name"), pod: None });
    record::write(folder.path(), &id, &owner, &delegates(&read))
        .expect("a record that was read can be written");
    let again = record::read(folder.path(), &id, &first).expect("and read again").expect("it is there");
    assert_eq!(again.owner, Some(owner));
    assert_eq!(again.delegates.len(), read.delegates.len());
    for (one, two) in read.delegates.iter().zip(&again.delegates) {
        let (list, other) = (&one.network.list, &two.network.list);
        assert_eq!(
            (&list.name, list.cni_version, list.check, list.gc),
            (&other.name, other.cni_version, other.check, other.gc)
        );
        assert_eq!((&one.network.label, &one.if_name), (&two.network.label, &two.if_name));
        assert!(
            list.plugins
                .iter()
                .zip(&other.plugins)
                .all(|(a, b)| a.plugin_type == b.plugin_type && a.capabilities == b.capabilities)
        );
        assert_eq!(list.plugins.len(), other.plugins.len());
        assert!(same(
            &Value::Object(one.capability_args.clone()),
            &Value::Object(two.capability_args.clone())
        ));
    }
}

fn delegates(record: &Record) -> Vec<Delegate> {
    let delegate = |recorded: &record::Recorded| Delegate {
        network: recorded.network.clone(),
        role: Role::Additional,
        if_name: recorded.if_name.clone(),
        request: AttachmentRequest::default(),
        capability_args: recorded.capability_args.clone(),
        route_edit: RouteEdit::default(),
    };
    record.delegates.iter().map(delegate).collect()
}
