//! Looks up interfaces by name, index or kind.

use netlink_packet_core::DefaultNla;
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkExtentMask, LinkInfo, LinkMessage},
};

use super::model::{Link, LinkKind};
use crate::{
    error::Error,
    ifname,
    socket::{Context, Socket},
};

/// The attribute that looks up names longer than `IFLA_IFNAME` can hold; libc does not have it.
const IFLA_ALT_IFNAME: u16 = 53;

impl Socket {
    /// The interface with this name or alternative name.
    pub fn link_by_name(&self, name: &str) -> Result<Option<Link>, Error> {
        ifname::check_lookup(name)?;
        let attribute = if name.len() <= ifname::MAX_NAME {
            // The kernel compares this one with alternative names, too.
            LinkAttribute::IfName(name.to_owned())
        } else {
            let value = [name.as_bytes(), b"\0"].concat();
            LinkAttribute::Other(DefaultNla::new(IFLA_ALT_IFNAME, value))
        };
        let mut query = query();
        query.attributes.push(attribute);
        self.find(query, Context { op: "look up interface", object: &name })
    }

    /// The interface with this index.
    pub fn link_by_index(&self, index: u32) -> Result<Option<Link>, Error> {
        let mut query = query();
        query.header.index = index;
        self.find(query, Context { op: "look up interface with index", object: &index })
    }

    fn find(&self, query: LinkMessage, context: Context<'_>) -> Result<Option<Link>, Error> {
        match self.get(context, RouteNetlinkMessage::GetLink(query)) {
            Ok(RouteNetlinkMessage::NewLink(message)) => Ok(Some(Link::from(message))),
            Ok(_) => Err(context.unexpected("not an interface")),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All interfaces of the namespace.
    pub fn links(&self) -> Result<Vec<Link>, Error> {
        let context = Context { op: "list", object: &"interfaces" };
        let messages = self.list(context, RouteNetlinkMessage::GetLink(query()))?;
        Ok(messages.into_iter().filter_map(link_of).collect())
    }

    /// The ipvlan links of the namespace.
    pub fn ipvlan_links(&self) -> Result<Vec<Link>, Error> {
        let mut query = query();
        // Kernels from 4.6 on send links of this kind only.
        query.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::IpVlan)]));
        let context = Context { op: "list", object: &"ipvlan interfaces" };
        let messages = self.list(context, RouteNetlinkMessage::GetLink(query))?;
        let links = messages.into_iter().filter_map(link_of);
        Ok(links.filter(|link| matches!(link.kind, LinkKind::Ipvlan { .. })).collect())
    }
}

/// A query without statistics and virtual functions: a card with many functions fills more than one datagram with them.
fn query() -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    message
}

fn link_of(message: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    Some(Link::from(message))
}
