//! Making and unmaking the link.

use std::time::{Duration, Instant};

use cni::conf::Ipam;
use cni::env::{Attachment, Detachment, Verb};
use cni::plugin::Call;
use cni::result::{CniResult, Interface};
use cni::{CniError, Code, delegate};
use netlink::announce::Repeat;
use netlink::interface::{Plan, UninvitedIpv6, configure, refuse_conflicts};
use netlink::{
    Link, LinkKind, Mac, MacvlanSpec, MasterError, MasterSelector, Netns, NetnsError, Route, RouteScope,
    Socket, find_master,
};

use crate::conf::{Announce, Conf, Conflicts, MacSource, MasterIn, RouterAdvertisements};
use crate::{chained, stable_mac};

/// How long the IPAM plugin may take for one verb.
const IPAM_LIMIT: Duration = Duration::from_secs(60);

/// Makes the link, has its addresses chosen and sets them. Whatever fails, link and addresses are given back. What earlier plugins
/// of a chain made stays in the result.
pub fn add(attachment: &Attachment, call: &Call) -> Result<CniResult, CniError> {
    let conf = Conf::parse(call)?;
    let previous = call.conf.prev_result()?;
    let earlier = previous.as_ref().map(|result| result.interfaces.as_slice());
    let masters = chained::masters(&conf, &attachment.netns, earlier)?;
    let mac = mac(attachment, call, &conf)?;
    let pod = Socket::in_netns(&open(attachment)?).map_err(|e| kernel(&e))?;
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

/// Deletes the link and releases its addresses. What is gone already is no failure, and the master is not looked at.
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

/// The first of `masters` that is here, and a socket in its namespace.
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
    mac: Option<Mac>,
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
    let spec = MacvlanSpec {
        mtu: conf.mtu,
        mac,
        bc_queue_len: conf.bc_queue_len,
        ..MacvlanSpec::new(attachment.if_name.as_str(), master.index, conf.mode)
    };
    host.create_macvlan(&spec, pod).map_err(|error| match error {
        netlink::Error::Exists(_) => CniError::new(
            Code::InvalidConfig,
            format!("interface name {} already exists in {}", attachment.if_name, attachment.netns.display()),
        ),
        other => {
            CniError::new(Code::Internal, format!("failed to create macvlan on {}: {other}", master.name))
        }
    })
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
        Some(ipam) => delegate::add(ipam, call, ipam_deadline())?,
        None => CniResult::default(),
    };
    cni::crash_point!("macvlan-after-ipam");
    let plan = plan(conf, call.conf.ipam.as_ref(), &result);
    if conf.conflicts == Conflicts::Refuse {
        refuse_conflicts(pod, link, &plan).map_err(|e| kernel(&e))?;
    }
    configure(pod, link, &plan).map_err(|e| kernel(&e))?;
    cni::crash_point!("macvlan-after-configure");
    let link = pod.link_by_index(link.index).map_err(|e| kernel(&e))?.ok_or_else(|| {
        CniError::new(
            Code::Internal,
            format!("interface {} vanished while it was set up", attachment.if_name),
        )
    })?;
    let interface = Interface {
        name: link.name,
        mac: link.mac.map(|mac| mac.to_string()).unwrap_or_default(),
        mtu: link.mtu,
        sandbox: attachment.netns.to_string_lossy().into_owned(),
        ..Interface::default()
    };
    Ok(result.on_interface(interface, &call.conf.dns))
}

fn plan(conf: &Conf, ipam: Option<&Ipam>, result: &CniResult) -> Plan {
    let uninvited = match (conf.router_advertisements, ipam) {
        (RouterAdvertisements::Accept, _) => UninvitedIpv6::Accept,
        (RouterAdvertisements::Refuse, Some(_)) => UninvitedIpv6::Refuse,
        // Without IPAM the addresses are the pod's own business.
        (RouterAdvertisements::Refuse, None) => UninvitedIpv6::Leave,
    };
    let announce = match conf.announce {
        Announce::Yes => Some(Repeat::default()),
        Announce::No => None,
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
        Some(link) if matches!(link.kind, LinkKind::Macvlan { .. }) => {
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
