//! The record of a sandbox: the file `<cniDir>/<container id>`, written before the first plugin runs and removed after the last one is
//! undone. DEL needs nothing else. Beside it, in `<cniDir>/multus-rs/`: how far the ADD came (`progress`), and what a DEL that ended without
//! success left (`tombstone`).

mod content;
mod error;
mod format;
mod moment;
pub(crate) mod progress;
mod store;
pub(crate) mod tombstone;

pub use content::{Owner, Record, Recorded};
pub use error::RecordError;
pub(crate) use moment::Moment;
pub(crate) use progress::{
    DelLock, Detached, Journal, LockError, Progress, Reached, Resumed, Words, lock_for_del,
};
pub(crate) use store::{add_network, all, exists, remove, remove_network};
pub use store::{read, write};

/// The interface of the default network in Kubernetes. Records of upstream do not have it.
pub(crate) const FIRST_INTERFACE: &str = "eth0";

#[cfg(test)]
mod tests;
