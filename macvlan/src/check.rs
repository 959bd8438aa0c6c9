//! CHECK: is the attachment as `prevResult` says?

use attach::check::{complete, failed, link, result, same_mac};
use attach::{master, pod};
use cni::CniError;
use cni::env::Attachment;
use cni::plugin::Call;
use netlink::{Link, LinkKind};

use crate::chained;
use crate::conf::Conf;

/// Compares link, addresses and routes with the result of ADD.
pub fn check(attachment: &Attachment, call: &Call) -> Result<(), CniError> {
    let conf = Conf::parse(call)?;
    let result = result(call)?;
    let own = cni::check::own(attachment, &result)?;
    let pod = pod::socket(attachment)?;
    // The result before ADD's is not known here, but what earlier plugins made is ahead of the own interface.
    let earlier = Some(own.earlier).filter(|earlier| !earlier.is_empty());
    master::find(&conf.common, &chained::masters(&conf.common, &attachment.netns, earlier)?, &pod)?;
    let link = link(attachment, &pod)?;
    same_kind(&conf, &link)?;
    same_mac(own.interface, &link)?;
    complete(&pod, &link, own)
}

fn same_kind(conf: &Conf, link: &Link) -> Result<(), CniError> {
    let LinkKind::Macvlan { mode, .. } = link.kind else {
        return Err(failed(format!("error: Container interface {} not of type macvlan", link.name)));
    };
    if mode != conf.mode {
        let wanted = conf.mode;
        return Err(failed(format!("container macvlan mode {mode} does not match expected value: {wanted}")));
    }
    Ok(())
}
