//! The node's daemon of multus.

pub mod config;

/// The folder of the plugins' socket, as the plugin sees it.
pub const SOCKET_DIR: &str = "/run/multus";
