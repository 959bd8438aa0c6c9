//! CHECK: is the attachment as `prevResult` says?

use attach::check::{complete, failed, link, result, same_mac};
use attach::{master, pod};
use cni::CniError;
use cni::env::Attachment;
use cni::plugin::Call;
use netlink::{Link, LinkKind};

use crate::conf::Conf;

/// Compares link, addresses and routes with the result of ADD.
pub fn check(attachment: &Attachment, call: &Call) -> Result<(), CniError> {
    let conf = Conf::parse(call)?;
    let result = result(call)?;
    let own = cni::check::own(attachment, &result)?;
    let pod = pod::socket(attachment)?;
    // A master that the conf does not name came from the result before ADD's, which is not known here.
    if !conf.common.master.is_empty() {
        master::find(&conf.common, &conf.common.master, &pod)?;
    }
    let link = link(attachment, &pod)?;
    same_kind(&conf, &link)?;
    same_mac(own.interface, &link)?;
    complete(&pod, &link, own)
}

fn same_kind(conf: &Conf, link: &Link) -> Result<(), CniError> {
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
    Ok(())
}
