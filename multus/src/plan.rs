//! Which plugins run, in which order, for which interface and with which arguments. Pure: what can be wrong with the whole is found
//! before anything runs.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cni::CniError;
use cni::names::{ContainerId, IfName};
use serde_json::{Map, Value, json};

use crate::device;
use crate::network::Network;
use crate::routes::{self, RouteEdit, SeveralGateways};
use crate::selection::Request;

/// One network of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Delegate {
    /// The network.
    pub network: Network,
    /// Whether the pod's addresses, for Kubernetes, are on it.
    pub role: Role,
    /// The name of its interface in the pod.
    pub if_name: IfName,
    /// What is asked of it.
    pub request: Request,
    /// What its plugins may ask for as capabilities.
    pub capability_args: Map<String, Value>,
    /// What happens to its default routes.
    pub route_edit: RouteEdit,
}

/// The place of a network in the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one whose result the runtime gets.
    Default,
    /// Any other.
    Additional,
}

/// The networks do not go together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Two want the same interface name.
    #[error(
        "networks {first} and {second} would both get the interface name {if_name}: give one of them another \"interface\""
    )]
    SameInterface {
        /// The name.
        if_name: IfName,
        /// The one that has it.
        first: String,
        /// The one that would get it too.
        second: String,
    },
    /// Several gateways of one family.
    #[error(transparent)]
    SeveralGateways(#[from] SeveralGateways),
    /// A name that no interface can have was made.
    #[error("interface {at}: {source}")]
    Interface {
        /// The place in the plan.
        at: usize,
        /// What is wrong.
        source: CniError,
    },
}

/// The attachment that the runtime asks for.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The sandbox.
    pub container_id: &'a ContainerId,
    /// The interface of the default network.
    pub if_name: &'a IfName,
    /// What the runtime offers as capabilities. For the default network alone: a host port can lead to one network only.
    pub runtime_config: &'a Map<String, Value>,
}

/// Puts the networks in order, the first being the default one, and gives each its interface: the one asked for, `CNI_IFNAME` for
/// the first, otherwise `net<place>`.
pub fn plan(subject: Subject<'_>, wanted: Vec<(Network, Request)>) -> Result<Vec<Delegate>, PlanError> {
    let gateways: Vec<Option<&[IpAddr]>> =
        wanted.iter().map(|(_, request)| request.default_route.as_deref()).collect();
    let edits = routes::edits(&gateways)?;
    let mut delegates = Vec::with_capacity(wanted.len());
    for (at, ((network, request), route_edit)) in wanted.into_iter().zip(edits).enumerate() {
        let role = if at == 0 { Role::Default } else { Role::Additional };
        let if_name = interface(at, request.interface.as_ref(), subject.if_name)?;
        let mut capability_args = match role {
            Role::Default => subject.runtime_config.clone(),
            Role::Additional => Map::new(),
        };
        capability_args.extend(capabilities(&request));
        if request.device_id.is_some() {
            let file = device::file(&network.label, subject.container_id, &if_name);
            capability_args.insert("CNIDeviceInfoFile".to_owned(), file.to_string_lossy().into());
        }
        delegates.push(Delegate { network, role, if_name, request, capability_args, route_edit });
    }
    all_differ(&delegates)?;
    Ok(delegates)
}

/// The interface at this place of a plan. Records that upstream wrote hold only what was asked for.
pub fn interface(at: usize, asked: Option<&IfName>, first: &IfName) -> Result<IfName, PlanError> {
    match (asked, at) {
        (Some(name), _) => Ok(name.clone()),
        (None, 0) => Ok(first.clone()),
        (None, at) => {
            IfName::parse(&format!("net{at}")).map_err(|source| PlanError::Interface { at, source })
        }
    }
}

fn all_differ(delegates: &[Delegate]) -> Result<(), PlanError> {
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

/// What is asked of one attachment, by the names of the conventions for capabilities.
fn capabilities(request: &Request) -> Map<String, Value> {
    let mut args = Map::new();
    let mut offer = |key: &str, value: Option<Value>| {
        args.extend(value.map(|value| (key.to_owned(), value)));
    };
    offer("portMappings", (!request.port_mappings.is_empty()).then(|| json!(request.port_mappings)));
    offer("bandwidth", request.bandwidth.map(|b| json!(b)));
    offer("ips", (!request.ips.is_empty()).then(|| json!(request.ips)));
    offer("mac", request.mac.as_ref().map(|m| json!(m)));
    offer("infinibandGUID", request.infiniband_guid.as_ref().map(|g| json!(g)));
    offer("deviceID", request.device_id.as_ref().map(|d| json!(d)));
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::network;

    fn request(value: Value) -> Request {
        let text = Value::Array(vec![value]).to_string();
        crate::selection::parse(&text, &node::names::DnsLabel::new("default").unwrap())
            .unwrap()
            .remove(0)
            .request
    }

    fn planned(runtime_config: Value, wanted: Vec<(Network, Request)>) -> Result<Vec<Delegate>, PlanError> {
        let (container_id, if_name) = (ContainerId::parse("c1").unwrap(), IfName::parse("eth0").unwrap());
        let runtime_config = runtime_config.as_object().unwrap().clone();
        plan(
            Subject { container_id: &container_id, if_name: &if_name, runtime_config: &runtime_config },
            wanted,
        )
    }

    fn any(name: &str) -> (Network, Request) {
        (network(name, "1.0.0"), Request::default())
    }

    fn named(interface: &str) -> (Network, Request) {
        (network("x", "1.0.0"), request(json!({"name": "x", "interface": interface})))
    }

    #[test]
    fn interfaces_are_asked_for_or_counted() {
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
    fn what_the_runtime_offers_goes_to_the_default_network_whole() {
        let offers = json!({"portMappings": [{"hostPort": 1}], "dns": {"servers": ["1.1.1.1"]}, "io.kubernetes.cri.pod-annotations": {"a": "b"}});
        let plan = planned(offers.clone(), vec![any("a"), any("b")]).unwrap();
        assert_eq!(Value::Object(plan[0].capability_args.clone()), offers);
        assert!(plan[1].capability_args.is_empty());
    }

    #[test]
    fn requests_become_capability_args() {
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
    fn several_gateways_are_refused() {
        let route = |ip: &str| (network("x", "1.0.0"), request(json!({"name": "x", "default-route": [ip]})));
        assert!(planned(json!({}), vec![any("a"), route("10.0.0.1"), route("fd00::1")]).is_ok());
        let error = planned(json!({}), vec![any("a"), route("10.0.0.1"), route("10.0.0.2")]).unwrap_err();
        assert!(error.to_string().starts_with("multus does not support ECMP for default-route"), "{error}");
    }
}
