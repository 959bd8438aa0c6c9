//! The devices that a pod has, by resource.

use std::collections::{BTreeMap, VecDeque};

use node::names::DnsSubdomain;

/// A device of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    /// Its id, as its driver or device plugin names it: a PCI address, or the name of an auxiliary device.
    pub(crate) id: String,
    /// The allocation of a claim that led to it; `None` for a device of a device plugin.
    pub(crate) allocation: Option<Allocation>,
}

/// One device of a ResourceClaim's allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allocation {
    /// The claim, in the namespace of the pod.
    pub(crate) claim: DnsSubdomain,
    /// The request of the claim that it satisfies.
    pub(crate) request: String,
    /// The DRA driver.
    pub(crate) driver: String,
    /// The pool of the driver.
    pub(crate) pool: String,
    /// The device of the pool.
    pub(crate) device: String,
    /// The share of a device that several claims use.
    pub(crate) share_id: Option<String>,
}

impl Device {
    /// A device of a device plugin.
    pub(crate) fn of_plugin(id: impl Into<String>) -> Device {
        Device { id: id.into(), allocation: None }
    }
}

/// The devices of one pod. Those of a resource are in the order in which networks get them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Devices(BTreeMap<String, VecDeque<Device>>);

impl Devices {
    /// Adds a device as the last one of its resource. One that is there already counts once: an init container and a container share it.
    pub(crate) fn add(&mut self, resource: &str, device: Device) {
        let devices = self.0.entry(resource.to_owned()).or_default();
        if !devices.iter().any(|other| other.id == device.id) {
            devices.push_back(device);
        }
    }

    /// The ids of each resource, in their order.
    pub(crate) fn ids_by_resource(&self) -> BTreeMap<String, Vec<String>> {
        let ids = |devices: &VecDeque<Device>| devices.iter().map(|device| device.id.clone()).collect();
        self.0.iter().map(|(resource, devices)| (resource.clone(), ids(devices))).collect()
    }

    /// How many devices of this resource are there.
    pub(super) fn count(&self, resource: &str) -> usize {
        self.0.get(resource).map_or(0, VecDeque::len)
    }

    /// Removes and returns the next device of this resource.
    pub(super) fn take(&mut self, resource: &str) -> Option<Device> {
        self.0.get_mut(resource)?.pop_front()
    }

    /// The ids of a resource.
    #[cfg(test)]
    pub(crate) fn ids(&self, resource: &str) -> Vec<&str> {
        self.0.get(resource).into_iter().flatten().map(|device| device.id.as_str()).collect()
    }
}
