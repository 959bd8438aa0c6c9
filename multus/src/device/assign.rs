//! Which network gets which device.

use std::collections::BTreeMap;

use cni::CniError;

use super::devices::{Allocation, Devices};
use crate::network::Network;
use crate::request::AttachmentRequest;

/// A network cannot get its device. Without it the pod would have less than it asks for, so ADD fails.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeviceError {
    /// The pod has too few devices.
    #[error(
        "network {network} needs a device of resource {resource:?}, as the annotation k8s.v1.cni.cncf.io/resourceName of its definition says, \
         but the pod has {count} and none is left: request one for each such network in the resources of a container, or in a resource claim"
    )]
    NoneLeft {
        /// The label of the network.
        network: String,
        /// The resource.
        resource: String,
        /// How many devices of it the pod has.
        count: usize,
    },
    /// The devices of the pod's claims cannot be determined.
    #[error("getKubernetesDelegate: failed to get resourceMap from DRA client: {reason}")]
    Claim {
        /// What is wrong with which claim or device.
        reason: String,
    },
    /// The device cannot be written into the configuration.
    #[error("network {network}: {source}")]
    Configuration {
        /// The label of the network.
        network: String,
        /// Why.
        source: CniError,
    },
}

/// Networks with their devices.
#[derive(Debug, PartialEq)]
pub(crate) struct Assigned {
    /// The networks in their order.
    pub(crate) networks: Vec<(Network, AttachmentRequest)>,
    /// Which of them have a device of a claim.
    pub(crate) claimed: Vec<ClaimedNetwork>,
}

/// A network with a device of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimedNetwork {
    /// The place of the network, from 0.
    pub(crate) at: usize,
    /// Its device.
    pub(crate) allocation: Allocation,
}

/// Whether `devices` has one for each network that needs one.
pub(crate) fn suffice(devices: &Devices, networks: &[(Network, AttachmentRequest)]) -> bool {
    let mut needed: BTreeMap<&str, usize> = BTreeMap::new();
    for resource in networks.iter().filter_map(|(network, _)| network.resource_name.as_deref()) {
        let count = needed.entry(resource).or_default();
        *count = count.saturating_add(1);
    }
    needed.iter().all(|(resource, count)| devices.count(resource) >= *count)
}

/// Gives each network that names a resource the next device of it. No two networks of a pod get the same device, wherever the pod or the
/// configuration names them. A `deviceID` that the pod requests counts if no device is left, as in upstream.
pub(crate) fn assign(
    networks: Vec<(Network, AttachmentRequest)>,
    mut devices: Devices,
) -> Result<Assigned, DeviceError> {
    let all = devices.clone();
    let mut assigned = Assigned { networks: Vec::with_capacity(networks.len()), claimed: Vec::new() };
    for (at, (network, request)) in networks.into_iter().enumerate() {
        let Some(resource) = network.resource_name.clone() else {
            assigned.networks.push((network, request));
            continue;
        };
        let label = network.label.clone();
        match devices.take(&resource) {
            Some(device) => {
                let claimed = device.allocation.map(|allocation| ClaimedNetwork { at, allocation });
                assigned.claimed.extend(claimed);
                let network = network
                    .with_device(&device.id)
                    .map_err(|source| DeviceError::Configuration { network: label, source })?;
                let request = AttachmentRequest { device_id: Some(device.id), ..request };
                assigned.networks.push((network, request));
            }
            None if request.device_id.is_some() => assigned.networks.push((network, request)),
            None => {
                let count = all.count(&resource);
                return Err(DeviceError::NoneLeft { network: label, resource, count });
            }
        }
    }
    Ok(assigned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::testing::network;

    const NIC: &str = "example.com/nic";

    fn of(resource: Option<&str>, requested: Option<&str>) -> (Network, AttachmentRequest) {
        let network = Network { resource_name: resource.map(str::to_owned), ..network("a", "1.0.0") };
        (
            network,
            AttachmentRequest { device_id: requested.map(str::to_owned), ..AttachmentRequest::default() },
        )
    }

    fn devices(ids: &[&str]) -> Devices {
        let mut devices = Devices::default();
        ids.iter().for_each(|id| devices.add(NIC, Device::of_plugin(*id)));
        devices
    }

    /// The device of each network, in the request and in the configuration.
    fn assigned(
        networks: Vec<(Network, AttachmentRequest)>,
        devices: Devices,
    ) -> Result<Vec<String>, DeviceError> {
        let shown = |(network, request): &(Network, AttachmentRequest)| {
            let in_conf = network.list.plugins[0].object.get("deviceID").and_then(|id| id.as_str());
            format!("{}/{}", request.device_id.as_deref().unwrap_or("-"), in_conf.unwrap_or("-"))
        };
        Ok(assign(networks, devices)?.networks.iter().map(shown).collect())
    }

    #[test]
    fn each_network_of_a_resource_gets_the_next_device() {
        let networks = vec![of(None, None), of(Some(NIC), None), of(None, Some("x")), of(Some(NIC), None)];
        assert_eq!(assigned(networks, devices(&["1", "2"])).unwrap(), ["-/-", "1/1", "x/-", "2/2"]);
    }

    #[test]
    fn a_device_of_the_resource_replaces_a_requested_one() {
        let networks = || vec![of(Some(NIC), Some("x")), of(Some(NIC), Some("y"))];
        assert_eq!(assigned(networks(), devices(&["1"])).unwrap(), ["1/1", "y/-"]);
    }

    #[test]
    fn a_network_without_its_device_is_an_error_that_names_both() {
        let networks = || vec![of(Some(NIC), None), of(Some(NIC), None)];
        assert_eq!(
            assigned(networks(), devices(&["1"])).unwrap_err().to_string(),
            "network a needs a device of resource \"example.com/nic\", as the annotation k8s.v1.cni.cncf.io/resourceName of its definition \
             says, but the pod has 1 and none is left: request one for each such network in the resources of a container, or in a resource \
             claim"
        );
        assert!(assigned(networks(), Devices::default()).is_err());
    }

    #[test]
    fn devices_suffice_if_each_network_gets_one() {
        let two = [of(Some(NIC), None), of(None, None), of(Some(NIC), None)];
        assert!(suffice(&devices(&["1", "2"]), &two));
        assert!(!suffice(&devices(&["1"]), &two) && !suffice(&Devices::default(), &two));
        assert!(suffice(&Devices::default(), &[of(None, None)]));
    }

    #[test]
    fn a_device_that_two_containers_have_counts_once() {
        assert_eq!(devices(&["1", "2", "1"]).ids(NIC), ["1", "2"]);
    }
}
