//! Gives an interface what its plan says.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use ipnet::IpNet;

use super::{
    plan::{Need, Plan, Setting, settings},
    predecessor::{may_end_configuring, retry},
};
use crate::{
    address::Dad,
    announce::announce,
    conflict,
    error::Error,
    link::Link,
    socket::Socket,
    sysctl::{self, Sysctl, SysctlError},
};

/// The name of each namespace's loopback interface.
const LOOPBACK: &str = "lo";

/// How long to wait for the end of duplicate address detection, which takes the kernel one to two seconds.
const DAD_LIMIT: Duration = Duration::from_secs(5);

/// Writes the sysctls of `link`, adds its addresses, sets it up, waits for duplicate address detection, adds the routes and announces
/// the addresses. After an error some of this is done; the caller deletes the link.
pub fn configure(pod: &Socket, link: &Link, plan: &Plan) -> Result<(), Error> {
    // First, so that the interface does not accept router advertisements while it comes up.
    write_sysctls(pod, link, plan)?;
    // Before the link is up: duplicate address detection starts for all addresses at once when it comes up.
    for net in &plan.addresses {
        // ipvlan refuses an address that another link of the master has.
        retry(may_end_configuring, || pod.add_address(link, *net, plan.dad))?;
    }
    // macvlan refuses a MAC address that another link of the master has.
    retry(may_end_configuring, || set_up(pod, link, plan))?;
    if plan.has_ipv6() && plan.dad == Dad::Kernel {
        wait_for_dad(pod, link)?;
    }
    for route in &plan.routes {
        match pod.add_route_through(link, route) {
            // It exists if it is the route to an address's subnet, or if the plan has it twice.
            Ok(()) | Err(Error::Exists(_)) => {}
            Err(error) => return Err(error),
        }
    }
    if let Some(repeat) = plan.announce {
        let ips: Vec<IpAddr> = plan.addresses.iter().map(IpNet::addr).collect();
        // The interface works without an announcement; neighbours then learn the addresses from its traffic.
        let _ = announce(pod.netns(), link, &ips, repeat);
    }
    Ok(())
}

/// Fails with [`Error::AddressInUse`] if another host has an IPv4 address of the plan. Call it before [`configure`], while the link has
/// no address. Writes the sysctls and sets the link up, then takes a quarter of a second; does nothing if the plan has no IPv4 address.
/// Without carrier it finds no other host.
pub fn detect_conflicts(pod: &Socket, link: &Link, plan: &Plan) -> Result<(), Error> {
    let ipv4 = plan.addresses.iter().filter_map(|net| match net.addr() {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    });
    let addresses: Vec<Ipv4Addr> = ipv4.collect();
    if addresses.is_empty() {
        return Ok(());
    }
    write_sysctls(pod, link, plan)?;
    retry(may_end_configuring, || pod.set_up(link))?;
    match conflict::probe(pod.netns(), link, &addresses)? {
        None => Ok(()),
        Some(conflict) => Err(Error::AddressInUse {
            link: link.name.clone(),
            address: conflict.address.into(),
            holder: conflict.holder,
        }),
    }
}

fn set_up(pod: &Socket, link: &Link, plan: &Plan) -> Result<(), Error> {
    // With arp_notify on, the kernel would announce the addresses now, in addition to the plan's announcement.
    if plan.announce.is_some() {
        return pod.set_up_then_enable_arp_notify(link);
    }
    // Fails on an interface without IPv4, which has nothing to announce.
    let _ = pod.enable_arp_notify(link);
    pod.set_up(link)
}

fn write_sysctls(pod: &Socket, link: &Link, plan: &Plan) -> Result<(), Error> {
    let settings = settings(plan);
    if settings.is_empty() {
        return Ok(());
    }
    let values: Vec<(Sysctl, u32)> = settings.iter().map(|setting| (setting.key, setting.value)).collect();
    let enables_ipv6 = |setting: &Setting| setting.key == Sysctl::DisableIpv6 && setting.value == 0;
    if settings.iter().any(enables_ipv6) {
        enable_ipv6_of_loopback(pod, link)?;
    }
    let outcomes = sysctl::write(pod.netns(), &link.name, &values)?;
    for (setting, outcome) in settings.into_iter().zip(outcomes) {
        match (outcome, setting.need) {
            (Err(source), Need::Required) if setting.key == Sysctl::DisableIpv6 => {
                return Err(Error::NoIpv6 { link: link.name.clone(), source });
            }
            (Err(error), Need::Required) => return Err(error.into()),
            (Err(error), Need::BestEffort) if !error.is_unavailable() => return Err(error.into()),
            (Ok(()) | Err(_), _) => {}
        }
    }
    Ok(())
}

/// Turns IPv6 of the loopback on: while it is off, there is no `::1`, and the pod cannot reach its own IPv6 addresses, which the kernel
/// routes through the loopback.
fn enable_ipv6_of_loopback(pod: &Socket, link: &Link) -> Result<(), Error> {
    let outcomes = sysctl::write(pod.netns(), LOOPBACK, &[(Sysctl::DisableIpv6, 0)])?;
    match outcomes.into_iter().find_map(Result::err) {
        // A kernel without IPv6 fails at the interface itself, if that needs it.
        None | Some(SysctlError::Missing { .. }) => Ok(()),
        Some(source) => Err(Error::NoIpv6 { link: link.name.clone(), source }),
    }
}

/// Waits for duplicate address detection. Without carrier it does not end, which is not an error of the address: the kernel continues
/// once there is a carrier.
fn wait_for_dad(pod: &Socket, link: &Link) -> Result<(), Error> {
    // Not the operational state (RFC 2863): the kernel never sets that of ipvlan links.
    let has_carrier = |link: Option<Link>| link.is_some_and(|link| link.lower_up);
    if !has_carrier(pod.link_by_index(link.index)?) {
        return Ok(());
    }
    match pod.settle(link, DAD_LIMIT) {
        Err(Error::StillTentative { .. }) if !has_carrier(pod.link_by_index(link.index)?) => Ok(()),
        outcome => outcome,
    }
}
