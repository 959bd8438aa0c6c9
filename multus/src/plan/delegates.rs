//! Which plugins run, in which order, for which interface and with which arguments. Conflicts between the networks of a pod are found
//! here, before any plugin runs.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cni::CniError;
use cni::names::{ContainerId, IfName};
use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::device::device_file;
use super::routes::{self, RouteEdit, SeveralGateways};
use crate::network::Network;
use crate::request::AttachmentRequest;

/// The longest name of a file in bytes, which the kernel and every file system of a node have (NAME_MAX of limits.h).
const MAX_FILE_NAME: usize = 255;

/// Keys of the annotation that are capabilities of our plugins. Multus has neither.
const ROUTES: &str = "routes";
const FAMILIES: &str = "ipFamilies";

/// One network of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Delegate {
    /// The network.
    pub network: Network,
    /// Whether it is the default network.
    pub role: Role,
    /// The name of its interface in the pod.
    pub if_name: IfName,
    /// What the pod requests of it.
    pub request: AttachmentRequest,
    /// The capability arguments. A plugin receives those whose capability its configuration declares.
    pub capability_args: Map<String, Value>,
    /// The change of its default routes after ADD.
    pub route_edit: RouteEdit,
}

/// The place of a network in the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The default network. The runtime gets its result, and Kubernetes the pod's addresses from it.
    Default,
    /// Any other.
    Additional,
}

/// The networks of a pod conflict. The annotation must be corrected.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Two have the same interface name.
    #[error(
        "networks {first} and {second} would both get the interface name {if_name}: give one of them another \"interface\""
    )]
    SameInterface {
        /// The name.
        if_name: IfName,
        /// The first network.
        first: String,
        /// The second network.
        second: String,
    },
    /// Several gateways of one family.
    #[error(transparent)]
    SeveralGateways(#[from] SeveralGateways),
    /// The name of a file for this attachment would be too long for the kernel.
    #[error(
        "network {network}: the name of its file {file:?} has {} bytes, but a file name has at most {MAX_FILE_NAME}: shorten the name of the \
         network", .file.len()
    )]
    LongName {
        /// The label of the network.
        network: String,
        /// The name of the file.
        file: String,
    },
    /// A network of the configuration, or the default network, is of the kind that Antrea's agent attaches.
    #[error(
        "network {network} is of type antrea with a networkType, which Antrea's agent attaches if the annotation k8s.v1.cni.cncf.io/networks \
         of the pod names it: do not name it in the multus configuration or as the default network"
    )]
    AntreasInConfiguration {
        /// The label of the network.
        network: String,
    },
    /// The pod requests a network of Antrea's, but Antrea does not know the pod.
    #[error(
        "network {network} is of type antrea with a networkType, which only Antrea's agent attaches (feature gate SecondaryNetwork), but the \
         default network of the pod is not Antrea's: remove the network from the annotation, or use a node that runs Antrea"
    )]
    WithoutAntrea {
        /// The label of the network.
        network: String,
    },
    /// The pod chooses what the owner of the network does not let it choose. Without the capability no plugin would do it.
    #[error(
        "network {network} does not let a pod choose {key:?}: no plugin of it declares the capability. Remove the key from the annotation, or \
         add {key:?}: true to the \"capabilities\" of a macvlan or ipvlan plugin of multus-rs"
    )]
    NotDeclared {
        /// The label of the network.
        network: String,
        /// The key of the annotation, which is that of the capability.
        key: &'static str,
    },
    /// The generated name of an interface is not valid.
    #[error("interface {at}: {source}")]
    Interface {
        /// The place in the plan, from 0.
        at: usize,
        /// What is wrong.
        source: CniError,
    },
}

/// The attachment that the runtime requests.
#[derive(Clone, Copy, Debug)]
pub struct RuntimeRequest<'a> {
    /// The sandbox.
    pub container_id: &'a ContainerId,
    /// The interface of the default network.
    pub if_name: &'a IfName,
    /// The capability arguments of the runtime. They are for the default network only: a host port can lead to only one network.
    pub runtime_config: &'a Map<String, Value>,
    /// What stays reachable by the default network if the pod moves its default route to another.
    pub cluster_cidrs: &'a [IpNet],
}

/// Plans the attachment of these networks in their order. The first is the default network.
pub fn plan(
    runtime: RuntimeRequest<'_>,
    networks: Vec<(Network, AttachmentRequest)>,
) -> Result<Vec<Delegate>, PlanError> {
    let gateways: Vec<Option<&[IpAddr]>> =
        networks.iter().map(|(_, request)| request.default_route.as_deref()).collect();
    let edits = routes::edits(&gateways)?;
    let mut delegates = Vec::with_capacity(networks.len());
    for (at, ((network, request), mut route_edit)) in networks.into_iter().zip(edits).enumerate() {
        let if_name = interface(at, request.interface.as_ref(), runtime.if_name)?;
        let role = if at == 0 { Role::Default } else { Role::Additional };
        if role == Role::Default {
            route_edit = route_edit.keeping(runtime.cluster_cidrs);
        }
        let of_runtime = match role {
            Role::Default => runtime.runtime_config.clone(),
            Role::Additional => Map::new(),
        };
        let capability_args =
            capability_args(of_runtime, runtime.container_id, &if_name, &network, &request)?;
        delegates.push(Delegate { network, role, if_name, request, capability_args, route_edit });
    }
    check_interfaces(&delegates)?;
    Ok(delegates)
}

/// Plans one more network of a pod that runs. It changes no route of another attachment.
pub(crate) fn plan_additional(
    container_id: &ContainerId,
    if_name: IfName,
    network: Network,
    request: AttachmentRequest,
) -> Result<Delegate, PlanError> {
    let capability_args = capability_args(Map::new(), container_id, &if_name, &network, &request)?;
    // The record has the name for upstream, which else counts.
    let request = AttachmentRequest { interface: Some(if_name.clone()), ..request };
    let (role, route_edit) = (Role::Additional, RouteEdit::default());
    Ok(Delegate { network, role, if_name, request, capability_args, route_edit })
}

/// The capability arguments of a network: those of the runtime, and what the pod requests. Refuses a network whose files would have too long
/// names.
fn capability_args(
    of_runtime: Map<String, Value>,
    container_id: &ContainerId,
    if_name: &IfName,
    network: &Network,
    request: &AttachmentRequest,
) -> Result<Map<String, Value>, PlanError> {
    check_declared(network, request)?;
    // The cached result, by libcni's rule; see `cni::cache`.
    check_file_name(network, &format!("{}-{container_id}-{if_name}", network.list.name))?;
    let mut args = of_runtime;
    args.extend(capabilities(request));
    // Upstream names the file only with a device, though the capability could be declared without one.
    if request.device_id.is_some() {
        let file = device_file(&network.label, container_id, if_name);
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        check_file_name(network, &name)?;
        args.insert("CNIDeviceInfoFile".to_owned(), file.to_string_lossy().into());
    }
    Ok(args)
}

/// Returns the interface of the network at place `at`, from 0: the requested one, `first` for the default network, or `net<at>`. Records
/// of upstream have only requested names, so DEL needs this too.
pub(crate) fn interface(at: usize, requested: Option<&IfName>, first: &IfName) -> Result<IfName, PlanError> {
    match (requested, at) {
        (Some(name), _) => Ok(name.clone()),
        (None, 0) => Ok(first.clone()),
        // The place counts networks whose interface has a requested name too, as upstream does. So numbers may be missing.
        (None, at) => {
            IfName::parse(&format!("net{at}")).map_err(|source| PlanError::Interface { at, source })
        }
    }
}

/// Refuses a choice of the pod that no plugin of the network declares. Only for keys that Multus does not have: its own are left out without a
/// word, as in Multus.
fn check_declared(network: &Network, request: &AttachmentRequest) -> Result<(), PlanError> {
    let is_declared =
        |key: &str| network.list.plugins.iter().any(|p| p.capabilities.iter().any(|c| c == key));
    for (key, is_chosen) in [(ROUTES, !request.routes.is_empty()), (FAMILIES, !request.families.is_empty())] {
        if is_chosen && !is_declared(key) {
            return Err(PlanError::NotDeclared { network: network.label.clone(), key });
        }
    }
    Ok(())
}

/// Refuses a network whose file cannot have this name, before a plugin makes something that cannot be recorded.
fn check_file_name(network: &Network, file: &str) -> Result<(), PlanError> {
    if file.len() <= MAX_FILE_NAME {
        return Ok(());
    }
    Err(PlanError::LongName { network: network.label.clone(), file: file.to_owned() })
}

fn check_interfaces(delegates: &[Delegate]) -> Result<(), PlanError> {
    let mut taken = BTreeMap::new();
    for delegate in delegates {
        if let Some(first) = taken.insert(&delegate.if_name, &delegate.network.label) {
            return Err(PlanError::SameInterface {
                if_name: delegate.if_name.clone(),
                first: first.clone(),
                second: delegate.network.label.clone(),
            });
        }
    }
    Ok(())
}

/// The requests of the pod as capability arguments, by the names of the CNI conventions.
pub(crate) fn capabilities(request: &AttachmentRequest) -> Map<String, Value> {
    let mut args = Map::new();
    let mut add = |key: &str, value: Option<Value>| {
        args.extend(value.map(|value| (key.to_owned(), value)));
    };
    add("portMappings", (!request.port_mappings.is_empty()).then(|| json!(request.port_mappings)));
    add("bandwidth", request.bandwidth.map(|b| json!(b)));
    add("ips", (!request.ips.is_empty()).then(|| json!(request.ips)));
    add("mac", request.mac.as_ref().map(|m| json!(m)));
    add("infinibandGUID", request.infiniband_guid.as_ref().map(|g| json!(g)));
    add("deviceID", request.device_id.as_ref().map(|d| json!(d)));
    add(ROUTES, (!request.routes.is_empty()).then(|| json!(request.routes)));
    add(FAMILIES, (!request.families.is_empty()).then(|| json!(request.families)));
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::network;

    fn request(value: Value) -> AttachmentRequest {
        let text = Value::Array(vec![value]).to_string();
        crate::request::parse(&text, &node::names::DnsLabel::new("default").unwrap())
            .unwrap()
            .remove(0)
            .request
    }

    fn planned(
        runtime_config: Value,
        networks: Vec<(Network, AttachmentRequest)>,
    ) -> Result<Vec<Delegate>, PlanError> {
        let (container_id, if_name) = (ContainerId::parse("c1").unwrap(), IfName::parse("eth0").unwrap());
        let runtime_config = runtime_config.as_object().unwrap().clone();
        plan(
            RuntimeRequest {
                container_id: &container_id,
                if_name: &if_name,
                runtime_config: &runtime_config,
                cluster_cidrs: &["10.244.0.0/16".parse().unwrap()],
            },
            networks,
        )
    }

    fn any(name: &str) -> (Network, AttachmentRequest) {
        (network(name, "1.0.0"), AttachmentRequest::default())
    }

    fn named(interface: &str) -> (Network, AttachmentRequest) {
        (network("x", "1.0.0"), request(json!({"name": "x", "interface": interface})))
    }

    #[test]
    fn an_interface_has_the_requested_name_or_a_number() {
        let plan = planned(json!({}), vec![any("a"), any("b"), named("data"), any("b")]).unwrap();
        let names: Vec<&str> = plan.iter().map(|d| d.if_name.as_str()).collect();
        assert_eq!(names, ["eth0", "net1", "data", "net3"]);
        let roles: Vec<Role> = plan.iter().map(|d| d.role).collect();
        assert_eq!(roles, [Role::Default, Role::Additional, Role::Additional, Role::Additional]);
    }

    #[test]
    fn two_networks_with_one_interface_are_refused_before_anything_runs() {
        for second in ["eth0", "net2"] {
            let error = planned(json!({}), vec![any("a"), named(second), any("b")]).unwrap_err();
            assert!(
                error.to_string().contains(&format!("would both get the interface name {second}")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_network_name_may_be_as_long_as_the_name_of_its_file_allows() {
        let long = |length: usize| {
            let name = "n".repeat(length);
            let conf = json!({"cniVersion": "1.0.0", "name": name, "type": "a"});
            let network = Network::from_object(conf.as_object().unwrap().clone(), None).unwrap();
            planned(json!({}), vec![any("a"), (network, AttachmentRequest::default())])
        };
        // `<name>-c1-net1`
        assert!(long(255 - "-c1-net1".len()).is_ok());
        let error = long(255 - "-c1-net1".len() + 1).unwrap_err().to_string();
        assert!(
            error
                .ends_with("has 256 bytes, but a file name has at most 255: shorten the name of the network"),
            "{error}"
        );
    }

    #[test]
    fn a_device_file_with_too_long_a_name_is_refused() {
        let named = |namespace: usize| {
            let conf = json!({"cniVersion": "1.0.0", "name": "n".repeat(200), "type": "a"});
            let label = format!("{}/{}", "s".repeat(namespace), "n".repeat(200));
            let network = Network::from_object(conf.as_object().unwrap().clone(), Some(label)).unwrap();
            planned(json!({}), vec![any("a"), (network, request(json!({"name": "x", "deviceID": "d"})))])
        };
        assert!(named(46).is_ok());
        assert!(matches!(named(47), Err(PlanError::LongName { .. })));
    }

    #[test]
    fn the_capability_arguments_of_the_runtime_are_for_the_default_network_only() {
        let offers = json!({"portMappings": [{"hostPort": 1}], "dns": {"servers": ["1.1.1.1"]}, "io.kubernetes.cri.pod-annotations": {"a": "b"}});
        let plan = planned(offers.clone(), vec![any("a"), any("b")]).unwrap();
        assert_eq!(Value::Object(plan[0].capability_args.clone()), offers);
        assert!(plan[1].capability_args.is_empty());
    }

    #[test]
    fn the_requests_of_the_pod_become_capability_arguments() {
        let request = request(
            json!({"name": "x", "ips": ["10.0.0.1/8"], "mac": "02:00:00:00:00:01", "infiniband-guid": "02:00:00:00:00:00:00:01",
            "bandwidth": {"ingressRate": 5}, "portMappings": [{"hostPort": 80, "containerPort": 90}], "deviceID": "0000:01:00.0"}),
        );
        let plan = planned(json!({}), vec![any("a"), (network("x", "1.0.0"), request)]).unwrap();
        let want = json!({"ips": ["10.0.0.1/8"], "mac": "02:00:00:00:00:01", "infinibandGUID": "02:00:00:00:00:00:00:01",
            "bandwidth": {"ingressRate": 5, "ingressBurst": 0, "egressRate": 0, "egressBurst": 0},
            "portMappings": [{"hostPort": 80, "containerPort": 90}], "deviceID": "0000:01:00.0",
            "CNIDeviceInfoFile": "/var/run/k8s.cni.cncf.io/devinfo/cni/x-c1_net1"});
        assert_eq!(Value::Object(plan[1].capability_args.clone()), want);
    }

    #[test]
    fn routes_and_families_of_the_pod_need_a_plugin_that_declares_them() {
        let chosen = |key: &str| {
            let value = if key == "routes" { json!([{"dst": "10.9.0.0/16"}]) } else { json!(["IPv4"]) };
            request(json!({"name": "x", key: value}))
        };
        for (key, want) in [("routes", json!([{"dst": "10.9.0.0/16"}])), ("ipFamilies", json!(["IPv4"]))] {
            let undeclared = planned(json!({}), vec![any("a"), (network("x", "1.0.0"), chosen(key))]);
            let undeclared = undeclared.unwrap_err().to_string();
            assert!(undeclared.contains(key) && undeclared.contains("network x"), "{undeclared}");
            let conf =
                json!({"cniVersion": "1.0.0", "name": "x", "type": "macvlan", "capabilities": {key: true}});
            let declared = Network::from_object(conf.as_object().unwrap().clone(), None).unwrap();
            let plan = planned(json!({}), vec![any("a"), (declared, chosen(key))]).unwrap();
            assert_eq!(plan[1].capability_args[key], want);
        }
    }

    #[test]
    fn only_the_default_network_keeps_routes_to_the_cluster() {
        let route = (network("x", "1.0.0"), request(json!({"name": "x", "default-route": ["10.0.0.1"]})));
        let plan = planned(json!({}), vec![any("a"), any("b"), route]).unwrap();
        let kept: Vec<usize> = plan.iter().map(|delegate| delegate.route_edit.keep.len()).collect();
        assert_eq!(kept, [1, 0, 0]);
    }

    #[test]
    fn two_gateways_of_one_family_are_refused() {
        let route = |ip: &str| (network("x", "1.0.0"), request(json!({"name": "x", "default-route": [ip]})));
        assert!(planned(json!({}), vec![any("a"), route("10.0.0.1"), route("fd00::1")]).is_ok());
        let error = planned(json!({}), vec![any("a"), route("10.0.0.1"), route("10.0.0.2")]).unwrap_err();
        assert!(error.to_string().starts_with("multus does not support ECMP for default-route"), "{error}");
    }
}
