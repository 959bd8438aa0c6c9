//! The protocol between the plugin and the node's daemon, and the errors of both.

pub mod error;
pub mod wire;
