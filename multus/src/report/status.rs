//! The entries of network-status, from the results of the plugins. Upstream's rules.

use cni::result::{CniResult, Interface, Ip, Route};
use nad::{Dns, NetworkStatus};
use serde_json::{Map, Value};

use crate::plan::Role;

/// Returns the entries of one attachment. A result without interfaces has none, because an entry is about an interface. `label` is the
/// label of the network.
pub(crate) fn entries(
    label: &str,
    role: Role,
    result: &CniResult,
    device_info: Option<Map<String, Value>>,
) -> Vec<NetworkStatus> {
    let entry = |interface: &Interface, default: bool| NetworkStatus {
        name: label.to_owned(),
        interface: interface.name.clone(),
        ips: Vec::new(),
        mac: interface.mac.clone(),
        mtu: interface.mtu,
        default,
        dns: dns(&result.dns),
        device_info: device_info.clone(),
        gateway: gateways(&result.routes),
    };
    // A single interface has all addresses, even if it is outside the pod; then its name is not shown.
    if let [only] = result.interfaces.as_slice() {
        let shown = if only.sandbox.is_empty() { &Interface::default() } else { only };
        let ips = result.ips.iter().map(|ip| address(ip.address.addr())).collect();
        return vec![NetworkStatus { ips, ..entry(shown, role == Role::Default) }];
    }
    let in_pod: Vec<(usize, &Interface)> =
        result.interfaces.iter().enumerate().filter(|(_, i)| !i.sandbox.is_empty()).collect();
    // At most one interface is the default, and none if the gateway is on an interface outside the pod.
    let default = (role == Role::Default).then(|| default_interface(result, &in_pod)).flatten();
    // An address without an interface counts for the last one.
    let last = in_pod.last().map(|(at, _)| *at);
    let of = |(at, interface): &(usize, &Interface)| {
        let is_here = |ip: &&Ip| ip.interface.or(last) == Some(*at);
        let ips = result.ips.iter().filter(is_here).map(|ip| address(ip.address.addr())).collect();
        NetworkStatus { ips, ..entry(interface, default == Some(*at)) }
    };
    in_pod.iter().map(of).collect()
}

/// The interface with the default route: that of the first address with a gateway, or the first one in the pod.
fn default_interface(result: &CniResult, in_pod: &[(usize, &Interface)]) -> Option<usize> {
    let with_gateway = result.ips.iter().filter(|ip| ip.gateway.is_some()).find_map(|ip| ip.interface);
    with_gateway.or_else(|| in_pod.first().map(|(at, _)| *at))
}

fn gateways(routes: &[Route]) -> Vec<String> {
    let is_default = |route: &&Route| route.dst.prefix_len() == 0;
    routes.iter().filter(is_default).filter_map(|route| route.gw).map(address).collect()
}

/// An IPv4-mapped IPv6 address is shown as IPv4, as Go does.
fn address(ip: std::net::IpAddr) -> String {
    ip.to_canonical().to_string()
}

fn dns(dns: &cni::result::Dns) -> Dns {
    let cni::result::Dns { nameservers, domain, search, options } = dns.clone();
    Dns { nameservers, domain, search, options }
}
