//! CHECK: compares the attachment with `prevResult`.

use attach::check::{compare_configuration, compare_mac, failed, pod_link, prev_result};
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
    let result = prev_result(call)?;
    let own = cni::check::own(attachment, &result)?;
    let pod = pod::socket(attachment)?;
    // CHECK does not get the result that ADD got. But in the result of ADD the interfaces of earlier plugins are first.
    let earlier = Some(own.earlier).filter(|earlier| !earlier.is_empty());
    master::find(&conf.common, &chained::masters(&conf.common, &attachment.netns, earlier)?, &pod)?;
    let link = pod_link(attachment, &pod)?;
    compare_kind(&conf, &link)?;
    compare_mac(own.interface, &link)?;
    compare_configuration(&pod, &link, own)
}

/// Fails unless the link's kind and mode are those of the conf. The texts are upstream's.
fn compare_kind(conf: &Conf, link: &Link) -> Result<(), CniError> {
    let LinkKind::Macvlan { mode, .. } = link.kind else {
        return Err(failed(format!("error: Container interface {} not of type macvlan", link.name)));
    };
    if mode != conf.mode {
        let expected = conf.mode;
        return Err(failed(format!(
            "container macvlan mode {mode} does not match expected value: {expected}"
        )));
    }
    Ok(())
}
