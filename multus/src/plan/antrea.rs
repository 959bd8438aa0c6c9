//! Definitions that Antrea's agent attaches by itself: CNI type `antrea` with a `networkType` (its feature gate `SecondaryNetwork`). Antrea's
//! plugin would give the pod the address of its default network a second time, or fail ADD and DEL for ever, so multus never runs it for them.

use cni::names::IfName;

use super::delegates::{PlanError, interface};
use crate::network::Network;
use crate::request::{AttachmentRequest, NetworkRequest, Origin};

/// A network that is left to Antrea's agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftToAntrea {
    /// The label of the network.
    pub(crate) network: String,
    /// Its `networkType`.
    pub(crate) network_type: String,
}

/// The networks of a pod, divided by who attaches them.
#[derive(Debug, PartialEq)]
pub(crate) struct Divided {
    /// Those that multus attaches.
    pub(crate) ours: Vec<(Network, AttachmentRequest)>,
    /// Those that Antrea's agent attaches.
    pub(crate) left: Vec<LeftToAntrea>,
}

/// Takes out the networks that are left to Antrea's agent. `requests` are those that `networks` come from, in the same order. The others keep
/// the interface names of their places, also in a record that upstream reads.
///
/// It is an error if the agent cannot attach such a network: if the pod's default network is not Antrea's, so that the agent does not know the
/// pod, or if the pod's annotation does not name the network, because the agent reads only that.
pub(crate) fn divide(
    requests: &[NetworkRequest],
    networks: Vec<(Network, AttachmentRequest)>,
    first: &IfName,
) -> Result<Divided, PlanError> {
    let mut divided = Divided { ours: Vec::with_capacity(networks.len()), left: Vec::new() };
    let runs_antrea = |(network, _): &(Network, AttachmentRequest)| {
        network.list.plugins.iter().any(|plugin| plugin.plugin_type.as_str() == "antrea")
    };
    let is_antreas_pod = networks.first().is_some_and(runs_antrea);
    for (at, (network, mut request)) in networks.into_iter().enumerate() {
        let Some(network_type) = network.antrea_network_type().map(str::to_owned) else {
            if request.interface.is_none() && !divided.left.is_empty() {
                request.interface = Some(interface(at, None, first)?);
            }
            divided.ours.push((network, request));
            continue;
        };
        let by_annotation = requests.get(at).is_some_and(|r| matches!(r.origin, Origin::Definition(_)));
        let label = network.label;
        if at == 0 || !by_annotation {
            return Err(PlanError::AntreasInConfiguration { network: label });
        }
        if !is_antreas_pod {
            return Err(PlanError::WithoutAntrea { network: label });
        }
        divided.left.push(LeftToAntrea { network: label, network_type });
    }
    Ok(divided)
}

#[cfg(test)]
mod tests {
    use nad::NadRef;
    use node::names::{DnsLabel, DnsSubdomain};
    use serde_json::{Value, json};

    use super::*;

    /// Networks by their configurations. The first is the default network; the annotation names the others.
    fn divided(confs: &[Value]) -> Result<Divided, PlanError> {
        let network = |conf: &Value| {
            let network = Network::from_object(conf.as_object().unwrap().clone(), None).unwrap();
            (network, AttachmentRequest::default())
        };
        let networks: Vec<_> = confs.iter().map(network).collect();
        let request = |(at, (network, attachment)): (usize, &(Network, AttachmentRequest))| {
            let namespace = DnsLabel::new("default").unwrap();
            let name = DnsSubdomain::new(network.label.clone()).unwrap();
            let origin = match at {
                0 => Origin::Inline(network.clone()),
                _ => Origin::Definition(NadRef { namespace, name }),
            };
            NetworkRequest { origin, attachment: attachment.clone() }
        };
        let requests: Vec<_> = networks.iter().enumerate().map(request).collect();
        divide(&requests, networks, &IfName::parse("eth0").unwrap())
    }

    fn primary(kind: &str) -> Value {
        json!({"name": "primary", "plugins": [{"type": kind}, {"type": "portmap"}]})
    }

    fn vlan() -> Value {
        json!({"name": "vlan", "type": "antrea", "NetworkType": "vlan", "vlan": 100})
    }

    fn other(name: &str) -> Value {
        json!({"name": name, "type": "macvlan", "networkType": "vlan"})
    }

    #[test]
    fn antreas_networks_are_left_to_its_agent_and_keep_their_places() {
        let divided = divided(&[primary("antrea"), other("a"), vlan(), other("b")]).unwrap();
        let left = LeftToAntrea { network: "vlan".to_owned(), network_type: "vlan".to_owned() };
        assert_eq!(divided.left, [left]);
        let ours = divided.ours.iter().map(|(network, request)| {
            let interface = request.interface.as_ref().map_or("-", |name| name.as_str());
            format!("{} {interface}", network.label)
        });
        assert_eq!(ours.collect::<Vec<_>>(), ["primary -", "a -", "b net3"]);
    }

    #[test]
    fn without_antreas_networks_nothing_changes() {
        let divided = divided(&[primary("antrea"), other("a")]).unwrap();
        assert!(divided.left.is_empty() && divided.ours.len() == 2);
        assert!(divided.ours.iter().all(|(_, request)| request.interface.is_none()));
    }

    #[test]
    fn antreas_networks_need_antrea_as_the_default_network() {
        let error = divided(&[primary("bridge"), vlan()]).unwrap_err();
        assert_eq!(error, PlanError::WithoutAntrea { network: "vlan".to_owned() });
    }

    #[test]
    fn only_the_annotation_can_name_antreas_networks() {
        let error = divided(&[vlan()]).unwrap_err();
        assert_eq!(error, PlanError::AntreasInConfiguration { network: "vlan".to_owned() });
        let networks = vec![primary("antrea"), vlan()];
        let network = |conf: Value| Network::from_object(conf.as_object().unwrap().clone(), None).unwrap();
        let networks: Vec<Network> = networks.into_iter().map(network).collect();
        let attachment = AttachmentRequest::default;
        let requests: Vec<NetworkRequest> = networks
            .iter()
            .map(|network| NetworkRequest {
                origin: Origin::Inline(network.clone()),
                attachment: attachment(),
            })
            .collect();
        let networks = networks.into_iter().map(|network| (network, attachment())).collect();
        let error = divide(&requests, networks, &IfName::parse("eth0").unwrap()).unwrap_err();
        assert_eq!(error, PlanError::AntreasInConfiguration { network: "vlan".to_owned() });
    }
}
