//! Which device each network gets, if its definition names a resource.

mod assign;
mod claims;
mod devices;
mod network_data;
mod pod_claims;

pub(crate) use assign::{Assigned, ClaimedNetwork, DeviceError, assign, suffice};
pub(crate) use claims::{Claims, ResourceSlice, add_claimed, allocations, is_published};
pub(crate) use devices::{Allocation, Device, Devices};
pub(crate) use network_data::{NetworkData, with_network_data};
pub(crate) use pod_claims::PodClaims;
