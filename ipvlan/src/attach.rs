//! Making and unmaking the link.

use std::time::{Duration, Instant};

use cni::env::{Attachment, Detachment, Verb};
use cni::plugin::Call;
use cni::result::{CniResult, Interface};
use cni::{CniError, Code, delegate};
use netlink::announce::Repeat;
use netlink::interface::{Plan, UninvitedIpv6, configure};
use netlink::{
    IpvlanMode, IpvlanSpec, Link, LinkKind, MasterError, MasterSelector, Netns, NetnsError, Route,
    RouteScope, Socket, find_master,
};

use crate::chained::{self, Addresses};
use crate::conf::{Announce, Conf, MasterIn, RouterAdvertisements};
use crate::siblings;

/// How long the IPAM plugin may take for one verb.
const IPAM_LIMIT: Duration = Duration::from_secs(60);

/// Makes the link, has its addresses chosen and sets them. Whatever fails, link and addresses are given back.
pub fn add(attachment: &Attachment, call: &Call) -> Result<CniResult, CniError> {
    let conf = Conf::parse(call)?;
    let previous = call.conf.prev_result()?;
    let masters = chained::masters(&conf.master, previous.as_ref())?;
    let addresses = chained::addresses(&call.conf, previous)?;
    let pod = Socket::in_netns(&open(attachment)?).map_err(|e| kernel(&e))?;
    let link = create(attachment, &conf, &masters, &pod)?;
    let made = furnish(attachment, call, &conf, addresses, &pod, &link);
    made.map_err(|error| give_back(error, call, &pod, &link))
}

/// Deletes the link and releases its addresses. What is gone already is no failure; neither the master nor `prevResult` is looked at.
pub fn del(detachment: &Detachment, call: &Call) -> Result<(), CniError> {
    if let Some(netns) = &detachment.netns {
        match Netns::open(netns) {
            Ok(netns) => delete_link(detachment, &netns)?,
            // Gone, or its path is a file that no namespace is mounted on any more: the link went with it.
            Err(NetnsError::NotFound { .. } | NetnsError::NotANetns { .. }) => {}
            Err(error) => return Err(CniError::new(Code::InvalidNetns, error.to_string())),
        }
    }
    // Only now: an address is free when nothing answers for it any more.
    release(call)
}

pub(crate) fn open(attachment: &Attachment) -> Result<Netns, CniError> {
    Netns::open(&attachment.netns).map_err(|error| {
        CniError::new(Code::InvalidNetns, format!("failed to open netns {:?}: {error}", attachment.netns))
    })
}

/// The first of `masters` that is here, and the namespace it is in.
pub(crate) fn master(
    conf: &Conf,
    masters: &[MasterSelector],
    pod: &Socket,
) -> Result<(Socket, Link), CniError> {
    let socket = match conf.master_in {
        MasterIn::Host => Socket::host(),
        MasterIn::Container => Socket::in_netns(pod.netns()),
    };
    let socket = socket.map_err(|e| kernel(&e))?;
    let link = find_master(&socket, masters).map_err(|e| no_master(Code::InvalidConfig, &e))?;
    Ok((socket, link))
}

/// Why there is no master, and what to do.
pub(crate) fn no_master(code: Code, error: &MasterError) -> CniError {
    let advice = match error {
        MasterError::NoDefaultRoute => "name the interface by the key \"master\"",
        MasterError::NotFound { .. } => {
            "\"master\" may be a list of names, {\"mac\": ..} and {\"subnet\": ..}, so that one conf serves nodes whose cards differ"
        }
        MasterError::Netlink(error) => return kernel(error).context("failed to lookup the master interface"),
    };
    CniError::new(code, error.to_string()).with_details(advice)
}

fn create(
    attachment: &Attachment,
    conf: &Conf,
    masters: &[MasterSelector],
    pod: &Socket,
) -> Result<Link, CniError> {
    let (host, master) = master(conf, masters, pod)?;
    if let Some(mtu) = conf.mtu.filter(|mtu| *mtu > master.mtu) {
        return Err(CniError::new(
            Code::InvalidConfig,
            format!("invalid MTU {mtu}, must be [0, master MTU({})]", master.mtu),
        )
        .with_details(format!("the master is {}", master.name)));
    }
    if let Some(sibling) = siblings::find(&host, &master, pod).map_err(|e| kernel(&e))? {
        siblings::refuse_conflict(conf, &master.name, &sibling)?;
    }
    let spec = IpvlanSpec {
        flag: conf.flag,
        mtu: conf.mtu,
        ..IpvlanSpec::new(attachment.if_name.as_str(), master.index, conf.mode)
    };
    host.create_ipvlan(&spec, pod).map_err(|error| match error {
        netlink::Error::Exists(_) => CniError::new(
            Code::InvalidConfig,
            format!("interface name {} already exists in {}", attachment.if_name, attachment.netns.display()),
        ),
        other => {
            CniError::new(Code::Internal, format!("failed to create ipvlan on {}: {other}", master.name))
        }
    })
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
        Addresses::Ipam(ipam) => delegate::add(ipam, call, ipam_deadline())?,
        Addresses::Previous(result) => result,
    };
    configure(pod, link, &plan(conf, &result)).map_err(|e| kernel(&e))?;
    let link = pod.link_by_index(link.index).map_err(|e| kernel(&e))?.ok_or_else(|| {
        CniError::new(
            Code::Internal,
            format!("interface {} vanished while it was set up", attachment.if_name),
        )
    })?;
    still_as_asked(conf, &link)?;
    let interface = Interface {
        name: link.name,
        mac: link.mac.map(|mac| mac.to_string()).unwrap_or_default(),
        mtu: link.mtu,
        sandbox: attachment.netns.to_string_lossy().into_owned(),
        ..Interface::default()
    };
    Ok(result.on_interface(interface, &call.conf.dns))
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
    let uninvited = match conf.router_advertisements {
        RouterAdvertisements::Accept => UninvitedIpv6::Accept,
        RouterAdvertisements::Refuse => UninvitedIpv6::Refuse,
    };
    // In the modes of the network layer no frame is addressed by what ARP or neighbour discovery say.
    let announce = match (conf.announce, conf.mode) {
        (Announce::Yes, IpvlanMode::L2) => Some(Repeat::default()),
        (Announce::Yes, IpvlanMode::L3 | IpvlanMode::L3s) | (Announce::No, _) => None,
    };
    Plan {
        addresses: result.ips.iter().map(|ip| ip.address).collect(),
        routes: routes(result.routes_with_gateways()),
        dad: conf.dad,
        uninvited,
        announce,
    }
}

/// Routes of a result, gateways filled in, as the kernel takes them.
pub(crate) fn routes(routes: Vec<cni::result::Route>) -> Vec<Route> {
    let some = |n: u32| Some(n).filter(|n| *n > 0);
    let route = |route: cni::result::Route| Route {
        gw: route.gw,
        mtu: some(route.mtu),
        advmss: some(route.advmss),
        priority: some(route.priority),
        table: route.table,
        scope: route.scope.map(RouteScope),
        ..Route::new(route.dst)
    };
    routes.into_iter().map(route).collect()
}

/// Undoes a failed ADD and returns why it failed, with what could not be undone.
fn give_back(error: CniError, call: &Call, pod: &Socket, link: &Link) -> CniError {
    let deleted = pod.delete_link(link).map_err(|e| kernel(&e));
    // An address whose link could not be deleted may still be answered for: it stays claimed.
    match deleted.and_then(|()| release(call)) {
        Ok(()) => error,
        Err(undo) => {
            let details = [error.details.as_str(), &format!("and it could not be undone: {undo}")]
                .join(" ")
                .trim()
                .to_owned();
            error.with_details(details)
        }
    }
}

fn delete_link(detachment: &Detachment, netns: &Netns) -> Result<(), CniError> {
    let pod = Socket::in_netns(netns).map_err(|e| kernel(&e))?;
    let link = pod.link_by_name(detachment.if_name.as_str()).map_err(|e| kernel(&e))?;
    match link {
        Some(link) if matches!(link.kind, LinkKind::Ipvlan { .. }) => {
            pod.delete_link(&link).map_err(|e| kernel(&e))
        }
        // Of that name but of another kind: another plugin's.
        Some(_) | None => Ok(()),
    }
}

fn release(call: &Call) -> Result<(), CniError> {
    match &call.conf.ipam {
        Some(ipam) => delegate::forward(Verb::Del, ipam, call, ipam_deadline()),
        None => Ok(()),
    }
}

pub(crate) fn ipam_deadline() -> Instant {
    Instant::now() + IPAM_LIMIT
}

/// A netlink failure for the runtime: one that passes is worth another try.
pub(crate) fn kernel(error: &netlink::Error) -> CniError {
    let code = match error {
        netlink::Error::TimedOut { .. } | netlink::Error::Inconsistent { .. } => Code::TryAgainLater,
        _ => Code::Internal,
    };
    CniError::new(code, error.to_string())
}
