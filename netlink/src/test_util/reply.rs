//! Parses single messages, for fuzzing.

use netlink_packet_core::NetlinkMessage;
use netlink_packet_route::RouteNetlinkMessage;

use crate::{
    address::{Address, address_of},
    exchange::response::{Failure, Part},
    link::Link,
    route::{Route, message::routes_of},
};

/// What a message from the kernel holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// An interface.
    Link(Link),
    /// An address; none if the message lacks it or if its prefix length is invalid.
    Address(Option<Address>),
    /// Unicast routes, one for each next hop; empty for other types of route.
    Routes(Vec<Route>),
    /// Another object.
    Other,
    /// The end of a response.
    End,
    /// An error: its number, and the kernel's explanation.
    Refused(i32, Option<String>),
    /// Not a message, or one that no response contains.
    Unreadable,
}

/// Parses one message as a socket does. Any bytes are allowed.
#[must_use]
pub fn read_reply(bytes: &[u8]) -> Reply {
    let Ok(message) = NetlinkMessage::deserialize(bytes) else { return Reply::Unreadable };
    match Part::from(message) {
        Part::Object(object) => match *object {
            RouteNetlinkMessage::NewLink(link) => Reply::Link(link.into()),
            address @ RouteNetlinkMessage::NewAddress(_) => Reply::Address(address_of(address)),
            route @ RouteNetlinkMessage::NewRoute(_) => Reply::Routes(routes_of(route)),
            _ => Reply::Other,
        },
        Part::End(Ok(())) => Reply::End,
        Part::End(Err(Failure::Refused { errno, ext_ack })) => Reply::Refused(errno, ext_ack),
        Part::End(Err(_)) => Reply::Unreadable,
    }
}
