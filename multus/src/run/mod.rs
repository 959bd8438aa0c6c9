//! Running plugins for a sandbox. Nothing here sends requests to the API server; `cluster` says what DEL would ask it.

mod attach;
mod change;
mod check;
mod choice;
mod cluster;
mod detach;
mod device_info;
mod edit;
mod failures;
mod gc;
mod remembered;
mod results;
mod rule;
mod sandbox;
mod tombstones;

pub(crate) use attach::{Attach, Attached, AttachedAll};
pub(crate) use change::Change;
pub(crate) use check::check;
pub(crate) use cluster::Cluster;
pub(crate) use detach::Detach;
pub(crate) use gc::{Gc, gc};
pub(crate) use results::{Results, results};
pub(crate) use rule::Namespace;
pub(crate) use sandbox::namespace;
pub(crate) use tombstones::retry as retry_tombstones;
