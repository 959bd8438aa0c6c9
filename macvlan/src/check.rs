//! CHECK: is the attachment as `prevResult` says?

use cni::env::Attachment;
use cni::plugin::Call;
use cni::result::Interface;
use cni::{CniError, Code};
use netlink::interface::missing;
use netlink::{Link, LinkKind, Socket};

use crate::attach::{kernel, master, open, routes};
use crate::chained;
use crate::conf::Conf;

/// Compares link, addresses and routes with the result of ADD. Later plugins of a chain may have added to it, not taken away.
pub fn check(attachment: &Attachment, call: &Call) -> Result<(), CniError> {
    let conf = Conf::parse(call)?;
    let result = call.conf.prev_result()?.ok_or_else(|| failed("required prevResult missing"))?;
    let own = cni::check::own(attachment, &result)?;
    let pod = Socket::in_netns(&open(attachment)?).map_err(|e| kernel(&e))?;
    // The result before ADD's is not known here, but what earlier plugins made is ahead of the own interface.
    let earlier = Some(own.earlier).filter(|earlier| !earlier.is_empty());
    master(&conf, &chained::masters(&conf, &attachment.netns, earlier)?, &pod)?;
    let name = attachment.if_name.as_str();
    let link = pod.link_by_name(name).map_err(|e| kernel(&e))?;
    let link =
        link.ok_or_else(|| failed(format!("interface {name} is missing in {}", attachment.netns.display())))?;
    check_link(&conf, own.interface, &link)?;
    match missing(&pod, &link, &own.addresses, &routes(own.routes)).map_err(|e| kernel(&e))? {
        None => Ok(()),
        Some(what) => Err(failed(format!("interface {name} is not as it was made: {what}"))),
    }
}

fn check_link(conf: &Conf, interface: &Interface, link: &Link) -> Result<(), CniError> {
    let LinkKind::Macvlan { mode, .. } = link.kind else {
        return Err(failed(format!("error: Container interface {} not of type macvlan", link.name)));
    };
    if mode != conf.mode {
        let wanted = conf.mode;
        return Err(failed(format!("container macvlan mode {mode} does not match expected value: {wanted}")));
    }
    let mac = link.mac.map(|mac| mac.to_string()).unwrap_or_default();
    if !interface.mac.is_empty() && !interface.mac.eq_ignore_ascii_case(&mac) {
        return Err(failed(format!(
            "interface {} has MAC address {mac}, prevResult says {}",
            link.name, interface.mac
        )));
    }
    Ok(())
}

fn failed(msg: impl Into<String>) -> CniError {
    CniError::new(Code::Internal, msg)
}
