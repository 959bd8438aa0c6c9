//! Encodes routes in the kernel's messages, and parses them.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteNextHop,
        RouteNextHopFlags, RouteProtocol, RouteScope as KernelScope, RouteType, RouteVia,
    },
};

use super::model::{MAIN_TABLE, Route, RouteFilter, RouteScope};

/// A request for the list of routes. Kernels before 4.20 ignore the filter.
pub(super) fn query(family: AddressFamily, filter: RouteFilter) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.kind = RouteType::Unicast;
    message.attributes.extend(filter.table.map(RouteAttribute::Table));
    message.attributes.extend(filter.dev.map(RouteAttribute::Oif));
    message
}

/// The message that adds or deletes `route`.
pub(super) fn message(route: &Route) -> RouteMessage {
    let dst = route.dst.trunc();
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: if dst.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 },
        destination_prefix_length: dst.prefix_len(),
        // The header has 8 bits for the table; the attribute below has 32 and takes precedence.
        table: RouteHeader::RT_TABLE_UNSPEC,
        protocol: RouteProtocol::Boot,
        scope: scope(route),
        kind: RouteType::Unicast,
        flags: if route.onlink { RouteFlags::Onlink } else { RouteFlags::empty() },
        ..RouteHeader::default()
    };
    let attributes = &mut message.attributes;
    if dst.prefix_len() > 0 {
        attributes.push(RouteAttribute::Destination(dst.addr().into()));
    }
    attributes.push(RouteAttribute::Table(route.table.unwrap_or(MAIN_TABLE)));
    attributes.extend(route.gw.map(|gw| next_hop(gw, dst)));
    attributes.extend(route.dev.map(RouteAttribute::Oif));
    attributes.extend(route.priority.map(RouteAttribute::Priority));
    let metrics = [route.mtu.map(RouteMetric::Mtu), route.advmss.map(RouteMetric::Advmss)];
    let metrics: Vec<_> = metrics.into_iter().flatten().collect();
    if !metrics.is_empty() {
        attributes.push(RouteAttribute::Metrics(metrics));
    }
    message
}

fn scope(route: &Route) -> KernelScope {
    match (route.scope, route.gw, route.dst) {
        (Some(scope), _, _) => scope.0.into(),
        (None, None, IpNet::V4(_)) => KernelScope::Link,
        (None, _, _) => KernelScope::Universe,
    }
}

fn next_hop(gw: IpAddr, dst: IpNet) -> RouteAttribute {
    match (gw, dst) {
        // RTA_GATEWAY must be of the route's own family.
        (IpAddr::V6(gw), IpNet::V4(_)) => RouteAttribute::Via(RouteVia::Inet6(gw)),
        _ => RouteAttribute::Gateway(gw.into()),
    }
}

/// The unicast routes in one message, one for each next hop; none for other objects.
pub(crate) fn routes_of(message: RouteNetlinkMessage) -> Vec<Route> {
    let RouteNetlinkMessage::NewRoute(message) = message else { return Vec::new() };
    let header = &message.header;
    // Cloned routes are the kernel's cache of single destinations, such as path MTUs.
    if header.kind != RouteType::Unicast || header.flags.contains(RouteFlags::Cloned) {
        return Vec::new();
    }
    let unspecified: IpAddr = match header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return Vec::new(),
    };
    // A default route has no destination attribute.
    let Ok(dst) = IpNet::new(unspecified, header.destination_prefix_length) else { return Vec::new() };
    let mut route = Route {
        table: Some(header.table.into()),
        scope: Some(RouteScope(header.scope.into())),
        onlink: header.flags.contains(RouteFlags::Onlink),
        ..Route::new(dst)
    };
    let mut hops = Vec::new();
    for attribute in message.attributes {
        match attribute {
            RouteAttribute::MultiPath(several) => hops = several,
            other => route.read(other),
        }
    }
    if hops.is_empty() { vec![route] } else { hops.into_iter().map(|hop| route.with_next_hop(hop)).collect() }
}

impl Route {
    fn read(&mut self, attribute: RouteAttribute) {
        match attribute {
            RouteAttribute::Destination(address) => {
                let net = ip(&address).and_then(|ip| IpNet::new(ip, self.dst.prefix_len()).ok());
                self.dst = net.unwrap_or(self.dst);
            }
            RouteAttribute::Gateway(address) => self.gw = ip(&address),
            RouteAttribute::Via(RouteVia::Inet6(gw)) => self.gw = Some(gw.into()),
            RouteAttribute::Via(RouteVia::Inet(gw)) => self.gw = Some(gw.into()),
            RouteAttribute::Oif(index) => self.dev = Some(index),
            RouteAttribute::Priority(metric) => self.priority = Some(metric),
            RouteAttribute::Table(table) => self.table = Some(table),
            RouteAttribute::Metrics(metrics) => {
                metrics.into_iter().for_each(|metric| self.read_metric(&metric));
            }
            _ => {}
        }
    }

    fn read_metric(&mut self, metric: &RouteMetric) {
        match metric {
            RouteMetric::Mtu(mtu) => self.mtu = Some(*mtu),
            RouteMetric::Advmss(advmss) => self.advmss = Some(*advmss),
            _ => {}
        }
    }

    fn with_next_hop(&self, hop: RouteNextHop) -> Self {
        let onlink = hop.flags.contains(RouteNextHopFlags::Onlink);
        let mut route = Self { dev: Some(hop.interface_index), onlink, ..self.clone() };
        hop.attributes.into_iter().for_each(|attribute| route.read(attribute));
        route
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}
