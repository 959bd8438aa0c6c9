//! What the node keeps on disk below `/var/lib/cni/whereabouts`. No other folder writes there.

pub(crate) mod concurrency;
pub mod direct;
mod file_names;
pub mod hints;
pub mod installation;
pub(crate) mod namespace;
pub(crate) mod pins;
pub mod record;
mod single_flight;
