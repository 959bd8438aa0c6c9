//! What the owner of a pod reads: the `network-status` annotation and events.

mod events;
mod status;

pub(crate) use events::{added, network_not_deleted, no_network_found};
pub(crate) use status::entries;

#[cfg(test)]
mod tests;
