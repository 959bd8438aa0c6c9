//! Making an interface ready for use, and comparing one with what it was made to be.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::IpNet;

use crate::announce::{Repeat, announce};
use crate::sysctl::{self, Sysctl};
use crate::{Dad, Error, Link, MAIN_TABLE, Route, RouteFilter, Socket, conflict};

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
    set_up(pod, link, plan)?;
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

/// Fails with [`Error::AddressInUse`] if another host has one of the plan's IPv4 addresses: for use before [`configure`], while the
/// link has none of them. It sets the link up, its sysctls first, and takes about [`conflict::PATIENCE`] per probe; without an IPv4
/// address it does nothing. Nobody can be asked on a link without carrier.
pub fn refuse_conflicts(pod: &Socket, link: &Link, plan: &Plan) -> Result<(), Error> {
    let ipv4 = plan.addresses.iter().filter_map(|net| match net.addr() {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    });
    let addresses: Vec<Ipv4Addr> = ipv4.collect();
    if addresses.is_empty() {
        return Ok(());
    }
    set_sysctls(pod, link, plan)?;
    pod.set_up(link)?;
    match conflict::probe(pod.netns(), link, &addresses)? {
        None => Ok(()),
        Some(claim) => Err(Error::AddressInUse {
            link: link.name.clone(),
            address: claim.address.into(),
            holder: claim.holder,
        }),
    }
}

/// Whether the interface is of use without a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Must,
    /// It may be out of reach, as below a read-only `/proc/sys`.
    Wish,
}

fn settings(plan: &Plan) -> Vec<(Sysctl, u32, Need)> {
    let has_ipv6 = plan.addresses.iter().any(is_ipv6);
    let mut settings = Vec::new();
    match plan.uninvited {
        UninvitedIpv6::Refuse => {
            settings.extend([(Sysctl::AcceptRa, 0, Need::Wish), (Sysctl::Autoconf, 0, Need::Wish)]);
            if !has_ipv6 {
                settings.push((Sysctl::DisableIpv6, 1, Need::Wish));
            }
        }
        UninvitedIpv6::Accept => {
            settings.extend([(Sysctl::AcceptRa, 2, Need::Wish), (Sysctl::Autoconf, 1, Need::Wish)]);
            if !has_ipv6 {
                settings.push((Sysctl::DisableIpv6, 0, Need::Wish));
            }
        }
        UninvitedIpv6::Leave => {}
    }
    if has_ipv6 {
        settings.extend([
            (Sysctl::NdiscNotify, 1, Need::Wish),
            (Sysctl::KeepAddrOnDown, 1, Need::Wish),
            (Sysctl::DisableIpv6, 0, Need::Must),
        ]);
    }
    settings
}

/// The kernel's own announcement would only repeat the plan's.
fn set_up(pod: &Socket, link: &Link, plan: &Plan) -> Result<(), Error> {
    if plan.announce.is_some() {
        return pod.set_up_to_notify_later(link);
    }
    // An interface without IPv4 has nothing to announce.
    let _ = pod.notify_arp(link);
    pod.set_up(link)
}

fn set_sysctls(pod: &Socket, link: &Link, plan: &Plan) -> Result<(), Error> {
    let settings = settings(plan);
    if settings.is_empty() {
        return Ok(());
    }
    let values: Vec<(Sysctl, u32)> = settings.iter().map(|(key, value, _)| (*key, *value)).collect();
    let outcomes = sysctl::set_each(pod.netns(), &link.name, &values)?;
    for ((key, _, need), outcome) in settings.into_iter().zip(outcomes) {
        match outcome {
            Err(source) if need == Need::Must && key == Sysctl::DisableIpv6 => {
                return Err(Error::NoIpv6 { link: link.name.clone(), source });
            }
            Err(error) if need == Need::Must || !error.is_out_of_reach() => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Without carrier detection cannot end, which is no fault of the address. The operational state would not tell: an ipvlan link never has one.
fn settle(pod: &Socket, link: &Link) -> Result<(), Error> {
    let has_carrier = |link: Option<Link>| link.is_some_and(|link| link.lower_up);
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
    /// A route. Which interface it should be through is known: [`Route::dev`] is none.
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
    Ok(first_missing(routes, &present))
}

fn first_missing(wanted: &[Route], present: &[Route]) -> Option<Missing> {
    let gone = wanted.iter().find(|route| !present.iter().any(|p| matches(route, p)))?;
    Some(Missing::Route(Route { dev: None, ..gone.clone() }))
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

    fn plan(addresses: &[&str], uninvited: UninvitedIpv6) -> Plan {
        Plan {
            addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
            routes: vec![],
            dad: Dad::Kernel,
            uninvited,
            announce: None,
        }
    }

    #[test]
    fn ipv6_is_off_unless_an_address_or_router_advertisements_need_it() {
        let disabled = |addresses: &[&str], uninvited| {
            let settings = settings(&plan(addresses, uninvited));
            let found: Vec<_> =
                settings.into_iter().filter(|(key, ..)| *key == Sysctl::DisableIpv6).collect();
            assert!(found.len() <= 1, "{found:?}");
            found.first().map(|(_, value, need)| (*value, *need))
        };
        let (v4, v6) = (["10.1.2.3/24"], ["10.1.2.3/24", "2001:db8::5/64"]);
        assert_eq!(disabled(&v4, UninvitedIpv6::Refuse), Some((1, Need::Wish)));
        assert_eq!(disabled(&v4, UninvitedIpv6::Accept), Some((0, Need::Wish)));
        assert_eq!(disabled(&v4, UninvitedIpv6::Leave), None);
        for uninvited in [UninvitedIpv6::Refuse, UninvitedIpv6::Accept, UninvitedIpv6::Leave] {
            assert_eq!(disabled(&v6, uninvited), Some((0, Need::Must)));
        }
    }

    #[test]
    fn a_missing_route_names_no_interface_index() {
        let route = Route { dev: Some(7), ..route("10.0.0.0/8", Some("10.1.0.1"), None) };
        let missing = first_missing(&[route], &[]).unwrap();
        assert_eq!(missing.to_string(), "route 10.0.0.0/8 via 10.1.0.1 is not in the routing table");
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
