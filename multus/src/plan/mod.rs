//! What ADD is going to do, decided before any plugin runs.

mod antrea;
mod args;
mod delegates;
mod device;
mod routes;

pub(crate) use antrea::{Divided, LeftToAntrea, divide};
pub(crate) use args::{add_args, delegate_args};
pub use delegates::{Delegate, Role, RuntimeRequest, plan};
pub(crate) use delegates::{PlanError, capabilities, interface, plan_additional};
pub(crate) use device::{device_file, device_plugin_file};
pub use routes::RouteEdit;
pub(crate) use routes::edit_result;
