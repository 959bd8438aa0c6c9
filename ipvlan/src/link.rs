//! How the link is made.

use attach::error::kernel;
use attach::undo::give_back;
use attach::{ipam, master, pod};
use cni::env::Attachment;
use cni::plugin::Call;
use cni::result::CniResult;
use cni::{CniError, Code};
use netlink::interface::{Plan, configure};
use netlink::{IpvlanMode, IpvlanSpec, Link, LinkKind, MasterSelector, Socket};

use crate::chained::{self, Addresses};
use crate::conf::Conf;
use crate::siblings;

/// Makes the link, has its addresses chosen and sets them. Whatever fails, link and addresses are given back.
pub fn add(attachment: &Attachment, call: &Call) -> Result<CniResult, CniError> {
    let conf = Conf::parse(call)?;
    let previous = call.conf.prev_result()?;
    let masters = chained::masters(&conf.common.master, previous.as_ref())?;
    let addresses = chained::addresses(&call.conf, previous)?;
    let pod = pod::socket(attachment)?;
    let link = create(attachment, &conf, &masters, &pod)?;
    cni::crash_point!("ipvlan-after-create");
    let made = furnish(attachment, call, &conf, addresses, &pod, &link);
    made.map_err(|error| give_back(error, call, &pod, &link))
}

fn create(
    attachment: &Attachment,
    conf: &Conf,
    masters: &[MasterSelector],
    pod: &Socket,
) -> Result<Link, CniError> {
    let (host, master) = master::find(&conf.common, masters, pod)?;
    master::check_mtu(&conf.common, &master)?;
    if let Some(sibling) = siblings::find(&host, &master, pod).map_err(|e| kernel(&e))? {
        siblings::refuse_conflict(conf, &master.name, &sibling)?;
    }
    let spec = IpvlanSpec {
        flag: conf.flag,
        mtu: conf.common.mtu,
        ..IpvlanSpec::new(attachment.if_name.as_str(), master.index, conf.mode)
    };
    host.create_ipvlan(&spec, pod).map_err(|error| pod::not_made(&error, "ipvlan", attachment, &master))
}

/// Addresses, routes and up.
fn furnish(
    attachment: &Attachment,
    call: &Call,
    conf: &Conf,
    addresses: Addresses<'_>,
    pod: &Socket,
    link: &Link,
) -> Result<CniResult, CniError> {
    let result = match addresses {
        Addresses::Ipam(ipam) => ipam::add(ipam, call)?,
        Addresses::Previous(result) => result,
    };
    cni::crash_point!("ipvlan-after-ipam");
    configure(pod, link, &plan(conf, &result)).map_err(|e| kernel(&e))?;
    cni::crash_point!("ipvlan-after-configure");
    let link = read_back(attachment, pod, link)?;
    still_as_asked(conf, &link)?;
    Ok(result.on_interface(pod::interface(attachment, &link), &call.conf.dns))
}

/// The link as it is now that it is set up: other links may have changed its mode.
fn read_back(attachment: &Attachment, pod: &Socket, link: &Link) -> Result<Link, CniError> {
    pod.link_by_index(link.index).map_err(|e| kernel(&e))?.ok_or_else(|| {
        let name = &attachment.if_name;
        CniError::new(Code::Internal, format!("interface {name} vanished while it was set up"))
    })
}

/// Two links that are made on one master at the same time do not see each other first; the last one decides for both.
fn still_as_asked(conf: &Conf, link: &Link) -> Result<(), CniError> {
    match link.kind {
        LinkKind::Ipvlan { mode, flag } if (mode, flag) != (conf.mode, conf.flag) => Err(CniError::new(
            Code::TryAgainLater,
            format!(
                "another ipvlan link on the same master changed {} from mode {} and flag {} to mode {mode} and flag {flag}: all links of a master need the same",
                link.name, conf.mode, conf.flag
            ),
        )),
        _ => Ok(()),
    }
}

fn plan(conf: &Conf, result: &CniResult) -> Plan {
    let plan = attach::plan::plan(&conf.common, result);
    match conf.mode {
        IpvlanMode::L2 => plan,
        // In the modes of the network layer no frame is addressed by what ARP or neighbour discovery say.
        IpvlanMode::L3 | IpvlanMode::L3s => Plan { announce: None, ..plan },
    }
}
