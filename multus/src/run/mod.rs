//! Running plugins for a sandbox. Nothing here talks to the API server.

mod attach;
mod check;
mod detach;
mod device_info;
mod edit;
mod failures;
mod gc;
mod remembered;
mod sandbox;

pub(crate) use attach::{Attach, Attached};
pub(crate) use check::check;
pub(crate) use detach::Detach;
pub(crate) use gc::gc;
