//! The annotation `k8s.v1.cni.cncf.io/network-status` (multi-network spec 1.3, "Network Status"): what a pod got, byte for byte as tools
//! have always found it.

use cni::result::{CniResult, Dns, Interface, Route};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::plan::Role;

/// The annotation's name.
pub const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// One interface of one network. The order of fields is the order on the wire.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    interface: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    mac: String,
    #[serde(skip_serializing_if = "is_zero")]
    mtu: u32,
    #[serde(skip_serializing_if = "is_false")]
    default: bool,
    dns: Dns,
    #[serde(rename = "device-info", skip_serializing_if = "Option::is_none")]
    device_info: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gateway: Vec<String>,
}

/// The entries of one attachment. A result without interfaces has none: there is nothing to show the addresses on.
pub fn entries(
    label: &str,
    role: Role,
    result: &CniResult,
    device_info: Option<Map<String, Value>>,
) -> Vec<Entry> {
    let entry = |interface: &Interface, default: bool| Entry {
        name: label.to_owned(),
        interface: interface.name.clone(),
        ips: Vec::new(),
        mac: interface.mac.clone(),
        mtu: interface.mtu,
        default,
        dns: result.dns.clone(),
        device_info: device_info.clone(),
        gateway: gateways(&result.routes),
    };
    if let [only] = result.interfaces.as_slice() {
        let shown = if only.sandbox.is_empty() { &Interface::default() } else { only };
        let ips = result.ips.iter().map(|ip| address(ip.address.addr())).collect();
        return vec![Entry { ips, ..entry(shown, role == Role::Default) }];
    }
    let in_pod: Vec<(usize, &Interface)> =
        result.interfaces.iter().enumerate().filter(|(_, i)| !i.sandbox.is_empty()).collect();
    let default = (role == Role::Default).then(|| default_interface(result, &in_pod)).flatten();
    let last = in_pod.last().map(|(at, _)| *at);
    let of = |(at, interface): &(usize, &Interface)| {
        let is_here = |ip: &&cni::result::Ip| ip.interface.or(last) == Some(*at);
        let ips = result.ips.iter().filter(is_here).map(|ip| address(ip.address.addr())).collect();
        Entry { ips, ..entry(interface, default == Some(*at)) }
    };
    in_pod.iter().map(of).collect()
}

/// The interface that leads out: that of the first address with a gateway, or the first one in the pod.
fn default_interface(result: &CniResult, in_pod: &[(usize, &Interface)]) -> Option<usize> {
    let with_gateway = result.ips.iter().filter(|ip| ip.gateway.is_some()).find_map(|ip| ip.interface);
    with_gateway.or_else(|| in_pod.first().map(|(at, _)| *at))
}

fn gateways(routes: &[Route]) -> Vec<String> {
    let is_default = |route: &&Route| route.dst.prefix_len() == 0;
    routes.iter().filter(is_default).filter_map(|route| route.gw).map(address).collect()
}

/// An IPv4 address within IPv6 is shown as IPv4.
fn address(ip: std::net::IpAddr) -> String {
    ip.to_canonical().to_string()
}

/// The annotation; `None` where there is nothing to say, and the annotation is left as it is.
pub fn render(entries: &[Entry]) -> Option<String> {
    if entries.is_empty() {
        return None;
    }
    let texts: Vec<String> = entries.iter().map(cni::json::pretty).collect();
    Some(escape_html(&format!("[{}]", texts.join(","))))
}

/// The characters that Go escapes in JSON; outside of strings there are none of them.
fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            other => out.push(other),
        }
    }
    out
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

fn is_false(b: &bool) -> bool {
    !b
}

#[cfg(test)]
mod tests;
