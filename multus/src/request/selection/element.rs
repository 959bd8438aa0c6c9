//! One network of an annotation, and the requests for it.

use std::net::IpAddr;

use cni::names::IfName;
use ipnet::IpNet;
use node::names::{DnsLabel, DnsSubdomain};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// One network of an annotation.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    /// The namespace of its NetworkAttachmentDefinition.
    pub namespace: DnsLabel,
    /// The name of its NetworkAttachmentDefinition.
    pub name: DnsSubdomain,
    /// The requests for it.
    pub request: AttachmentRequest,
}

/// Who requests a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Requester {
    /// The configuration of the node. Every pod has the network.
    #[default]
    Configuration,
    /// An annotation of the pod.
    Pod,
}

/// What a pod requests of one attachment. Every field is optional.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttachmentRequest {
    /// Who requests it.
    pub requester: Requester,
    /// `interface`, or the older `interfaceRequest`: the name of the interface in the pod.
    pub interface: Option<IfName>,
    /// `ips`: addresses, with or without a prefix length.
    pub ips: Vec<String>,
    /// `mac`.
    pub mac: Option<String>,
    /// `infiniband-guid`.
    pub infiniband_guid: Option<String>,
    /// `portMappings`.
    pub port_mappings: Vec<PortMapping>,
    /// `bandwidth`.
    pub bandwidth: Option<Bandwidth>,
    /// `deviceID`.
    pub device_id: Option<String>,
    /// `cni-args`: merged into `args.cni` of the plugins.
    pub cni_args: Map<String, Value>,
    /// `default-route`: the pod's gateways on this network. An empty list has a meaning of its own; see `plan::routes`.
    pub default_route: Option<Vec<IpAddr>>,
    /// `routes`: routes that the pod adds to those of the network. Not in Multus.
    pub routes: Vec<PodRoute>,
    /// `ipFamilies`: the families of its addresses; empty for all of the network. Not in Multus.
    pub families: Vec<Family>,
}

/// One entry of `routes`. It is no default route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PodRoute {
    /// The destination.
    pub dst: IpNet,
    /// The gateway, of the same family; without it that of the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
}

/// One entry of `ipFamilies`, with Kubernetes' names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Family {
    /// `IPv4`.
    #[serde(rename = "IPv4")]
    V4,
    /// `IPv6`.
    #[serde(rename = "IPv6")]
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

impl AttachmentRequest {
    /// The arguments of the attachment by their names in the annotation, to see later whether they changed. Without the interface and the device,
    /// which others may choose.
    pub(crate) fn arguments(&self) -> Map<String, Value> {
        let mut arguments = Map::new();
        let mut add = |key: &str, value: Option<Value>| {
            arguments.extend(value.map(|value| (key.to_owned(), value)));
        };
        add("ips", (!self.ips.is_empty()).then(|| json!(self.ips)));
        add("mac", self.mac.as_ref().map(|mac| json!(mac)));
        add("infiniband-guid", self.infiniband_guid.as_ref().map(|guid| json!(guid)));
        add("portMappings", (!self.port_mappings.is_empty()).then(|| json!(self.port_mappings)));
        add("bandwidth", self.bandwidth.map(|bandwidth| json!(bandwidth)));
        add("cni-args", (!self.cni_args.is_empty()).then(|| json!(self.cni_args)));
        add("default-route", self.default_route.as_ref().map(|gateways| json!(gateways)));
        add("routes", (!self.routes.is_empty()).then(|| json!(self.routes)));
        add("ipFamilies", (!self.families.is_empty()).then(|| json!(self.families)));
        arguments
    }
}

/// One entry of `portMappings`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// Port on the host.
    pub host_port: i64,
    /// Port in the container.
    pub container_port: i64,
    /// `tcp`, `udp` or `sctp`. The plugin checks it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// Address on the host. The plugin checks it.
    #[serde(rename = "hostIP", skip_serializing_if = "String::is_empty")]
    pub host_ip: String,
}

/// `bandwidth`: rates in bit/s, bursts in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Bandwidth {
    pub ingress_rate: i64,
    pub ingress_burst: i64,
    pub egress_rate: i64,
    pub egress_burst: i64,
}
