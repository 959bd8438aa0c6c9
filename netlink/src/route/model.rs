//! Routes as values.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

/// The number of the main routing table.
pub const MAIN_TABLE: u32 = 254;

/// A unicast route with one next hop. A kernel route with several next hops is listed as several of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The destination; host bits are ignored.
    pub dst: IpNet,
    /// The next hop; none for a destination on the link. An IPv4 route may have an IPv6 next hop.
    pub gw: Option<IpAddr>,
    /// Index of the interface; if none, the kernel selects it by `gw`.
    pub dev: Option<u32>,
    /// The path MTU in bytes.
    pub mtu: Option<u32>,
    /// The greatest TCP segment size to advertise, in bytes.
    pub advmss: Option<u32>,
    /// The metric; the route with the lowest one is used. The kernel's default is 0 for IPv4 and 1024 for IPv6.
    pub priority: Option<u32>,
    /// The routing table; by default [`MAIN_TABLE`].
    pub table: Option<u32>,
    /// The scope. By default an IPv4 route has scope "global" with a next hop and "link" without. IPv6 ignores it.
    pub scope: Option<RouteScope>,
    /// Whether the next hop is on the link even if no prefix of the interface contains it.
    pub onlink: bool,
}

/// The distance to a destination (`rt_scope_t`), by the kernel's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteScope(pub u8);

impl RouteScope {
    /// Anywhere.
    pub const GLOBAL: Self = Self(0);
    /// On the link.
    pub const LINK: Self = Self(253);
}

/// Selects routes of a list; a field that is none matches every route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouteFilter {
    /// The routing table.
    pub table: Option<u32>,
    /// Index of the interface.
    pub dev: Option<u32>,
}

impl Route {
    /// A route to `dst`, all else by default.
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
    /// In the form of `ip route`.
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

impl RouteFilter {
    pub(super) fn matches(self, route: &Route) -> bool {
        let matches = |wanted: Option<u32>, found| wanted.is_none() || wanted == found;
        matches(self.table, route.table) && matches(self.dev, route.dev)
    }
}
