//! Giving back: the link first, then its addresses, since an address is free when nothing answers for it any more.

use cni::env::{Detachment, Verb};
use cni::plugin::Call;
use cni::{CniError, Code};
use netlink::{Link, LinkKind, Netns, NetnsError, Socket};

use crate::error::kernel;
use crate::ipam;

/// DEL: deletes the link, if `is_own` is true of its kind, and releases its addresses. What is gone already is no failure; neither
/// the master nor `prevResult` is looked at.
pub fn del(detachment: &Detachment, call: &Call, is_own: impl Fn(&LinkKind) -> bool) -> Result<(), CniError> {
    if let Some(netns) = &detachment.netns {
        match Netns::open(netns) {
            Ok(netns) => delete_link(detachment, &netns, is_own)?,
            // Gone, or its path is a file that no namespace is mounted on any more: the link went with it.
            Err(NetnsError::NotFound { .. } | NetnsError::NotANetns { .. }) => {}
            Err(error) => return Err(CniError::new(Code::InvalidNetns, error.to_string())),
        }
    }
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
        // Of that name but of another kind: another plugin's.
        Some(_) | None => Ok(()),
    }
}

/// Undoes a failed ADD and returns why it failed, with what could not be undone.
pub fn give_back(error: CniError, call: &Call, pod: &Socket, link: &Link) -> CniError {
    let deleted = pod.delete_link(link).map_err(|e| kernel(&e));
    // An address whose link could not be deleted may still be answered for: it stays claimed.
    match deleted.and_then(|()| ipam::forward(Verb::Del, call)) {
        Ok(()) => error,
        Err(undo) => {
            let details = [error.details.as_str(), &format!("and it could not be undone: {undo}")]
                .join(" ")
                .trim()
                .to_owned();
            error.with_details(details)
        }
    }
}
