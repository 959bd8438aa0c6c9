//! CHECK: compares the attachment with `prevResult`.

use attach::check::failed;
use attach::master;
use cni::CniError;
use cni::check::Own;
use cni::env::Attachment;
use cni::plugin::Call;
use netlink::{Link, LinkKind, Socket};

use crate::conf::Conf;

/// Compares link, addresses and routes with the result of ADD.
pub fn check(attachment: &Attachment, call: &Call) -> Result<(), CniError> {
    let conf = Conf::parse(call)?;
    let check_master = |_own: &Own<'_>, pod: &Socket| {
        // Without `master` ADD took the interface of its prevResult, which CHECK does not get.
        if conf.common.master.is_empty() {
            return Ok(());
        }
        master::find(&conf.common, &conf.common.master, pod).map(drop)
    };
    attach::check::check(attachment, call, check_master, |link| compare_kind(&conf, link))
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
