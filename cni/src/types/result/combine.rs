//! How results of several plugins become one: IPAM and interface plugin, earlier and later plugins of a chain.

use std::net::IpAddr;

use super::value::{CniResult, Dns, Interface, Route};

/// `RT_SCOPE_LINK` of rtnetlink(7). Greater numbers are narrower scopes: 254 is host, 255 nowhere.
const SCOPE_LINK: u8 = 253;

impl CniResult {
    /// Turns an IPAM result into that of a plugin with one interface, which gets all addresses. The `dns` of the conf, if set,
    /// replaces that of the IPAM result.
    #[must_use]
    pub fn on_interface(mut self, interface: Interface, dns: &Dns) -> Self {
        self.interfaces = vec![interface];
        for ip in &mut self.ips {
            ip.interface = Some(0);
        }
        if !dns.is_empty() {
            self.dns = dns.clone();
        }
        self
    }

    /// Puts this result, of a later plugin of a chain, after `previous`. Everything in `previous` keeps its index. Our routes
    /// without a gateway get one first: a route takes the first gateway of its family, and after the join that can be the gateway
    /// of an earlier plugin.
    #[must_use]
    pub fn after(mut self, previous: CniResult) -> Self {
        let shift = previous.interfaces.len();
        self.routes = self.routes_with_gateways();
        for ip in &mut self.ips {
            ip.interface = ip.interface.map(|index| index + shift);
        }
        CniResult {
            interfaces: [previous.interfaces, self.interfaces].concat(),
            ips: [previous.ips, self.ips].concat(),
            routes: [previous.routes, self.routes].concat(),
            dns: self.dns.after(previous.dns),
        }
    }

    /// Returns the routes. A route without a gateway gets the first gateway of its family in [`CniResult::ips`], if there is one. A
    /// route of scope link or narrower gets none: its destination is on the link, and the kernel refuses a gateway.
    pub fn routes_with_gateways(&self) -> Vec<Route> {
        let gateway_of = |route: &Route| {
            let is_family = |gateway: &IpAddr| gateway.is_ipv4() == route.dst.addr().is_ipv4();
            let is_near = route.scope.is_some_and(|scope| scope >= SCOPE_LINK);
            self.ips.iter().filter_map(|ip| ip.gateway).find(is_family).filter(|_| !is_near)
        };
        let filled = |route: &Route| Route { gw: route.gw.or_else(|| gateway_of(route)), ..route.clone() };
        self.routes.iter().map(filled).collect()
    }
}

impl Dns {
    /// Joins both, without duplicates. The entries of `previous` come first, and its domain is kept if it has one.
    fn after(self, previous: Dns) -> Dns {
        let joined = |mut first: Vec<String>, second: Vec<String>| {
            for entry in second {
                if !first.contains(&entry) {
                    first.push(entry);
                }
            }
            first
        };
        Dns {
            nameservers: joined(previous.nameservers, self.nameservers),
            domain: if previous.domain.is_empty() { self.domain } else { previous.domain },
            search: joined(previous.search, self.search),
            options: joined(previous.options, self.options),
        }
    }
}
