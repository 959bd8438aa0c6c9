//! Links of other kinds than the crate itself creates, and changes that only tests make.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoData, InfoVeth, LinkAttribute, LinkMessage, Prop},
};
use rtnetlink::{LinkBridge, LinkUnspec, LinkVeth};

use crate::{
    error::Error,
    link::Link,
    socket::{Context, Socket, raw_fd},
};

impl Socket {
    /// Sets the interface down.
    pub fn set_down(&self, link: &Link) -> Result<(), Error> {
        self.set_link("set down", link, LinkUnspec::new_with_index(link.index).down())
    }
}

/// Creates a veth pair, both ends down: `name` in the namespace of `socket` and `peer_name` in that of `peer`.
pub fn create_veth(
    socket: &Socket,
    name: &str,
    peer: &Socket,
    peer_name: &str,
) -> Result<(Link, Link), Error> {
    let context = Context { op: "create veth", object: &name };
    let mut other_end = LinkUnspec::new_with_name(peer_name).build();
    other_end.attributes.push(LinkAttribute::NetNsFd(raw_fd(peer.netns())));
    let builder = LinkVeth::new(name, peer_name).set_info_data(InfoData::Veth(InfoVeth::Peer(other_end)));
    create(socket, context, builder.build())?;
    let found = (socket.link_by_name(name)?, peer.link_by_name(peer_name)?);
    let (Some(one), Some(two)) = found else { return Err(context.unexpected("an end is missing")) };
    Ok((one, two))
}

/// Creates a bridge, down.
pub fn create_bridge(socket: &Socket, name: &str) -> Result<Link, Error> {
    let context = Context { op: "create bridge", object: &name };
    create(socket, context, LinkBridge::new(name).build())?;
    socket.link_by_name(name)?.ok_or_else(|| context.unexpected("it is missing"))
}

/// Adds an alternative name to `link`.
pub fn add_alt_name(socket: &Socket, link: &Link, name: &str) -> Result<(), Error> {
    let names = LinkAttribute::PropList(vec![Prop::AltIfName(name.to_owned())]);
    let message = LinkUnspec::new_with_index(link.index).append_extra_attribute(names).build();
    let context = Context { op: "add an alternative name to", object: link };
    socket.change(context, NLM_F_CREATE | NLM_F_EXCL, RouteNetlinkMessage::NewLinkProp(message))
}

/// Adds `port` to `bridge`.
pub fn enslave(socket: &Socket, port: &Link, bridge: &Link) -> Result<(), Error> {
    let message = LinkUnspec::new_with_index(port.index).controller(bridge.index).build();
    socket.change(Context { op: "add port", object: port }, 0, RouteNetlinkMessage::SetLink(message))
}

fn create(socket: &Socket, context: Context<'_>, message: LinkMessage) -> Result<(), Error> {
    socket.change(context, NLM_F_CREATE | NLM_F_EXCL, RouteNetlinkMessage::NewLink(message))
}
