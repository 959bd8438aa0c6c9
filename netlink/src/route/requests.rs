//! Adds, deletes and lists routes.

use std::fmt;

use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage, route::RouteScope as KernelScope};

use super::{
    message::{message, query, routes_of},
    model::{Route, RouteFilter},
};
use crate::{
    error::Error,
    link::Link,
    socket::{Context, Socket},
};

impl Socket {
    /// Adds a route. Fails with [`Error::Exists`] only if the same route exists: another next hop to the same destination makes an
    /// equal-cost route.
    pub fn add_route(&self, route: &Route) -> Result<(), Error> {
        self.add(route, &route)
    }

    /// As [`Socket::add_route`], for a route through `link`, whose name is in the error.
    pub(crate) fn add_route_through(&self, link: &Link, route: &Route) -> Result<(), Error> {
        let object = format!("{route} dev {link}");
        self.add(&Route { dev: Some(link.index), ..route.clone() }, &object)
    }

    fn add(&self, route: &Route, object: &dyn fmt::Display) -> Result<(), Error> {
        let context = Context { op: "add route", object };
        // No NLM_F_EXCL: with it the kernel would refuse a second next hop.
        self.change(context, NLM_F_CREATE, RouteNetlinkMessage::NewRoute(message(route))).map_err(|error| {
            error.hint(|errno| match errno {
                libc::ENETUNREACH | libc::EHOSTUNREACH => {
                    Some("the next hop is not in the subnet of any address of the interface")
                }
                libc::ENETDOWN => Some("the interface is down"),
                _ => None,
            })
        })
    }

    /// Deletes a route. Succeeds if it does not exist.
    pub fn delete_route(&self, route: &Route) -> Result<(), Error> {
        let mut message = message(route);
        // NoWhere matches any scope. The default scope of a new route would miss routes with another one.
        message.header.scope = route.scope.map_or(KernelScope::NoWhere, |scope| scope.0.into());
        let context = Context { op: "delete route", object: route };
        match self.change(context, 0, RouteNetlinkMessage::DelRoute(message)) {
            Err(Error::NotFound(_)) => Ok(()),
            outcome => outcome,
        }
    }

    /// The IPv4 and IPv6 unicast routes that match.
    pub fn routes(&self, filter: RouteFilter) -> Result<Vec<Route>, Error> {
        let mut routes = self.routes_of_family(AddressFamily::Inet, filter)?;
        routes.extend(self.routes_of_family(AddressFamily::Inet6, filter)?);
        Ok(routes)
    }

    fn routes_of_family(&self, family: AddressFamily, filter: RouteFilter) -> Result<Vec<Route>, Error> {
        let context = Context { op: "list", object: &"routes" };
        match self.list(context, RouteNetlinkMessage::GetRoute(query(family, filter))) {
            Ok(messages) => {
                Ok(messages.into_iter().flat_map(routes_of).filter(|route| filter.matches(route)).collect())
            }
            // If the kernel filters, an unknown table or interface is an error.
            Err(Error::NotFound(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}
