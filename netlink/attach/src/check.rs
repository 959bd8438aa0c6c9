//! CHECK: compares the link with `prevResult`. The plugins compare what only their kind of link has.

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

/// The result of ADD. Code 999 if the conf has none.
pub fn prev_result(call: &Call) -> Result<CniResult, CniError> {
    call.conf.prev_result()?.ok_or_else(|| failed("required prevResult missing"))
}

/// The link of the attachment. Code 999 if it does not exist.
pub fn pod_link(attachment: &Attachment, pod: &Socket) -> Result<Link, CniError> {
    let name = attachment.if_name.as_str();
    let link = pod.link_by_name(name).map_err(|e| kernel(&e))?;
    link.ok_or_else(|| failed(format!("interface {name} is missing in {}", attachment.netns.display())))
}

/// Fails if the result has a MAC address, and the link another one.
pub fn compare_mac(interface: &Interface, link: &Link) -> Result<(), CniError> {
    let mac = mac_text(link);
    // Plugins may leave the MAC address out, and write it in upper case.
    if interface.mac.is_empty() || interface.mac.eq_ignore_ascii_case(&mac) {
        return Ok(());
    }
    Err(failed(format!("interface {} has MAC address {mac}, prevResult says {}", link.name, interface.mac)))
}

/// Fails unless the link is up and has all addresses and routes of the result. It may have more: later plugins of the chain may have
/// added some.
pub fn compare_configuration(pod: &Socket, link: &Link, own: Own<'_>) -> Result<(), CniError> {
    match missing(pod, link, &own.addresses, &routes(own.routes)).map_err(|e| kernel(&e))? {
        None => Ok(()),
        Some(what) => Err(failed(format!("interface {} does not match prevResult: {what}", link.name))),
    }
}

/// The error for a link that does not match. Code 999, as upstream's.
pub fn failed(msg: impl Into<String>) -> CniError {
    CniError::new(Code::Internal, msg)
}
