//! Deletes the link, then releases its addresses: at DEL, and after a failed ADD. In this order, so that no other pod gets an address
//! that a link still has.

use cni::env::{Detachment, Verb};
use cni::plugin::Call;
use cni::{CniError, Code};
use netlink::{Link, LinkKind, Netns, NetnsError, Socket};

use crate::error::kernel;
use crate::ipam;

/// DEL: deletes the link if `is_own` returns true for its kind, and releases its addresses. Succeeds if namespace or link do not exist.
/// Needs neither the master nor `prevResult`.
pub fn del(detachment: &Detachment, call: &Call, is_own: impl Fn(&LinkKind) -> bool) -> Result<(), CniError> {
    if let Some(netns) = &detachment.netns {
        match Netns::open(netns) {
            Ok(netns) => delete_link(detachment, &netns, is_own)?,
            // The namespace was deleted, or after a reboot the path is a plain file. The link ended with the namespace.
            Err(NetnsError::NotFound { .. } | NetnsError::NotANetns { .. }) => {}
            Err(error) => return Err(CniError::new(Code::InvalidNetns, error.to_string())),
        }
    }
    // Also without a link: ADD may have failed before it created one.
    ipam::forward(Verb::Del, call)
}

fn delete_link(
    detachment: &Detachment,
    netns: &Netns,
    is_own: impl Fn(&LinkKind) -> bool,
) -> Result<(), CniError> {
    let pod = Socket::in_netns(netns).map_err(|e| kernel(&e))?;
    let link = pod.link_by_name(detachment.if_name.as_str()).map_err(|e| kernel(&e))?;
    match link {
        Some(link) if is_own(&link.kind) => pod.delete_link(&link).map_err(|e| kernel(&e)),
        // An interface of another kind belongs to another plugin.
        Some(_) | None => Ok(()),
    }
}

/// Undoes a failed ADD. Returns its error, extended by what could not be undone.
pub fn roll_back(error: CniError, call: &Call, pod: &Socket, link: &Link) -> CniError {
    let deleted = pod.delete_link(link).map_err(|e| kernel(&e));
    // If the link could not be deleted, it may still have the address: then that is not released.
    match deleted.and_then(|()| ipam::forward(Verb::Del, call)) {
        Ok(()) => error,
        Err(undo) => {
            let details =
                [error.details.as_str(), &format!("and rollback failed: {undo}")].join(" ").trim().to_owned();
            error.with_details(details)
        }
    }
}
