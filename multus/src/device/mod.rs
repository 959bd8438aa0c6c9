//! Which device each network gets, if its definition names a resource.

mod assign;
mod devices;

pub(crate) use assign::{Assigned, DeviceError, assign};
pub(crate) use devices::{Device, Devices};
