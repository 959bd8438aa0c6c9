//! The devices of an ADD. The kubelet is asked only if a network of the pod names a resource, and the API server only if the kubelet has too
//! few devices and the pod has resource claims.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nad::PodRef;
use node::deadline::Deadline;
use node::names::DnsSubdomain;

use super::api::{Api, OwnRuntime};
use crate::device::{
    Allocation, Assigned, ClaimedNetwork, Claims, Devices, NetworkData, ResourceSlice, add_claimed,
    allocations, assign, is_published, suffice,
};
use crate::error::Error;
use crate::kubelet::Kubelet;
use crate::log::warn;
use crate::network::Network;
use crate::plan::Delegate;
use crate::report;
use crate::request::{AttachmentRequest, Pod};
use crate::run::Attached;

/// Longest time for reading claims and slices.
const CLAIMS_LIMIT: Duration = Duration::from_secs(20);

/// Longest time for writing into claims. The runtime waits meanwhile, and the pod does not need it.
const WRITE_LIMIT: Duration = Duration::from_secs(2);

/// Where the devices of a pod are found.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    /// The kubelet of the node.
    pub(super) kubelet: &'a Kubelet,
    /// The pod, with its UID on the node.
    pub(super) pod: Option<&'a PodRef>,
    /// The pod as the API server has it.
    pub(super) object: Option<&'a Pod>,
    /// The API server.
    pub(super) api: Option<&'a Api>,
}

/// The networks of an ADD that have devices of resource claims, and these claims.
#[derive(Debug, Default)]
pub(super) struct Claimed {
    networks: Vec<ClaimedNetwork>,
    claims: Claims,
}

/// Networks with their devices.
pub(super) struct WithDevices {
    /// The networks in their order.
    pub(super) networks: Vec<(Network, AttachmentRequest)>,
    /// Those with devices of claims.
    pub(super) claimed: Claimed,
}

impl Sources<'_> {
    /// Gives the networks their devices.
    pub(super) fn with_devices(
        &self,
        networks: Vec<(Network, AttachmentRequest)>,
        deadline: Deadline,
    ) -> Result<WithDevices, Error> {
        let mut devices = match self.pod {
            Some(pod) if networks.iter().any(|(network, _)| network.resource_name.is_some()) => {
                OwnRuntime::new()?.block_on(self.kubelet.devices(pod, deadline))??
            }
            _ => Devices::default(),
        };
        let claims = if suffice(&devices, &networks) {
            Claims::new()
        } else {
            self.add_claimed(&mut devices, deadline.child(CLAIMS_LIMIT))?
        };
        let Assigned { networks, claimed } = assign(networks, devices)?;
        Ok(WithDevices { networks, claimed: Claimed { networks: claimed, claims } })
    }

    /// Adds the devices of the pod's claims. Returns the claims.
    fn add_claimed(&self, devices: &mut Devices, deadline: Deadline) -> Result<Claims, Error> {
        let (Some(api), Some(pod)) = (self.api, self.object) else { return Ok(Claims::new()) };
        let of_pod = api.read_pod_claims(&pod.pod_ref, deadline)?;
        if of_pod.names().is_empty() {
            return Ok(Claims::new());
        }
        let claims = api.read_claims(&pod.pod_ref.namespace, &of_pod, deadline)?;
        let slices = slices(api, pod, &allocations(&of_pod, &claims)?, deadline)?;
        let warnings = add_claimed(devices, &of_pod, &claims, &slices)?;
        warnings.iter().for_each(|warning| warn(warning));
        Ok(claims)
    }
}

/// The slices with these devices. A driver's slices of this node have nearly all of them; those of a whole cluster are many.
fn slices(
    api: &Api,
    pod: &Pod,
    allocations: &[Allocation],
    deadline: Deadline,
) -> Result<Vec<ResourceSlice>, Error> {
    let node = pod.node.as_deref().and_then(|node| DnsSubdomain::new(node).ok());
    let mut slices = Vec::new();
    let drivers: BTreeSet<&str> = allocations.iter().map(|one| one.driver.as_str()).collect();
    for driver in drivers {
        // The API server has checked the name. One that is not valid has no slices.
        let Ok(name) = DnsSubdomain::new(driver) else { continue };
        let mut of_driver = match &node {
            Some(node) => api.read_slices(&name, Some(node), deadline)?,
            None => Vec::new(),
        };
        let mut wanted = allocations.iter().filter(|one| one.driver == driver);
        if !wanted.all(|one| is_published(one, &of_driver)) {
            of_driver = api.read_slices(&name, None, deadline)?;
        }
        slices.append(&mut of_driver);
    }
    Ok(slices)
}

impl Claimed {
    /// Writes what became of the devices into their claims. A failure is no reason to undo an attachment, so it is a warning: many accounts
    /// may not write claims, and API servers before 1.33 drop the field.
    pub(super) fn publish(
        mut self,
        api: &Api,
        pod: &Pod,
        delegates: &[Delegate],
        attached: &[Attached],
        deadline: Deadline,
    ) {
        let mut by_claim: BTreeMap<DnsSubdomain, Vec<NetworkData>> = BTreeMap::new();
        for ClaimedNetwork { at, allocation } in self.networks {
            if let (Some(delegate), Some(attached)) = (delegates.get(at), attached.get(at)) {
                let claim = allocation.claim.clone();
                let data = report::network_data(delegate, &attached.result, allocation);
                by_claim.entry(claim).or_default().push(data);
            }
        }
        let deadline = deadline.child(WRITE_LIMIT);
        for (name, attachments) in by_claim {
            let Some(claim) = self.claims.remove(&name) else { continue };
            let namespace = &pod.pod_ref.namespace;
            if let Err(error) = api.write_network_data(namespace, &name, claim, &attachments, deadline) {
                warn(&format_args!(
                    "the addresses are not written into ResourceClaim {namespace}/{name}: {error}"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests;
