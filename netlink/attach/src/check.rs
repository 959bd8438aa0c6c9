//! CHECK: is the link as `prevResult` says? What a kind of link has of its own, its plugin compares.

use cni::check::Own;
use cni::env::Attachment;
use cni::plugin::Call;
use cni::result::{CniResult, Interface};
use cni::{CniError, Code};
use netlink::interface::missing;
use netlink::{Link, Socket};

use crate::error::kernel;
use crate::plan::routes;
use crate::pod::mac_text;

/// The result of ADD. Code 999 where the conf has none.
pub fn result(call: &Call) -> Result<CniResult, CniError> {
    call.conf.prev_result()?.ok_or_else(|| failed("required prevResult missing"))
}

/// The link of the attachment.
pub fn link(attachment: &Attachment, pod: &Socket) -> Result<Link, CniError> {
    let name = attachment.if_name.as_str();
    let link = pod.link_by_name(name).map_err(|e| kernel(&e))?;
    link.ok_or_else(|| failed(format!("interface {name} is missing in {}", attachment.netns.display())))
}

/// Whether the link has the MAC address that the result says, if it says one.
pub fn same_mac(interface: &Interface, link: &Link) -> Result<(), CniError> {
    let mac = mac_text(link);
    if interface.mac.is_empty() || interface.mac.eq_ignore_ascii_case(&mac) {
        return Ok(());
    }
    Err(failed(format!("interface {} has MAC address {mac}, prevResult says {}", link.name, interface.mac)))
}

/// Whether the link is up and has the addresses and routes of the result. Later plugins of a chain may have added to it, not taken
/// away.
pub fn complete(pod: &Socket, link: &Link, own: Own<'_>) -> Result<(), CniError> {
    match missing(pod, link, &own.addresses, &routes(own.routes)).map_err(|e| kernel(&e))? {
        None => Ok(()),
        Some(what) => Err(failed(format!("interface {} is not as it was made: {what}", link.name))),
    }
}

/// What CHECK says of a link that is not as it should be. Code 999, as upstream's.
pub fn failed(msg: impl Into<String>) -> CniError {
    CniError::new(Code::Internal, msg)
}
