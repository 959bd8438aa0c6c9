//! Unicast routes of all tables.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteNextHop,
        RouteNextHopFlags, RouteProtocol, RouteScope as KernelScope, RouteType, RouteVia,
    },
};

use crate::{Error, Link, Socket, socket::About};

/// The table a route is in when none is named.
pub const MAIN_TABLE: u32 = 254;

/// A unicast route with one next hop. A route the kernel has with several is given as several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where to; host bits are ignored.
    pub dst: IpNet,
    /// Next hop, none for a destination on the link. An IPv4 route may have an IPv6 next hop.
    pub gw: Option<IpAddr>,
    /// Index of the interface; the kernel finds it by `gw` if none.
    pub dev: Option<u32>,
    /// Path MTU in bytes.
    pub mtu: Option<u32>,
    /// Largest TCP segment to announce, in bytes.
    pub advmss: Option<u32>,
    /// Metric: lower wins. The kernel's default is 0 for IPv4 and 1024 for IPv6.
    pub priority: Option<u32>,
    /// Table; [`MAIN_TABLE`] if none.
    pub table: Option<u32>,
    /// Scope; for a new IPv4 route "link" without, "global" with a next hop if none. IPv6 has no use for it.
    pub scope: Option<RouteScope>,
    /// The next hop is on the link whatever the interface's prefixes say.
    pub onlink: bool,
}

/// How far a destination is (`rt_scope_t`), by the kernel's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteScope(pub u8);

impl RouteScope {
    /// Anywhere.
    pub const GLOBAL: Self = Self(0);
    /// In this site.
    pub const SITE: Self = Self(200);
    /// On the link.
    pub const LINK: Self = Self(253);
    /// On this host.
    pub const HOST: Self = Self(254);
}

/// Which routes to list; what is none matches all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouteFilter {
    /// In this table.
    pub table: Option<u32>,
    /// Through the interface of this index.
    pub dev: Option<u32>,
}

impl Route {
    /// A route to `dst` with the kernel's choice of everything else.
    #[must_use]
    pub fn new(dst: IpNet) -> Self {
        Self {
            dst,
            gw: None,
            dev: None,
            mtu: None,
            advmss: None,
            priority: None,
            table: None,
            scope: None,
            onlink: false,
        }
    }

    /// Whether it is a default route.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.dst.prefix_len() == 0
    }
}

impl fmt::Display for Route {
    /// As `ip route` writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.dst.trunc())?;
        if let Some(gw) = self.gw {
            write!(f, " via {gw}")?;
        }
        if let Some(dev) = self.dev {
            write!(f, " dev #{dev}")?;
        }
        if let Some(table) = self.table {
            write!(f, " table {table}")?;
        }
        if let Some(priority) = self.priority {
            write!(f, " metric {priority}")?;
        }
        Ok(())
    }
}

impl Socket {
    /// Adds a route beside others to the same destination: a second one with another next hop is no error
    /// (equal-cost routes), the very same one is [`Error::Exists`].
    pub fn add_route(&self, route: &Route) -> Result<(), Error> {
        let about = About { op: "add route", object: route };
        self.change(about, NLM_F_CREATE, RouteNetlinkMessage::NewRoute(message(route))).map_err(|error| {
            error.hint(|errno| match errno {
                libc::ENETUNREACH | libc::EHOSTUNREACH => Some(
                    "the next hop is on no prefix of an interface that is up; an \"onlink\" route needs none",
                ),
                libc::ENETDOWN => Some("the interface is down"),
                _ => None,
            })
        })
    }

    /// Deletes a route. That it is gone already is success.
    pub fn delete_route(&self, route: &Route) -> Result<(), Error> {
        let mut message = message(route);
        message.header.scope = route.scope.map_or(KernelScope::NoWhere, |scope| scope.0.into());
        let about = About { op: "delete route", object: route };
        match self.change(about, 0, RouteNetlinkMessage::DelRoute(message)) {
            Err(Error::NotFound(_)) => Ok(()),
            outcome => outcome,
        }
    }

    /// The unicast routes of both families that match.
    pub fn routes(&self, filter: RouteFilter) -> Result<Vec<Route>, Error> {
        let mut routes = self.routes_of(AddressFamily::Inet, filter)?;
        routes.extend(self.routes_of(AddressFamily::Inet6, filter)?);
        Ok(routes)
    }

    /// The interface of the best default route in the main table, IPv4 before IPv6.
    pub fn default_route_device(&self) -> Result<Option<Link>, Error> {
        let filter = RouteFilter { table: Some(MAIN_TABLE), dev: None };
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let routes = self.routes_of(family, filter)?;
            let best = routes
                .iter()
                .filter(|route| route.is_default() && route.dev.is_some())
                .min_by_key(|route| route.priority.unwrap_or(0));
            if let Some(index) = best.and_then(|route| route.dev) {
                return self.link_by_index(index);
            }
        }
        Ok(None)
    }

    fn routes_of(&self, family: AddressFamily, filter: RouteFilter) -> Result<Vec<Route>, Error> {
        let about = About { op: "list", object: &"routes" };
        match self.dump(about, RouteNetlinkMessage::GetRoute(query(family, filter))) {
            Ok(messages) => {
                Ok(messages.into_iter().flat_map(routes_of).filter(|route| filter.takes(route)).collect())
            }
            // A kernel that filters refuses a table or an interface that is not there.
            Err(Error::NotFound(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

impl RouteFilter {
    fn takes(self, route: &Route) -> bool {
        let fits = |wanted: Option<u32>, found| wanted.is_none() || wanted == found;
        fits(self.table, route.table) && fits(self.dev, route.dev)
    }
}

fn query(family: AddressFamily, filter: RouteFilter) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.kind = RouteType::Unicast;
    message.attributes.extend(filter.table.map(RouteAttribute::Table));
    message.attributes.extend(filter.dev.map(RouteAttribute::Oif));
    message
}

fn message(route: &Route) -> RouteMessage {
    let dst = route.dst.trunc();
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: if dst.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 },
        destination_prefix_length: dst.prefix_len(),
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
        (IpAddr::V6(gw), IpNet::V4(_)) => RouteAttribute::Via(RouteVia::Inet6(gw)),
        _ => RouteAttribute::Gateway(gw.into()),
    }
}

/// The routes in one message: one for each next hop.
pub(crate) fn routes_of(message: RouteNetlinkMessage) -> Vec<Route> {
    let RouteNetlinkMessage::NewRoute(message) = message else { return Vec::new() };
    let header = &message.header;
    if header.kind != RouteType::Unicast || header.flags.contains(RouteFlags::Cloned) {
        return Vec::new();
    }
    let any: IpAddr = match header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return Vec::new(),
    };
    let Ok(anywhere) = IpNet::new(any, header.destination_prefix_length) else { return Vec::new() };
    let mut route = Route {
        table: Some(header.table.into()),
        scope: Some(RouteScope(header.scope.into())),
        onlink: header.flags.contains(RouteFlags::Onlink),
        ..Route::new(anywhere)
    };
    let mut hops = Vec::new();
    for attribute in message.attributes {
        match attribute {
            RouteAttribute::MultiPath(several) => hops = several,
            other => route.take(other),
        }
    }
    if hops.is_empty() { vec![route] } else { hops.into_iter().map(|hop| route.through(hop)).collect() }
}

impl Route {
    fn take(&mut self, attribute: RouteAttribute) {
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
                metrics.into_iter().for_each(|metric| self.take_metric(&metric));
            }
            _ => {}
        }
    }

    fn take_metric(&mut self, metric: &RouteMetric) {
        match metric {
            RouteMetric::Mtu(mtu) => self.mtu = Some(*mtu),
            RouteMetric::Advmss(advmss) => self.advmss = Some(*advmss),
            _ => {}
        }
    }

    fn through(&self, hop: RouteNextHop) -> Self {
        let onlink = hop.flags.contains(RouteNextHopFlags::Onlink);
        let mut route = Self { dev: Some(hop.interface_index), onlink, ..self.clone() };
        hop.attributes.into_iter().for_each(|attribute| route.take(attribute));
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
