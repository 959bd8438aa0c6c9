//! CHECK: is the attachment as `prevResult` says?

use cni::env::Attachment;
use cni::plugin::Call;
use cni::result::Interface;
use cni::{CniError, Code};
use netlink::interface::missing;
use netlink::{Link, LinkKind, Socket};

use crate::attach::{kernel, master, open, routes};
use crate::conf::Conf;

/// Compares link, addresses and routes with the result of ADD. Later plugins of a chain may have added to it, not taken away.
pub fn check(attachment: &Attachment, call: &Call) -> Result<(), CniError> {
    let conf = Conf::parse(call)?;
    let result = call.conf.prev_result()?.ok_or_else(|| failed("required prevResult missing"))?;
    let own = cni::check::own(attachment, &result)?;
    let pod = Socket::in_netns(&open(attachment)?).map_err(|e| kernel(&e))?;
    // A master that the conf does not name came from the result before ADD's, which is not known here.
    if !conf.master.is_empty() {
        master(&conf, &conf.master, &pod)?;
    }
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
    let LinkKind::Ipvlan { mode, flag } = link.kind else {
        return Err(failed(format!("error: Container interface {} not of type ipvlan", link.name)));
    };
    if mode != conf.mode {
        let wanted = conf.mode;
        return Err(failed(format!("container ipvlan mode {mode} does not match expected value: {wanted}")));
    }
    if flag != conf.flag {
        let wanted = conf.flag;
        return Err(failed(format!("container ipvlan flag {flag} does not match expected value: {wanted}")));
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
