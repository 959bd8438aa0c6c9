//! The only way to allocate and release addresses, for the plugin and for the daemon.

pub mod acquire;
pub mod adopt;
pub mod allocate;
pub mod alternate;
pub mod error;
pub mod node_slice;
pub mod release;
pub mod status;
pub mod store;
pub mod take_over;
pub mod tombstones;
