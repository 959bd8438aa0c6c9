//! CHECK: compares the attachment with `prevResult`. The plugins compare what only their kind of link has.

use cni::check::Own;
use cni::env::Attachment;
use cni::plugin::Call;
use cni::result::{CniResult, Interface};
use cni::{CniError, Code};
use netlink::interface::missing;
use netlink::{Link, Socket};

use crate::error::kernel;
use crate::plan::routes;
use crate::pod::{self, mac_text};

/// Compares the pod's link with the result of ADD. `check_master` gets the plugin's part of that result, and a socket in the pod's
/// namespace; it fails if the master does not exist. `compare_kind` fails if the link has another kind or mode than the conf says.
pub fn check(
    attachment: &Attachment,
    call: &Call,
    check_master: impl FnOnce(&Own<'_>, &Socket) -> Result<(), CniError>,
    compare_kind: impl FnOnce(&Link) -> Result<(), CniError>,
) -> Result<(), CniError> {
    let result = prev_result(call)?;
    let own = cni::check::own(attachment, &result)?;
    let pod = pod::socket(attachment)?;
    check_master(&own, &pod)?;
    let link = pod_link(attachment, &pod)?;
    compare_kind(&link)?;
    compare_mac(own.interface, &link)?;
    compare_configuration(&pod, &link, own)
}

/// The result of ADD. Code 999 if the conf has none.
fn prev_result(call: &Call) -> Result<CniResult, CniError> {
    call.conf.prev_result()?.ok_or_else(|| failed("required prevResult missing"))
}

/// The link of the attachment. Code 999 if it does not exist.
fn pod_link(attachment: &Attachment, pod: &Socket) -> Result<Link, CniError> {
    let name = attachment.if_name.as_str();
    let link = pod.link_by_name(name).map_err(|e| kernel(&e))?;
    link.ok_or_else(|| failed(format!("interface {name} is missing in {}", attachment.netns.display())))
}

/// Fails if the result has a MAC address, and the link another one.
fn compare_mac(interface: &Interface, link: &Link) -> Result<(), CniError> {
    let mac = mac_text(link);
    // Plugins may leave the MAC address out, and write it in upper case.
    if interface.mac.is_empty() || interface.mac.eq_ignore_ascii_case(&mac) {
        return Ok(());
    }
    Err(failed(format!("interface {} has MAC address {mac}, prevResult says {}", link.name, interface.mac)))
}

/// Fails unless the link is up and has all addresses and routes of the result. It may have more: later plugins of the chain may have
/// added some.
fn compare_configuration(pod: &Socket, link: &Link, own: Own<'_>) -> Result<(), CniError> {
    match missing(pod, link, &own.addresses, &routes(own.routes)).map_err(|e| kernel(&e))? {
        None => Ok(()),
        Some(what) => Err(failed(format!("interface {} does not match prevResult: {what}", link.name))),
    }
}

/// The error for a link that does not match. Code 999, as upstream's.
pub fn failed(msg: impl Into<String>) -> CniError {
    CniError::new(Code::Internal, msg)
}
