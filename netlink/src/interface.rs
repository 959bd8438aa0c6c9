//! Making an interface ready for use, and comparing one with what it was made to be.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::announce::{Repeat, announce};
use crate::sysctl::{self, Sysctl, SysctlError};
use crate::{Dad, Error, Link, MAIN_TABLE, OperState, Route, RouteFilter, Socket};

/// How long duplicate address detection may take before the interface is used.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);

/// What an interface shall have. Addresses and routes are in the order they are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Addresses with their prefix lengths.
    pub addresses: Vec<IpNet>,
    /// Routes through the interface; [`Route::dev`] is filled in.
    pub routes: Vec<Route>,
    /// Duplicate address detection of the IPv6 addresses.
    pub dad: Dad,
    /// What to do about IPv6 that nobody asked for.
    pub uninvited: UninvitedIpv6,
    /// Whether and how often the addresses are announced on the wire.
    pub announce: Option<Repeat>,
}

/// What an interface does about IPv6 beyond the addresses it is given. Left on, anyone on the wire can give a pod an address and a
/// default route by a router advertisement, past every rule made for IPv4 (CVE-2024-32473, CVE-2020-10749).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UninvitedIpv6 {
    /// Router advertisements are ignored, and without an IPv6 address of its own the interface has no IPv6 at all.
    Refuse,
    /// Router advertisements are taken and make addresses.
    Accept,
    /// As the kernel has it: for interfaces that somebody else gives their addresses.
    Leave,
}

/// Gives `link` its sysctls and addresses, sets it up, waits for duplicate address detection, adds the routes and announces the
/// addresses. The link is left as far as it got when something fails: who made it deletes it.
pub fn configure(pod: &Socket, link: &Link, plan: &Plan) -> Result<(), Error> {
    set_sysctls(pod, link, plan)?;
    for net in &plan.addresses {
        pod.add_address(link, *net, plan.dad)?;
    }
    pod.set_up(link)?;
    let has_ipv6 = plan.addresses.iter().any(is_ipv6);
    if has_ipv6 && plan.dad == Dad::Kernel {
        settle(pod, link)?;
    }
    for route in &plan.routes {
        let route = Route { dev: Some(link.index), ..route.clone() };
        match pod.add_route(&route) {
            // The kernel made it with the address, or two requests named it.
            Ok(()) | Err(Error::Exists(_)) => {}
            Err(error) => return Err(error),
        }
    }
    if let Some(repeat) = plan.announce {
        let ips: Vec<IpAddr> = plan.addresses.iter().map(IpNet::addr).collect();
        // The link is as asked for whether or not the neighbours heard of it.
        let _ = announce(pod.netns(), link, &ips, repeat);
    }
    Ok(())
}

fn set_sysctls(pod: &Socket, link: &Link, plan: &Plan) -> Result<(), Error> {
    let has_ipv6 = plan.addresses.iter().any(is_ipv6);
    if has_ipv6 {
        let failures = sysctl::set(pod.netns(), &link.name, &[(Sysctl::DisableIpv6, 0)]);
        if let Some(error) = failures.into_iter().next() {
            let source = std::io::Error::other(error.to_string());
            return Err(Error::Io { op: "enable IPv6, which an IPv6 address needs", source });
        }
    }
    let mut wishes = vec![(Sysctl::ArpNotify, 1)];
    if has_ipv6 {
        wishes.extend([(Sysctl::NdiscNotify, 1), (Sysctl::KeepAddrOnDown, 1)]);
    }
    match plan.uninvited {
        UninvitedIpv6::Refuse => {
            wishes.extend([(Sysctl::AcceptRa, 0), (Sysctl::Autoconf, 0)]);
            if !has_ipv6 {
                wishes.push((Sysctl::DisableIpv6, 1));
            }
        }
        UninvitedIpv6::Accept => {
            wishes.extend([(Sysctl::DisableIpv6, 0), (Sysctl::AcceptRa, 2), (Sysctl::Autoconf, 1)]);
        }
        UninvitedIpv6::Leave => {}
    }
    let failures = sysctl::set(pod.netns(), &link.name, &wishes);
    match failures.into_iter().find(|error| !SysctlError::is_out_of_reach(error)) {
        None => Ok(()),
        Some(error) => {
            let source = std::io::Error::other(error.to_string());
            Err(Error::Io { op: "set the sysctls of the interface", source })
        }
    }
}

/// Without carrier detection cannot end, which is no fault of the address.
fn settle(pod: &Socket, link: &Link) -> Result<(), Error> {
    let has_carrier = |link: Option<Link>| link.is_some_and(|link| link.oper_state == OperState::Up);
    if !has_carrier(pod.link_by_index(link.index)?) {
        return Ok(());
    }
    match pod.settle(link, SETTLE_LIMIT) {
        Err(Error::StillTentative { .. }) if !has_carrier(pod.link_by_index(link.index)?) => Ok(()),
        outcome => outcome,
    }
}

fn is_ipv6(net: &IpNet) -> bool {
    net.addr().is_ipv6()
}

/// Something that an interface should have and does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// It is administratively down.
    Up,
    /// An address.
    Address(IpNet),
    /// A route.
    Route(Route),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Up => f.write_str("it is down"),
            Missing::Address(net) => write!(f, "address {net} is not on it"),
            Missing::Route(route) => write!(f, "route {route} is not in the routing table"),
        }
    }
}

/// The first thing of `addresses` and `routes` that `link` does not have. A route matches by table, destination, gateway and
/// interface; more addresses and routes than asked for are no fault.
pub fn missing(
    pod: &Socket,
    link: &Link,
    addresses: &[IpNet],
    routes: &[Route],
) -> Result<Option<Missing>, Error> {
    if !link.up {
        return Ok(Some(Missing::Up));
    }
    let present = pod.addresses(link)?;
    if let Some(net) = addresses.iter().find(|net| !present.iter().any(|a| a.net == **net)) {
        return Ok(Some(Missing::Address(*net)));
    }
    if routes.is_empty() {
        return Ok(None);
    }
    let present = pod.routes(RouteFilter { dev: Some(link.index), table: None })?;
    let gone = routes.iter().find(|route| !present.iter().any(|p| matches(route, p)));
    Ok(gone.map(|route| Missing::Route(route.clone())))
}

fn matches(wanted: &Route, present: &Route) -> bool {
    let table = |route: &Route| route.table.unwrap_or(MAIN_TABLE);
    wanted.dst.trunc() == present.dst.trunc()
        && table(wanted) == table(present)
        && (wanted.gw.is_none() || wanted.gw == present.gw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(dst: &str, gw: Option<&str>, table: Option<u32>) -> Route {
        Route { gw: gw.map(|g| g.parse().unwrap()), table, ..Route::new(dst.parse().unwrap()) }
    }

    #[test]
    fn a_route_matches_by_table_destination_and_gateway() {
        let present = route("10.0.0.0/8", Some("10.1.0.1"), Some(MAIN_TABLE));
        assert!(matches(&route("10.0.0.9/8", Some("10.1.0.1"), None), &present));
        assert!(matches(&route("10.0.0.0/8", None, None), &present));
        assert!(!matches(&route("10.0.0.0/8", Some("10.1.0.2"), None), &present));
        assert!(!matches(&route("10.0.0.0/8", Some("10.1.0.1"), Some(100)), &present));
        assert!(!matches(&route("10.0.0.0/9", Some("10.1.0.1"), None), &present));
    }
}
