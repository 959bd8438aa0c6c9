//! ADD: creates the link and configures it.

use attach::error::kernel;
use attach::rollback::roll_back;
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

/// Creates the link, allocates its addresses and configures it. After an error link and addresses are removed again.
pub fn add(attachment: &Attachment, call: &Call) -> Result<CniResult, CniError> {
    // All that can be checked without the kernel comes before the link, so that there is nothing to undo.
    let conf = Conf::parse(call)?;
    let previous = call.conf.prev_result()?;
    let masters = chained::masters(&conf.common.master, previous.as_ref())?;
    let addresses = chained::addresses(&call.conf, previous)?;
    let pod = pod::socket(attachment)?;
    let link = create(attachment, &conf, &masters, &pod)?;
    cni::crash_point!("ipvlan-after-create");
    // From here on an error must remove the link.
    let result = configure_link(attachment, call, &conf, addresses, &pod, &link);
    result.map_err(|error| roll_back(error, attachment, call, &pod, &link))
}

fn create(
    attachment: &Attachment,
    conf: &Conf,
    masters: &[MasterSelector],
    pod: &Socket,
) -> Result<Link, CniError> {
    let (host, master) = master::find_for_new_link(&conf.common, masters, pod)?;
    // Before the link is created: its creation already changes the siblings' mode.
    if let Some(sibling) = siblings::find(&host, &master, pod).map_err(|e| kernel(&e))? {
        siblings::refuse_conflict(conf, &master.name, &sibling)?;
    }
    let spec = IpvlanSpec {
        flag: conf.flag,
        mtu: conf.common.mtu,
        ..IpvlanSpec::new(attachment.if_name.as_str(), master.index, conf.mode)
    };
    pod::create("ipvlan", attachment, &master, || host.create_ipvlan(&spec, pod))
}

/// Allocates the addresses, configures the link with them, and returns the result.
fn configure_link(
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
    // As late as possible, to notice ADDs that ran at the same time.
    let link = read_back(attachment, pod, link)?;
    check_mode(conf, &link)?;
    Ok(result.on_interface(pod::interface(attachment, &link), &call.conf.dns))
}

/// Looks the link up again: since its creation another link may have changed its mode.
fn read_back(attachment: &Attachment, pod: &Socket, link: &Link) -> Result<Link, CniError> {
    pod.link_by_index(link.index).map_err(|e| kernel(&e))?.ok_or_else(|| {
        let name = &attachment.if_name;
        CniError::new(Code::Internal, format!("interface {name} was deleted during ADD"))
    })
}

/// Fails if the link has another mode or flag than the conf says. Two ADDs on one master at the same time may not find each other's
/// link before they create their own, and the kernel gives both the mode of the last one.
fn check_mode(conf: &Conf, link: &Link) -> Result<(), CniError> {
    match link.kind {
        LinkKind::Ipvlan { mode, flag } if (mode, flag) != (conf.mode, conf.flag) => Err(CniError::new(
            Code::TryAgainLater,
            format!(
                "another ipvlan link on the same master changed {} from mode {} and flag {} to mode {mode} and flag {flag}; all ipvlan links of a master have the same",
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
        // In these modes links use neither ARP nor neighbour discovery, and all have the master's MAC address.
        IpvlanMode::L3 | IpvlanMode::L3s => Plan { announce: None, ..plan },
    }
}
