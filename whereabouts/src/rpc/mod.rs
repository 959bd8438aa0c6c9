//! What the plugin and the node's daemon say to each other.

pub mod error;
pub mod wire;
