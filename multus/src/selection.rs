//! Which networks an annotation names, and what is asked of each (multi-network spec 1.3, "Pod Attachment Annotation"): a list separated
//! by commas, or a JSON list of objects. Whatever cannot be understood is an error: a pod with fewer networks than it asks for
//! would run and fail later.

mod json_form;
mod mac;

use std::net::IpAddr;

use cni::names::IfName;
use node::names::{DnsLabel, DnsSubdomain};
use serde::Serialize;
use serde_json::{Map, Value};

/// The annotation of the networks that a pod gets besides the default one.
pub const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
/// The annotation of the network that a pod gets in place of the cluster's default one.
pub const DEFAULT_NETWORK: &str = "v1.multus-cni.io/default-network";

/// Most networks that one annotation may name: each is a plugin run and a read of the API server.
pub const MAX_NETWORKS: usize = 32;
/// Longest annotation that is read, in bytes.
pub const MAX_TEXT: usize = 64 << 10;

/// One network of an annotation.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    /// The namespace of its NetworkAttachmentDefinition.
    pub namespace: DnsLabel,
    /// The name of its NetworkAttachmentDefinition.
    pub name: DnsSubdomain,
    /// What is asked of it.
    pub request: Request,
}

/// What may be asked of one attachment. All empty where nothing is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// `interface`, or the older `interfaceRequest`: the name in the pod.
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
    /// `cni-args`, for `args.cni` of the plugins.
    pub cni_args: Map<String, Value>,
    /// `default-route`: the pod's gateways on this network. An empty list is not the same as none.
    pub default_route: Option<Vec<IpAddr>>,
}

/// One entry of `portMappings`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// Port on the host.
    pub host_port: i64,
    /// Port in the container.
    pub container_port: i64,
    /// `tcp`, `udp` or `sctp`; not checked here.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// Address on the host; not checked here.
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

/// An annotation cannot be understood. The pod's owner must change it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// It is longer than [`MAX_TEXT`].
    #[error("the annotation has {length} bytes, at most {MAX_TEXT} are read")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// It names more than [`MAX_NETWORKS`].
    #[error("the annotation names {count} networks, at most {MAX_NETWORKS} are attached")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// More than one `/` in an item of the comma form.
    #[error("parsePodNetworkObjectName: Invalid network object (failed at '/')")]
    Slash,
    /// More than one `@` in an item of the comma form.
    #[error("parsePodNetworkObjectName: Invalid network object (failed at '@')")]
    At,
    /// A name in the comma form is not made of lower-case letters, digits and `-`.
    #[error(
        "parsePodNetworkObjectName: Failed to parse: one or more items did not match comma-delimited format (must consist of lower \
         case alphanumeric characters). Must start and end with an alphanumeric character), mismatch @ '{}'", shown(.item)
    )]
    Mismatch {
        /// The name.
        item: String,
    },
    /// An interface name that Linux does not allow, in the comma form.
    #[error(
        "parsePodNetworkObjectName: Failed to parse interface name: must be less than 15 chars and not contain '/' or spaces. \
         interface name '{}'", shown(.name)
    )]
    Interface {
        /// The name.
        name: String,
    },
    /// The JSON form is no list of objects with the right types.
    #[error(
        "parsePodNetworkAnnotation: failed to parse pod Network Attachment Selection Annotation JSON format: {reason}"
    )]
    Json {
        /// What is wrong, and where.
        reason: String,
    },
    /// A name in the JSON form is none that an object can have.
    #[error("parsePodNetworkAnnotation: network {at}: {source}")]
    Name {
        /// The place in the list, from 0.
        at: usize,
        /// What is wrong.
        source: node::names::NameError,
    },
    /// An interface name that Linux does not allow, in the JSON form.
    #[error("parsePodNetworkAnnotation: network {at}: {reason}: '{}'", shown(.name))]
    JsonInterface {
        /// The place in the list, from 0.
        at: usize,
        /// The name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// An entry of `ips` with a `/` that is no prefix.
    #[error("failed to parse CIDR \"{0}\": invalid CIDR address: {0}", shown(.text))]
    Cidr {
        /// The entry.
        text: String,
    },
    /// An entry of `ips` that is no address.
    #[error("failed to parse IP address \"{}\"", shown(.text))]
    Ip {
        /// The entry.
        text: String,
    },
    /// `mac` is none.
    #[error("parsePodNetworkAnnotation: failed to mac: address {}: invalid MAC address", shown(.text))]
    Mac {
        /// The text.
        text: String,
    },
    /// `infiniband-guid` is none.
    #[error("parsePodNetworkAnnotation: failed to validate infiniband GUID: address {}: invalid MAC address", shown(.text))]
    Guid {
        /// The text.
        text: String,
    },
    /// The annotation of the default network names several.
    #[error("tryLoadK8sPodDefaultNetwork: more than one default network is specified: {}", shown(.text))]
    SeveralDefaults {
        /// The annotation.
        text: String,
    },
}

/// The networks that `text` names, in order; `own` is the namespace of those that name none. Nothing but white space names none.
pub fn parse(text: &str, own: &DnsLabel) -> Result<Vec<Element>, SelectionError> {
    if text.len() > MAX_TEXT {
        return Err(SelectionError::TooLong { length: text.len() });
    }
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    if text.contains(['[', '{', '"']) {
        return json_form::parse(text, own);
    }
    let items: Vec<&str> = text.split(',').collect();
    within_limit(items.len())?;
    items.into_iter().map(|item| comma_item(item.trim(), own)).collect()
}

/// The network that `text` names as the pod's default one; `own` is the namespace of multus. White space names none.
pub fn parse_default(text: &str, own: &DnsLabel) -> Result<Option<Element>, SelectionError> {
    let mut elements = parse(text, own)?;
    if elements.len() > 1 {
        return Err(SelectionError::SeveralDefaults { text: text.to_owned() });
    }
    Ok(elements.pop())
}

fn within_limit(count: usize) -> Result<(), SelectionError> {
    if count > MAX_NETWORKS { Err(SelectionError::TooMany { count }) } else { Ok(()) }
}

/// `[<namespace>/]<name>[@<interface>]`.
fn comma_item(item: &str, own: &DnsLabel) -> Result<Element, SelectionError> {
    let (namespace, rest) = match item.split('/').collect::<Vec<_>>().as_slice() {
        [rest] => ("", *rest),
        [namespace, rest] => (namespace.trim(), *rest),
        _ => return Err(SelectionError::Slash),
    };
    let (name, interface) = match rest.split('@').collect::<Vec<_>>().as_slice() {
        [name] => (name.trim(), ""),
        [name, interface] => (name.trim(), interface.trim()),
        _ => return Err(SelectionError::At),
    };
    let mismatch = |item: &str| SelectionError::Mismatch { item: item.to_owned() };
    let namespace = match namespace {
        "" => own.clone(),
        text => DnsLabel::new(text).map_err(|_| mismatch(text))?,
    };
    // A dot is fine in a name, but this form never took one.
    let name = Some(name)
        .filter(|n| !n.contains('.'))
        .and_then(|n| DnsSubdomain::new(n).ok())
        .ok_or_else(|| mismatch(name))?;
    let interface = match interface {
        "" => None,
        text => Some(IfName::parse(text).map_err(|_| SelectionError::Interface { name: text.to_owned() })?),
    };
    Ok(Element { namespace, name, request: Request { interface, ..Request::default() } })
}

/// Foreign text fit for a message: escaped and cut.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

/// As [`shown`], for a parser's whole sentence.
fn shown_long(text: &str) -> String {
    text.chars().take(300).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests;
