//! Removes the link and releases its addresses: at DEL, and after a failed ADD.
//!
//! The order, which is safe for every IPAM plugin:
//!
//! 1. The addresses are removed from the link, so that no other pod gets an address that a link still answers for.
//! 2. The IPAM plugin releases them while the link is there and up: `dhcp` sends its release from the link, without an address of its own.
//! 3. The link is deleted, also if the IPAM plugin has failed. Its error is reported afterwards, so that the runtime repeats DEL.
//!
//! If the addresses cannot be removed, the link is deleted first, and if that fails too, nothing is released.

use cni::env::{Attachment, Detachment};
use cni::plugin::Call;
use cni::{CniError, Code};
use netlink::{Link, LinkKind, Netns, NetnsError, Socket};

use crate::error::kernel;
use crate::ipam;

/// DEL: deletes the link if `is_own` returns true for its kind, and releases its addresses. Succeeds if namespace or link do not exist.
/// Needs neither the master nor `prevResult`.
pub fn del(detachment: &Detachment, call: &Call, is_own: impl Fn(&LinkKind) -> bool) -> Result<(), CniError> {
    let netns = detachment.netns.as_deref();
    let release = || ipam::del(netns, call);
    match own_link(detachment, is_own)? {
        Some((pod, link)) => remove(&pod, &link, release),
        // ADD may have failed before it created the link, or namespace and link are gone.
        None => release(),
    }
}

/// The link of the attachment, and a socket in its namespace. `None` if one of them does not exist, or if the link is not the plugin's.
fn own_link(
    detachment: &Detachment,
    is_own: impl Fn(&LinkKind) -> bool,
) -> Result<Option<(Socket, Link)>, CniError> {
    let Some(path) = &detachment.netns else { return Ok(None) };
    let netns = match Netns::open(path) {
        Ok(netns) => netns,
        // The namespace was deleted, or after a reboot the path is a plain file. The link ended with the namespace.
        Err(NetnsError::NotFound { .. } | NetnsError::NotANetns { .. }) => return Ok(None),
        Err(error) => return Err(CniError::new(Code::InvalidNetns, error.to_string())),
    };
    let pod = Socket::in_netns(&netns).map_err(|e| kernel(&e))?;
    let link = pod.link_by_name(detachment.if_name.as_str()).map_err(|e| kernel(&e))?;
    // An interface of another kind belongs to another plugin.
    Ok(link.filter(|link| is_own(&link.kind)).map(|link| (pod, link)))
}

/// Removes the link and calls `release`, in the order of this module.
fn remove(pod: &Socket, link: &Link, release: impl Fn() -> Result<(), CniError>) -> Result<(), CniError> {
    if pod.remove_addresses(link).is_err() {
        // The error of the removal is not reported: if the kernel is at fault, this has the same one.
        pod.delete_link(link).map_err(|e| kernel(&e))?;
        return release();
    }
    let released = release();
    let deleted = pod.delete_link(link).map_err(|e| kernel(&e));
    match (released, deleted) {
        (Err(released), Err(deleted)) => {
            let details = format!("{} {deleted}", released.details).trim().to_owned();
            Err(released.with_details(details))
        }
        (released, deleted) => released.and(deleted),
    }
}

/// Undoes a failed ADD. Returns its error, extended by what could not be undone.
pub fn roll_back(
    error: CniError,
    attachment: &Attachment,
    call: &Call,
    pod: &Socket,
    link: &Link,
) -> CniError {
    match remove(pod, link, || ipam::del(Some(&attachment.netns), call)) {
        Ok(()) => error,
        Err(undo) => {
            let details =
                [error.details.as_str(), &format!("and rollback failed: {undo}")].join(" ").trim().to_owned();
            error.with_details(details)
        }
    }
}
