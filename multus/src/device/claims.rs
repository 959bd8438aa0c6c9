//! The devices of a pod's ResourceClaims (dynamic resource allocation, `resource.k8s.io/v1`): a claim says which device of which pool it got,
//! and the ResourceSlices of the pool say, in two attributes of the device, which id and which resource that is.

use std::collections::BTreeMap;

use node::names::DnsSubdomain;
use serde::Deserialize;
use serde_json::Value;

use super::assign::DeviceError;
use super::devices::{Allocation, Device, Devices};
use super::pod_claims::PodClaims;

/// The attribute with the id that plugins get.
const DEVICE_ID: &str = "k8s.cni.cncf.io/deviceID";
/// The attribute with the resource that definitions name.
const RESOURCE_NAME: &str = "k8s.cni.cncf.io/resourceName";

/// ResourceClaims as the API server sent them, by name.
pub(crate) type Claims = BTreeMap<DnsSubdomain, Value>;

/// A ResourceSlice: some devices of a pool. Missing fields are empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ResourceSlice {
    spec: SliceSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SliceSpec {
    driver: String,
    pool: Pool,
    devices: Option<Vec<Published>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Pool {
    name: String,
    /// Slices of a lower generation are about to be deleted.
    generation: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Published {
    name: String,
    attributes: BTreeMap<String, Attribute>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Attribute {
    string: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireClaim {
    status: WireStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireStatus {
    allocation: Option<WireAllocation>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireAllocation {
    devices: WireDevices,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireDevices {
    results: Option<Vec<WireResult>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireResult {
    request: String,
    driver: String,
    pool: String,
    device: String,
    #[serde(rename = "shareID")]
    share_id: Option<String>,
}

impl ResourceSlice {
    fn is_of(&self, allocation: &Allocation) -> bool {
        self.spec.driver == allocation.driver && self.spec.pool.name == allocation.pool
    }

    fn device(&self, name: &str) -> Option<&Published> {
        self.spec.devices.iter().flatten().find(|device| device.name == name)
    }
}

impl Published {
    fn text(&self, attribute: &str) -> Option<&str> {
        self.attributes.get(attribute)?.string.as_deref().filter(|text| !text.is_empty())
    }
}

/// What the claims of a pod have got.
pub(crate) fn allocations(pod: &PodClaims, claims: &Claims) -> Result<Vec<Allocation>, DeviceError> {
    let mut all = Vec::new();
    for name in pod.names() {
        all.extend(allocations_of(name, claims)?);
    }
    Ok(all)
}

fn allocations_of(name: &DnsSubdomain, claims: &Claims) -> Result<Vec<Allocation>, DeviceError> {
    let object = claims.get(name).unwrap_or(&Value::Null);
    let claim = WireClaim::deserialize(object)
        .map_err(|e| DeviceError::Claim { reason: format!("claim {name} cannot be read: {e}") })?;
    let results = claim.status.allocation.and_then(|allocation| allocation.devices.results);
    let results = results
        .ok_or_else(|| DeviceError::Claim { reason: format!("claim {name} has no device allocation") })?;
    let allocation = |result: WireResult| {
        let WireResult { request, driver, pool, device, share_id } = result;
        Allocation { claim: name.clone(), request, driver, pool, device, share_id }
    };
    Ok(results.into_iter().map(allocation).collect())
}

/// Whether the slices have this device.
pub(crate) fn is_published(allocation: &Allocation, slices: &[ResourceSlice]) -> bool {
    published(allocation, slices).is_ok()
}

/// Adds the devices that the claims of a pod have got. Returns a warning for each that has no id: it is none for networks.
pub(crate) fn add_claimed(
    devices: &mut Devices,
    pod: &PodClaims,
    claims: &Claims,
    slices: &[ResourceSlice],
) -> Result<Vec<String>, DeviceError> {
    let mut warnings = Vec::new();
    let mut add = |allocation: Allocation, mapped: Option<&str>| {
        let device = published(&allocation, slices)?;
        let Some(id) = device.text(DEVICE_ID) else {
            let Allocation { device, driver, pool, .. } = &allocation;
            warnings.push(format!(
                "allocated device {device:?} (driver {driver:?}, pool {pool:?}) has no attribute {DEVICE_ID:?}: no network gets it"
            ));
            return Ok(());
        };
        let resource = checked_resource(&allocation, device.text(RESOURCE_NAME), mapped)?;
        devices.add(resource, Device { id: id.to_owned(), allocation: Some(allocation.clone()) });
        Ok(())
    };
    for name in &pod.named {
        for allocation in allocations_of(name, claims)? {
            add(allocation, None)?;
        }
    }
    if let Some(extended) = &pod.extended {
        let all = allocations_of(&extended.name, claims)?;
        for mapping in &extended.mappings {
            let mut meant = all.iter().filter(|allocation| allocation.request == mapping.request).peekable();
            if meant.peek().is_none() {
                let reason = format!("request {} not found in claim {}", mapping.request, extended.name);
                return Err(DeviceError::Claim { reason });
            }
            for allocation in meant {
                add(allocation.clone(), Some(&mapping.resource))?;
            }
        }
    }
    Ok(warnings)
}

/// The device in the newest slice that has it.
fn published<'a>(allocation: &Allocation, slices: &'a [ResourceSlice]) -> Result<&'a Published, DeviceError> {
    let Allocation { driver, pool, device, .. } = allocation;
    let of_pool = || slices.iter().filter(|slice| slice.is_of(allocation));
    let found = of_pool()
        .filter_map(|slice| Some((slice.spec.pool.generation, slice.device(device)?)))
        .max_by_key(|(generation, _)| *generation);
    let reason = match found {
        Some((_, device)) => return Ok(device),
        None if of_pool().next().is_none() => {
            format!("no resource slice found for driver/pool {driver}/{pool}")
        }
        None => {
            format!(
                "device {device} not found for claim resource {driver}/{pool} in any matching resource slice"
            )
        }
    };
    Err(DeviceError::Claim { reason })
}

/// The resource of a device. With `mapped`, the resource that a container requests, both must be the same.
fn checked_resource<'a>(
    allocation: &Allocation,
    resource: Option<&'a str>,
    mapped: Option<&str>,
) -> Result<&'a str, DeviceError> {
    let Allocation { device, request, .. } = allocation;
    let reason = match (resource, mapped) {
        (Some(resource), None) => return Ok(resource),
        (Some(resource), Some(mapped)) if resource == mapped => return Ok(resource),
        (Some(resource), Some(mapped)) => format!(
            "device {device}: {RESOURCE_NAME} is {resource:?} but extended resource mapping for request {request:?} is {mapped:?}"
        ),
        (None, None) => format!(
            "device {device} missing required attribute {RESOURCE_NAME} (must match NAD k8s.v1.cni.cncf.io/resourceName)"
        ),
        (None, Some(mapped)) => format!(
            "device {device} missing required attribute {RESOURCE_NAME} (must match NAD k8s.v1.cni.cncf.io/resourceName and extended mapping \
             {mapped:?})"
        ),
    };
    Err(DeviceError::Claim { reason })
}

#[cfg(test)]
mod tests;
