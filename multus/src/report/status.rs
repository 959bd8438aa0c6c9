//! The entries of network-status, from the results of the plugins. Upstream's rules, where they show what is in the pod.

use std::net::IpAddr;

use cni::result::{CniResult, Interface, Ip, Route};
use nad::{Dns, NetworkStatus};
use serde_json::{Map, Value};

use crate::device::{Allocation, NetworkData};
use crate::plan::{Delegate, Role, RouteEdit};

/// The scope of a route to a destination that needs no gateway: `link` (253), `host` (254) and `nowhere` (255) of rtnetlink(7).
const SCOPE_LINK: u8 = 253;

/// Whether the plugins report an interface or an address. Such an attachment has an entry in network-status and an event.
pub(super) fn made_something(result: &CniResult) -> bool {
    !result.interfaces.is_empty() || !result.ips.is_empty()
}

/// Returns the entries of one attachment, after the change of its default routes. A result without an interface in the pod has one entry,
/// for the interface that the plan names.
pub(crate) fn entries(
    delegate: &Delegate,
    result: &CniResult,
    device_info: Option<Map<String, Value>>,
) -> Vec<NetworkStatus> {
    if !made_something(result) {
        return Vec::new();
    }
    let is_default_network = delegate.role == Role::Default;
    let entry = |interface: &Interface, default: bool| NetworkStatus {
        name: delegate.network.label.clone(),
        interface: interface.name.clone(),
        ips: Vec::new(),
        mac: interface.mac.clone(),
        mtu: interface.mtu,
        default,
        dns: dns(&result.dns),
        device_info: device_info.clone(),
        gateway: gateways(result, &delegate.route_edit),
    };
    // A single interface has all addresses, even if it is outside the pod; then its name is not shown.
    if let [only] = result.interfaces.as_slice() {
        let shown = if only.sandbox.is_empty() { &Interface::default() } else { only };
        return vec![NetworkStatus { ips: addresses(&result.ips), ..entry(shown, is_default_network) }];
    }
    let in_pod: Vec<(usize, &Interface)> =
        result.interfaces.iter().enumerate().filter(|(_, i)| !i.sandbox.is_empty()).collect();
    if in_pod.is_empty() {
        // Results before CNI 0.3.0 have no interfaces. The plugin received the name in CNI_IFNAME.
        let planned = Interface { name: delegate.if_name.to_string(), ..Interface::default() };
        return vec![NetworkStatus { ips: addresses(&result.ips), ..entry(&planned, is_default_network) }];
    }
    // At most one interface is the default, and none if the gateway is on an interface outside the pod.
    let default = is_default_network.then(|| default_interface(result, &in_pod)).flatten();
    // An address without an interface counts for the last one.
    let last = in_pod.last().map(|(at, _)| *at);
    let of = |(at, interface): &(usize, &Interface)| {
        let here = result.ips.iter().filter(|ip| ip.interface.or(last) == Some(*at));
        NetworkStatus { ips: addresses(here), ..entry(interface, default == Some(*at)) }
    };
    in_pod.iter().map(of).collect()
}

/// What the claim of an attachment's device says about it.
pub(crate) fn network_data(delegate: &Delegate, result: &CniResult, allocation: Allocation) -> NetworkData {
    let mut in_pod = result.interfaces.iter().filter(|interface| !interface.sandbox.is_empty());
    let own = in_pod.clone().find(|interface| interface.name == delegate.if_name.as_str());
    let mac = own.or_else(|| in_pod.next()).map(|interface| interface.mac.clone()).unwrap_or_default();
    let ips = result.ips.iter().map(|ip| ip.address.to_string()).collect();
    NetworkData { allocation, interface: delegate.if_name.to_string(), ips, mac }
}

/// The interface with the default route: that of the first address with a gateway, or the first one in the pod.
fn default_interface(result: &CniResult, in_pod: &[(usize, &Interface)]) -> Option<usize> {
    let with_gateway = result.ips.iter().filter(|ip| ip.gateway.is_some()).find_map(|ip| ip.interface);
    with_gateway.or_else(|| in_pod.first().map(|(at, _)| *at))
}

/// The gateways of the default routes: those of the result that the edit keeps, then those that it adds.
fn gateways(result: &CniResult, edit: &RouteEdit) -> Vec<String> {
    let is_kept = |route: &&Route| route.dst.prefix_len() == 0 && !edit.drops(route.dst.addr());
    let kept = result.routes.iter().filter(is_kept).filter_map(|route| gateway_of(route, &result.ips));
    kept.chain(edit.gateways.iter().copied()).map(address).collect()
}

/// The gateway of a route. A route without one has that of the first address of its family (CNI spec 1.1.0, section 5, "Success"),
/// unless its scope says that it needs none.
fn gateway_of(route: &Route, ips: &[Ip]) -> Option<IpAddr> {
    let of_addresses = || {
        let is_v4 = route.dst.addr().is_ipv4();
        ips.iter().filter_map(|ip| ip.gateway).find(|gateway| gateway.is_ipv4() == is_v4)
    };
    let needs_gateway = route.scope.is_none_or(|scope| scope < SCOPE_LINK);
    route.gw.or_else(|| needs_gateway.then(of_addresses).flatten())
}

fn addresses<'a>(ips: impl IntoIterator<Item = &'a Ip>) -> Vec<String> {
    ips.into_iter().map(|ip| address(ip.address.addr())).collect()
}

/// An IPv4-mapped IPv6 address is shown as IPv4, as Go does.
fn address(ip: IpAddr) -> String {
    ip.to_canonical().to_string()
}

fn dns(dns: &cni::result::Dns) -> Dns {
    let cni::result::Dns { nameservers, domain, search, options } = dns.clone();
    Dns { nameservers, domain, search, options }
}
