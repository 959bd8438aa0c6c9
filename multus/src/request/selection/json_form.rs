//! The JSON form of an annotation: a list of objects.

use std::net::IpAddr;

use cni::json::decode;
use cni::names::IfName;
use ipnet::IpNet;
use node::names::{DnsLabel, DnsSubdomain};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::element::{AttachmentRequest, Bandwidth, Element, Family, PodRoute, PortMapping, Requester};
use super::error::{SelectionError, shown_long, within_limit};
use super::mac::is_hardware_address;

/// The known keys of an element. They match in any case, as in Go. Other keys are ignored, as the spec says.
const KNOWN: &[&str] = &[
    "name",
    "namespace",
    "ips",
    "mac",
    "infiniband-guid",
    "interface",
    "interfaceRequest",
    "portMappings",
    "bandwidth",
    "deviceID",
    "cni-args",
    "default-route",
    "routes",
    "ipFamilies",
];

/// An element as written. Keys of inner objects match in any case too, so those objects are decoded on their own.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    name: String,
    namespace: String,
    ips: Vec<String>,
    mac: String,
    #[serde(rename = "infiniband-guid")]
    infiniband_guid: String,
    interface: String,
    interface_request: String,
    port_mappings: Vec<Map<String, Value>>,
    bandwidth: Option<Map<String, Value>>,
    #[serde(rename = "deviceID")]
    device_id: String,
    #[serde(rename = "cni-args")]
    cni_args: Map<String, Value>,
    #[serde(rename = "default-route")]
    default_route: Option<Vec<IpAddr>>,
    routes: Vec<WireRoute>,
    ip_families: Vec<Family>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRoute {
    dst: IpNet,
    gw: Option<IpAddr>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct WirePort {
    host_port: i64,
    container_port: i64,
    protocol: String,
    #[serde(rename = "hostIP")]
    host_ip: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct WireBandwidth {
    ingress_rate: i64,
    ingress_burst: i64,
    egress_rate: i64,
    egress_burst: i64,
}

/// Reads the whole annotation. `pod_namespace` is the namespace of elements that name none.
pub(super) fn parse(text: &str, pod_namespace: &DnsLabel) -> Result<Vec<Element>, SelectionError> {
    let items: Vec<Map<String, Value>> = serde_json::from_str(text).map_err(|e| malformed(&e))?;
    within_limit(items.len())?;
    items.iter().enumerate().map(|(at, item)| element(at, item, pod_namespace)).collect()
}

fn element(
    at: usize,
    item: &Map<String, Value>,
    pod_namespace: &DnsLabel,
) -> Result<Element, SelectionError> {
    let wire: Wire = decode(item, KNOWN).map_err(|e| malformed(&format_args!("network {at}: {e}")))?;
    let wrong_name = |source| SelectionError::Name { at, source };
    let (namespace, name) = names(at, &wire)?;
    let namespace = match namespace {
        "" => pod_namespace.clone(),
        text => DnsLabel::new(text).map_err(wrong_name)?,
    };
    let name = DnsSubdomain::new(name).map_err(wrong_name)?;
    // Checked only: the plugin receives the text as written.
    wire.ips.iter().try_for_each(|ip| check_ip(ip))?;
    // `interfaceRequest` is an older name of this key, which upstream still reads.
    let interface = Some(wire.interface).filter(|i| !i.is_empty()).unwrap_or(wire.interface_request);
    let request = AttachmentRequest {
        requester: Requester::Pod,
        interface: given(interface).map(|name| interface_name(at, name)).transpose()?,
        mac: hardware_address(wire.mac, |text| SelectionError::Mac { text })?,
        infiniband_guid: hardware_address(wire.infiniband_guid, |text| SelectionError::Guid { text })?,
        port_mappings: wire.port_mappings.iter().map(|p| port_mapping(at, p)).collect::<Result<_, _>>()?,
        bandwidth: wire.bandwidth.as_ref().map(|b| bandwidth(at, b)).transpose()?,
        device_id: given(wire.device_id),
        ips: wire.ips,
        cni_args: wire.cni_args,
        default_route: wire.default_route,
        routes: wire.routes.iter().map(|route| pod_route(at, route)).collect::<Result<_, _>>()?,
        families: wire.ip_families,
    };
    Ok(Element { namespace, name, request })
}

/// The namespace and the name as written. `name` may be `<namespace>/<name>`, as in the comma form. Without a namespace the first is empty.
fn names(at: usize, wire: &Wire) -> Result<(&str, &str), SelectionError> {
    let own = wire.namespace.as_str();
    match wire.name.split_once('/') {
        None => Ok((own, &wire.name)),
        Some((namespace, name)) if own.is_empty() || own == namespace => Ok((namespace, name)),
        Some((namespace, _)) => {
            let (in_name, own) = (namespace.to_owned(), own.to_owned());
            Err(SelectionError::TwoNamespaces { at, in_name, own })
        }
    }
}

fn check_ip(text: &str) -> Result<(), SelectionError> {
    let owned = || text.to_owned();
    if text.contains('/') {
        return text.parse::<IpNet>().map(drop).map_err(|_| SelectionError::Cidr { text: owned() });
    }
    text.parse::<IpAddr>().map(drop).map_err(|_| SelectionError::Ip { text: owned() })
}

fn interface_name(at: usize, name: String) -> Result<IfName, SelectionError> {
    IfName::parse(&name).map_err(|e| SelectionError::JsonInterface { at, name, reason: e.msg })
}

fn hardware_address(
    text: String,
    error: fn(String) -> SelectionError,
) -> Result<Option<String>, SelectionError> {
    match given(text) {
        Some(text) if !is_hardware_address(&text) => Err(error(text)),
        address => Ok(address),
    }
}

fn pod_route(at: usize, wire: &WireRoute) -> Result<PodRoute, SelectionError> {
    let (dst, gw) = (wire.dst, wire.gw);
    let reason = if dst.prefix_len() == 0 {
        "request a default route by \"default-route\""
    } else if dst != dst.trunc() {
        "the destination has bits after its prefix length"
    } else if gw.is_some_and(|gw| gw.is_ipv4() != dst.addr().is_ipv4()) {
        "the gateway is of the other family"
    } else {
        return Ok(PodRoute { dst, gw });
    };
    Err(SelectionError::Route { at, dst: dst.to_string(), reason })
}

fn port_mapping(at: usize, item: &Map<String, Value>) -> Result<PortMapping, SelectionError> {
    let wire: WirePort = decode(item, &["hostPort", "containerPort", "protocol", "hostIP"])
        .map_err(|e| malformed(&format_args!("network {at}: portMappings: {e}")))?;
    let WirePort { host_port, container_port, protocol, host_ip } = wire;
    Ok(PortMapping { host_port, container_port, protocol, host_ip })
}

fn bandwidth(at: usize, item: &Map<String, Value>) -> Result<Bandwidth, SelectionError> {
    let wire: WireBandwidth = decode(item, &["ingressRate", "ingressBurst", "egressRate", "egressBurst"])
        .map_err(|e| malformed(&format_args!("network {at}: bandwidth: {e}")))?;
    let WireBandwidth { ingress_rate, ingress_burst, egress_rate, egress_burst } = wire;
    Ok(Bandwidth { ingress_rate, ingress_burst, egress_rate, egress_burst })
}

fn given(text: String) -> Option<String> {
    Some(text).filter(|t| !t.is_empty())
}

fn malformed(error: &dyn std::fmt::Display) -> SelectionError {
    SelectionError::Json { reason: shown_long(&error.to_string()) }
}
