//! Selects the master of a macvlan or ipvlan link by name, MAC address or subnet, so that one conf serves nodes whose cards have
//! different names.

use std::fmt;

use ipnet::IpNet;

use crate::{
    error::Error,
    link::Link,
    mac::Mac,
    route::{MAIN_TABLE, RouteFilter},
    socket::Socket,
};

/// Selects an interface. By MAC address and subnet it never selects a macvlan or ipvlan link, but only what those are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterSelector {
    /// The interface with this name or alternative name.
    Name(String),
    /// The interface with this MAC address.
    Mac(Mac),
    /// The interface that has an address in this subnet.
    Subnet(IpNet),
}

/// Why there is no master.
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    /// The conf names no interface, and there is no default route.
    #[error("no default route interface found")]
    NoDefaultRoute,
    /// No interface matches.
    #[error("failed to lookup master {}: no such interface here; there are {}", list(selectors), present.join(", "))]
    NotFound {
        /// The selectors, in order.
        selectors: Vec<MasterSelector>,
        /// The names of all interfaces of the namespace.
        present: Vec<String>,
    },
    /// A request to the kernel failed.
    #[error("failed to lookup the master interface: {0}")]
    Netlink(#[from] Error),
}

impl fmt::Display for MasterSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MasterSelector::Name(name) => write!(f, "{name:?}"),
            MasterSelector::Mac(mac) => write!(f, "with MAC address {mac}"),
            MasterSelector::Subnet(net) => write!(f, "with an address in {net}"),
        }
    }
}

fn list(selectors: &[MasterSelector]) -> String {
    selectors.iter().map(MasterSelector::to_string).collect::<Vec<_>>().join(" or ")
}

/// The interface that the first matching selector selects; without selectors, that of the default route.
pub fn find_master(socket: &Socket, selectors: &[MasterSelector]) -> Result<Link, MasterError> {
    if selectors.is_empty() {
        return default_route_link(socket)?.ok_or(MasterError::NoDefaultRoute);
    }
    for selector in selectors {
        if let Some(link) = select(socket, selector)? {
            return Ok(link);
        }
    }
    let present = socket.links()?.into_iter().map(|link| link.name).collect();
    Err(MasterError::NotFound { selectors: selectors.to_vec(), present })
}

fn select(socket: &Socket, selector: &MasterSelector) -> Result<Option<Link>, Error> {
    match selector {
        MasterSelector::Name(name) => match socket.link_by_name(name) {
            // An invalid name is no different from one that no interface has: the error of the caller lists those that exist.
            Err(Error::BadName(_)) => Ok(None),
            other => other,
        },
        MasterSelector::Mac(mac) => {
            // ipvlan links and macvlan links in mode passthru have their master's MAC address.
            let matches = |link: &Link| link.mac == Some(*mac) && !link.has_master();
            Ok(socket.links()?.into_iter().find(matches))
        }
        MasterSelector::Subnet(net) => {
            let addresses = socket.all_addresses()?;
            let has_address = |link: &Link| {
                addresses
                    .iter()
                    .any(|address| address.link == link.index && net.contains(&address.net.addr()))
            };
            Ok(socket.links()?.into_iter().find(|link| !link.has_master() && has_address(link)))
        }
    }
}

/// The interface of the best default route in the main table, IPv4 before IPv6.
fn default_route_link(socket: &Socket) -> Result<Option<Link>, Error> {
    let routes = socket.routes(RouteFilter { table: Some(MAIN_TABLE), dev: None })?;
    let defaults = routes.iter().filter(|route| route.is_default());
    // The lowest metric wins, among equal ones the first.
    let best = defaults
        .filter_map(|route| Some((route.dst.addr().is_ipv6(), route.priority.unwrap_or(0), route.dev?)))
        .min_by_key(|(is_ipv6, metric, _)| (*is_ipv6, *metric));
    match best {
        Some((_, _, index)) => socket.link_by_index(index),
        None => Ok(None),
    }
}
