//! CHECK: compares the attachment with `prevResult`.

use attach::check::failed;
use attach::master;
use cni::CniError;
use cni::check::Own;
use cni::env::Attachment;
use cni::plugin::Call;
use netlink::{Link, LinkKind, Socket};

use crate::chained;
use crate::conf::Conf;

/// Compares link, addresses and routes with the result of ADD.
pub fn check(attachment: &Attachment, call: &Call) -> Result<(), CniError> {
    let conf = Conf::parse(call)?;
    let check_master = |own: &Own<'_>, pod: &Socket| {
        // CHECK does not get the result that ADD got. But in the result of ADD the interfaces of earlier plugins are first.
        let earlier = Some(own.earlier).filter(|earlier| !earlier.is_empty());
        let masters = chained::masters(&conf.common, &attachment.netns, earlier)?;
        master::find(&conf.common, &masters, pod).map(drop)
    };
    attach::check::check(attachment, call, check_master, |link| compare_kind(&conf, link))
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
