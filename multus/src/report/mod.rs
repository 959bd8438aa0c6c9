//! What the owner of a pod reads: the `network-status` annotation and events.

mod changes;
mod events;
mod status;
mod undo;

pub(crate) use changes::{
    AttachmentOf, adding_failed, change_refused, interface_added, interface_not_changed, interface_removed,
    removing_failed,
};
pub(crate) use events::{added, left_to_antrea, network_not_deleted, no_network_found};
pub(crate) use status::{entries, network_data};
pub(crate) use undo::with_failed_undo;

#[cfg(test)]
mod tests;
