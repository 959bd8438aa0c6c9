//! The devices of an ADD. The kubelet is asked only if a network of the pod names a resource.

use nad::PodRef;
use node::deadline::Deadline;

use super::api::OwnRuntime;
use crate::device::{Assigned, Devices, assign};
use crate::error::Error;
use crate::kubelet::Kubelet;
use crate::network::Network;
use crate::request::AttachmentRequest;

/// Where the devices of a pod are found.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    /// The kubelet of the node.
    pub(super) kubelet: &'a Kubelet,
    /// The pod, with its UID on the node.
    pub(super) pod: Option<&'a PodRef>,
}

/// Gives the networks their devices.
pub(super) fn with_devices(
    networks: Vec<(Network, AttachmentRequest)>,
    sources: &Sources<'_>,
    deadline: Deadline,
) -> Result<Assigned, Error> {
    let devices = match sources.pod {
        Some(pod) if networks.iter().any(|(network, _)| network.resource_name.is_some()) => {
            OwnRuntime::new()?.block_on(sources.kubelet.devices(pod, deadline))??
        }
        _ => Devices::default(),
    };
    Ok(assign(networks, devices)?)
}

#[cfg(test)]
mod tests;
