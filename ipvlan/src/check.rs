//! CHECK: compares the attachment with `prevResult`.

use attach::check::{compare_configuration, compare_mac, failed, pod_link, prev_result};
use attach::{master, pod};
use cni::CniError;
use cni::env::Attachment;
use cni::plugin::Call;
use netlink::{Link, LinkKind};

use crate::conf::Conf;

/// Compares link, addresses and routes with the result of ADD.
pub fn check(attachment: &Attachment, call: &Call) -> Result<(), CniError> {
    let conf = Conf::parse(call)?;
    let result = prev_result(call)?;
    let own = cni::check::own(attachment, &result)?;
    let pod = pod::socket(attachment)?;
    // Without `master` ADD took the interface of its prevResult, which CHECK does not get.
    if !conf.common.master.is_empty() {
        master::find(&conf.common, &conf.common.master, &pod)?;
    }
    let link = pod_link(attachment, &pod)?;
    compare_kind(&conf, &link)?;
    compare_mac(own.interface, &link)?;
    compare_configuration(&pod, &link, own)
}

/// Fails unless the link's kind, mode and flag are those of the conf. The texts are upstream's.
fn compare_kind(conf: &Conf, link: &Link) -> Result<(), CniError> {
    let LinkKind::Ipvlan { mode, flag } = link.kind else {
        return Err(failed(format!("error: Container interface {} not of type ipvlan", link.name)));
    };
    if mode != conf.mode {
        let expected = conf.mode;
        return Err(failed(format!(
            "container ipvlan mode {mode} does not match expected value: {expected}"
        )));
    }
    if flag != conf.flag {
        let expected = conf.flag;
        return Err(failed(format!(
            "container ipvlan flag {flag} does not match expected value: {expected}"
        )));
    }
    Ok(())
}
