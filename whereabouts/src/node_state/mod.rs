//! What this node keeps on disk below `/var/lib/cni/whereabouts`. No other folder writes there.

pub mod concurrency;
pub mod direct;
pub mod hints;
pub mod namespace;
pub mod record;
