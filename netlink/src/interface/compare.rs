//! Compares an interface with what it shall have.

use std::fmt;

use ipnet::IpNet;

use crate::{
    error::Error,
    link::Link,
    route::{MAIN_TABLE, Route, RouteFilter},
    socket::Socket,
};

/// Something that an interface shall have and does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// It is administratively down.
    Up,
    /// An address.
    Address(IpNet),
    /// A route through the interface; [`Route::dev`] is none.
    Route(Route),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Up => f.write_str("it is down"),
            Missing::Address(net) => write!(f, "it does not have address {net}"),
            Missing::Route(route) => write!(f, "route {route} is not in the routing table"),
        }
    }
}

/// The first thing that `link` does not have: up, all of `addresses`, all of `routes`. Routes match by destination, gateway and
/// interface; by table only if the expected one has another table than the main one. A later plugin of a chain (`sbr`, `vrf`) may have moved
/// those of the main table (CNI spec 1.1.0, section 2, "CHECK"). The link may have more addresses and routes.
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
    if let Some(net) = addresses.iter().find(|net| !present.iter().any(|address| address.net == **net)) {
        return Ok(Some(Missing::Address(*net)));
    }
    if routes.is_empty() {
        return Ok(None);
    }
    let present = pod.routes(RouteFilter { dev: Some(link.index), table: None })?;
    Ok(first_missing(routes, &present))
}

fn first_missing(expected: &[Route], present: &[Route]) -> Option<Missing> {
    let route = expected.iter().find(|route| !present.iter().any(|other| matches(route, other)))?;
    Some(Missing::Route(Route { dev: None, ..route.clone() }))
}

fn matches(expected: &Route, present: &Route) -> bool {
    let is_own_table = |table: &u32| *table != MAIN_TABLE;
    expected.dst.trunc() == present.dst.trunc()
        && expected.table.filter(is_own_table).is_none_or(|table| present.table == Some(table))
        && (expected.gw.is_none() || expected.gw == present.gw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(dst: &str, gw: Option<&str>, table: Option<u32>) -> Route {
        Route { gw: gw.map(|g| g.parse().unwrap()), table, ..Route::new(dst.parse().unwrap()) }
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
        let moved = route("10.0.0.0/8", Some("10.1.0.1"), Some(100));
        assert!(matches(&route("10.0.0.0/8", Some("10.1.0.1"), None), &moved));
        assert!(matches(&present, &moved));
        assert!(!matches(&route("10.0.0.0/8", Some("10.1.0.1"), Some(101)), &moved));
        assert!(!matches(&route("10.0.0.0/9", Some("10.1.0.1"), None), &present));
    }
}
