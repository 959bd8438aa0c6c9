//! What a pod asked for, and what became of each network.

use std::path::Path;

use cni::names::{ContainerId, IfName};
use multus::network::{Network, of_definition};
use multus::plan::{RuntimeRequest, plan};
use multus::request::{AttachmentRequest, Element, SelectionError, parse, parse_default};
use nad::{DEFAULT_NETWORK, NETWORKS, NadRef, NetworkAttachmentDefinition, Spec};
use node::names::DnsLabel;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::attached::Attached;
use super::facts::{Facts, Lookup};
use super::problem::Problem;
use crate::definition::{AttachedBy, Definition, read};
use crate::finding::Severity;

/// The namespace of default networks without one (`multusNamespace`), by default.
const MULTUS_NAMESPACE: &str = "kube-system";

/// The interface of the default network.
const FIRST_INTERFACE: &str = "eth0";

/// One network that the pod asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// `<namespace>/<name>`.
    pub network: String,
    /// The interface in the pod.
    pub interface: String,
    /// What else the pod asks of it, such as "ips 10.0.0.9".
    pub requests: Vec<String>,
    /// The types of its plugins; empty if the definition cannot be read.
    pub plugins: Vec<String>,
    /// The masters of its macvlan and ipvlan plugins, in order of preference.
    pub masters: Vec<String>,
    /// The ranges of its addresses.
    pub ranges: Vec<String>,
    /// What became of it.
    pub state: NetworkState,
}

/// What became of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkState {
    /// network-status has it.
    Attached,
    /// network-status does not have it.
    NotAttached,
    /// Antrea's agent attaches it, not multus.
    LeftToAntrea,
}

/// The networks of the annotation, and what is wrong with them.
pub(super) fn rows(facts: &Facts, attached: &[Attached]) -> (Vec<Asked>, Vec<Problem>) {
    let mut problems: Vec<Problem> = wrong_default_network(facts).into_iter().collect();
    let elements = match parse(&facts.pod.networks, &facts.pod.pod_ref.namespace) {
        Ok(elements) => elements,
        Err(error) => {
            let remedy = format!("correct the annotation {NETWORKS} and create the pod again");
            problems.push(Problem::new(error.to_string(), remedy));
            return (Vec::new(), problems);
        }
    };
    let mut free: Vec<&Attached> = attached.iter().collect();
    let (mut asked, mut networks) = (Vec::new(), Vec::new());
    for (at, element) in elements.into_iter().enumerate() {
        let nad_ref = NadRef { namespace: element.namespace.clone(), name: element.name.clone() };
        let definition = resolve(facts, &nad_ref, &mut problems);
        if let Some(definition) = &definition {
            problems.extend(undeclared(&element.request, definition));
        }
        // A network that multus does not attach has its own rules.
        let ours = network(facts, &nad_ref).filter(|network| network.antrea_network_type().is_none());
        networks.push(ours.map(|network| (network, element.request.clone())));
        asked.push(row(at, &element, &nad_ref.to_string(), definition, &mut free));
    }
    // Conflicts between networks can only be found if all are known.
    if let Some(networks) = networks.into_iter().collect::<Option<Vec<_>>>() {
        problems.extend(conflict(networks));
    }
    (asked, problems)
}

/// The network that the pod asks for in place of the cluster's default network, as `<namespace>/<name>`.
pub(super) fn default_network(facts: &Facts) -> Option<String> {
    let element = parsed_default(facts).ok().flatten()?;
    Some(NadRef { namespace: element.namespace, name: element.name }.to_string())
}

fn wrong_default_network(facts: &Facts) -> Option<Problem> {
    let error = parsed_default(facts).err()?;
    let remedy = format!("correct the annotation {DEFAULT_NETWORK} and create the pod again");
    Some(Problem::new(error.to_string(), remedy))
}

fn parsed_default(facts: &Facts) -> Result<Option<Element>, SelectionError> {
    // The namespace of the multus configuration is not known here, and is kube-system nearly everywhere.
    match DnsLabel::new(MULTUS_NAMESPACE) {
        Ok(namespace) => parse_default(&facts.pod.default_network, &namespace),
        Err(_) => Ok(None),
    }
}

/// The definition of a network, if there is a usable one. What is wrong with it is a problem of the pod.
fn resolve(facts: &Facts, nad_ref: &NadRef, problems: &mut Vec<Problem>) -> Option<Definition> {
    match facts.definitions.get(nad_ref) {
        Some(Lookup::Found(config)) => {
            let definition = read(nad_ref, config);
            let errors = definition.findings.iter().filter(|finding| finding.severity == Severity::Error);
            problems.extend(errors.map(|finding| {
                let remedy = match finding.remedy.as_str() {
                    "" => "correct the definition",
                    remedy => remedy,
                };
                Problem::new(format!("network-attachment-definition {nad_ref}: {}", finding.message), remedy)
            }));
            Some(definition)
        }
        Some(Lookup::Absent) => {
            let others: Vec<String> = facts
                .namesakes
                .iter()
                .filter(|other| other.name == nad_ref.name)
                .map(NadRef::to_string)
                .collect();
            let remedy = match others.as_slice() {
                [] => "create it, or correct the annotation".to_owned(),
                others => format!(
                    "there is {}: name the namespace in the annotation, or create it here",
                    others.join(" and ")
                ),
            };
            problems.push(Problem::new(
                format!("network-attachment-definition {nad_ref} does not exist"),
                remedy,
            ));
            None
        }
        Some(Lookup::Unreadable(_)) | None => None,
    }
}

/// What the pod asks of plugins that do not take it.
fn undeclared(request: &AttachmentRequest, definition: &Definition) -> Vec<Problem> {
    // Addresses and MAC addresses reach plugins by CNI_ARGS too.
    let wanted = [
        ("portMappings", !request.port_mappings.is_empty()),
        ("bandwidth", request.bandwidth.is_some()),
        ("infinibandGUID", request.infiniband_guid.is_some()),
        ("deviceID", request.device_id.is_some()),
    ];
    let missing = wanted.into_iter().filter(|(capability, is_wanted)| {
        *is_wanted && !definition.capabilities.iter().any(|declared| declared == capability)
    });
    missing
        .map(|(capability, _)| {
            Problem::new(
                format!("the pod asks {} for {capability}, but no plugin of it declares that capability, so it has no effect", definition.name),
                format!("add \"capabilities\": {{\"{capability}\": true}} to the plugin that does it"),
            )
        })
        .collect()
}

fn row(
    at: usize,
    element: &Element,
    network: &str,
    definition: Option<Definition>,
    free: &mut Vec<&Attached>,
) -> Asked {
    // The default network has place 0.
    let planned =
        element.request.interface.as_ref().map_or_else(|| format!("net{}", at + 1), IfName::to_string);
    let is_same = |entry: &&Attached| entry.network == network;
    let position = free.iter().position(|entry| is_same(entry) && entry.interface == planned);
    // Networks of the node's configuration (defaultNetworks) shift the numbers.
    let position = position.or_else(|| free.iter().position(is_same));
    let entry = position.map(|position| free.remove(position));
    let is_antrea =
        definition.as_ref().is_some_and(|definition| definition.attached_by == AttachedBy::AntreaAgent);
    let state = match entry {
        Some(_) => NetworkState::Attached,
        None if is_antrea => NetworkState::LeftToAntrea,
        None => NetworkState::NotAttached,
    };
    let interface =
        entry.map(|entry| entry.interface.clone()).filter(|name| !name.is_empty()).unwrap_or(planned);
    let masters = definition.as_ref().map(Definition::masters).unwrap_or_default();
    let (plugins, ranges) = definition.map_or_else(Default::default, |definition| {
        (definition.plugins, definition.pools.iter().map(|pool| pool.range().to_string()).collect())
    });
    Asked {
        network: network.to_owned(),
        interface,
        requests: requests(&element.request),
        plugins,
        masters,
        ranges,
        state,
    }
}

/// What a pod asks of one network, in words.
fn requests(request: &AttachmentRequest) -> Vec<String> {
    let mut all = Vec::new();
    let mut add =
        |what: &str, value: Option<String>| all.extend(value.map(|value| format!("{what} {value}")));
    let list = |items: &[String]| (!items.is_empty()).then(|| items.join(" "));
    add("ips", list(&request.ips));
    add("mac", request.mac.clone());
    add("infiniband-guid", request.infiniband_guid.clone());
    add("deviceID", request.device_id.clone());
    let gateways = request
        .default_route
        .as_ref()
        .map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    add("default-route", gateways);
    let routes: Vec<String> = request.routes.iter().map(|route| route.dst.to_string()).collect();
    add("routes", list(&routes));
    let families: Vec<String> =
        request.families.iter().map(|family| format!("IP{family:?}").to_lowercase()).collect();
    add("ipFamilies", list(&families));
    add("portMappings", (!request.port_mappings.is_empty()).then(|| request.port_mappings.len().to_string()));
    add("bandwidth", request.bandwidth.map(|rates| format!("{}/{}", rates.ingress_rate, rates.egress_rate)));
    add(
        "cni-args",
        (!request.cni_args.is_empty())
            .then(|| request.cni_args.keys().cloned().collect::<Vec<_>>().join(" ")),
    );
    all
}

fn network(facts: &Facts, nad_ref: &NadRef) -> Option<Network> {
    let Some(Lookup::Found(config)) = facts.definitions.get(nad_ref) else { return None };
    if config.is_empty() {
        return None;
    }
    let spec = Spec { config: config.clone() };
    let definition = NetworkAttachmentDefinition { spec, ..NetworkAttachmentDefinition::default() };
    // With a spec.config no file is read.
    of_definition(nad_ref, &definition, Path::new("/")).ok()
}

/// What an ADD would say about these networks together.
fn conflict(networks: Vec<(Network, AttachmentRequest)>) -> Option<Problem> {
    let object = json!({"cniVersion": "1.0.0", "name": "default", "type": "default"});
    let first = Network::from_object(object.as_object()?.clone(), None).ok()?;
    let all: Vec<_> = std::iter::once((first, AttachmentRequest::default())).chain(networks).collect();
    // An id as long as those of container runtimes.
    let container_id = ContainerId::parse(&"0".repeat(64)).ok()?;
    let if_name = IfName::parse(FIRST_INTERFACE).ok()?;
    let runtime = RuntimeRequest {
        container_id: &container_id,
        if_name: &if_name,
        runtime_config: &Map::<String, Value>::new(),
        cluster_cidrs: &[],
    };
    let error = plan(runtime, all).err()?;
    Some(Problem::new(
        error.to_string(),
        format!("correct the annotation {NETWORKS} and create the pod again"),
    ))
}
