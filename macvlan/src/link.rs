//! How the link is made.

use attach::error::kernel;
use attach::undo::give_back;
use attach::{ipam, master, pod};
use cni::CniError;
use cni::conf::Ipam;
use cni::env::Attachment;
use cni::plugin::Call;
use cni::result::CniResult;
use netlink::interface::{Plan, UninvitedIpv6, configure, refuse_conflicts};
use netlink::{Link, Mac, MacvlanSpec, MasterSelector, Socket};

use crate::conf::{Conf, Conflicts, MacSource};
use crate::{chained, stable_mac};

/// Makes the link, has its addresses chosen and sets them. Whatever fails, link and addresses are given back. What earlier plugins
/// of a chain made stays in the result.
pub fn add(attachment: &Attachment, call: &Call) -> Result<CniResult, CniError> {
    let conf = Conf::parse(call)?;
    let previous = call.conf.prev_result()?;
    let earlier = previous.as_ref().map(|result| result.interfaces.as_slice());
    let masters = chained::masters(&conf.common, &attachment.netns, earlier)?;
    let mac = mac(attachment, call, &conf)?;
    let pod = pod::socket(attachment)?;
    let link = create(attachment, &conf, mac, &masters, &pod)?;
    cni::crash_point!("macvlan-after-create");
    let made = furnish(attachment, call, &conf, &pod, &link);
    let made = made.map_err(|error| give_back(error, call, &pod, &link))?;
    Ok(match previous {
        Some(previous) => made.after(previous),
        None => made,
    })
}

fn mac(attachment: &Attachment, call: &Call, conf: &Conf) -> Result<Option<Mac>, CniError> {
    match conf.mac {
        MacSource::Kernel => Ok(None),
        MacSource::Given(mac) => Ok(Some(mac)),
        MacSource::Pod => stable_mac::of(&call.args, &attachment.if_name).map(Some),
    }
}

fn create(
    attachment: &Attachment,
    conf: &Conf,
    mac: Option<Mac>,
    masters: &[MasterSelector],
    pod: &Socket,
) -> Result<Link, CniError> {
    let (host, master) = master::find(&conf.common, masters, pod)?;
    master::check_mtu(&conf.common, &master)?;
    let spec = MacvlanSpec {
        mtu: conf.common.mtu,
        mac,
        bc_queue_len: conf.bc_queue_len,
        ..MacvlanSpec::new(attachment.if_name.as_str(), master.index, conf.mode)
    };
    host.create_macvlan(&spec, pod).map_err(|error| pod::not_made(&error, "macvlan", attachment, &master))
}

/// Addresses, routes and up.
fn furnish(
    attachment: &Attachment,
    call: &Call,
    conf: &Conf,
    pod: &Socket,
    link: &Link,
) -> Result<CniResult, CniError> {
    let result = match &call.conf.ipam {
        Some(ipam) => ipam::add(ipam, call)?,
        None => CniResult::default(),
    };
    cni::crash_point!("macvlan-after-ipam");
    let plan = plan(conf, call.conf.ipam.as_ref(), &result);
    if conf.conflicts == Conflicts::Refuse {
        refuse_conflicts(pod, link, &plan).map_err(|e| kernel(&e))?;
    }
    configure(pod, link, &plan).map_err(|e| kernel(&e))?;
    cni::crash_point!("macvlan-after-configure");
    Ok(result.on_interface(pod::interface(attachment, link), &call.conf.dns))
}

fn plan(conf: &Conf, ipam: Option<&Ipam>, result: &CniResult) -> Plan {
    let plan = attach::plan::plan(&conf.common, result);
    match (plan.uninvited, ipam) {
        // Without IPAM the addresses are the pod's own business.
        (UninvitedIpv6::Refuse, None) => Plan { uninvited: UninvitedIpv6::Leave, ..plan },
        _ => plan,
    }
}
