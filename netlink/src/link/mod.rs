//! Network interfaces: look up, list, change, delete. [`create`] makes them.

mod create;
mod mac;
mod mode;
mod parse;

use std::fmt;

use netlink_packet_core::DefaultNla;
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        AfSpecInet, AfSpecUnspec, InetDevConf, InfoKind, LinkAttribute, LinkExtentMask, LinkInfo, LinkMessage,
    },
};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};

pub use create::{IpvlanSpec, MacvlanSpec};
pub use mac::{Mac, MacError};
pub use mode::{IpvlanFlag, IpvlanMode, MacvlanMode, UnknownMode};
pub(crate) use parse::without_unread_attributes;

use crate::{Error, Socket, ifname, socket::About};

const IFLA_ALT_IFNAME: u16 = 53;

/// An interface as the kernel described it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its index, unique in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address, if it is six bytes long.
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// What kind of interface it is.
    pub kind: LinkKind,
    /// Index of the interface it sits on (`IFLA_LINK`), in the namespace where that one is: see
    /// `parent_is_elsewhere`.
    pub parent: Option<u32>,
    /// Whether `parent` is an index of another namespace than the link's.
    pub parent_is_elsewhere: bool,
    /// Index of the bridge, bond or VRF it is a port of (`IFLA_MASTER`).
    pub controller: Option<u32>,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it has a carrier.
    pub lower_up: bool,
    /// Whether it can pass traffic (RFC 2863).
    pub oper_state: OperState,
    /// Further names it answers to.
    pub alt_names: Vec<String>,
}

/// The kinds of interface that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkKind {
    /// macvlan.
    Macvlan {
        /// Its mode.
        mode: MacvlanMode,
        /// Length asked for its broadcast queue, in packets (kernel 5.11 and later).
        bc_queue_len: Option<u32>,
        /// Length in use: the longest asked for on the same master.
        bc_queue_len_used: Option<u32>,
    },
    /// ipvlan.
    Ipvlan {
        /// Its mode, one for all ipvlan links of a master.
        mode: IpvlanMode,
        /// How links of one master reach each other.
        flag: IpvlanFlag,
    },
    /// Another virtual interface, by the kernel's word: "veth", "bridge".
    Other(String),
    /// A device without a kind, as hardware and loopback are.
    Plain,
}

/// The operational state of an interface (RFC 2863).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperState {
    /// The driver does not say; loopback is so while in use.
    Unknown,
    /// A part is missing.
    NotPresent,
    /// Down.
    Down,
    /// The interface below is down.
    LowerLayerDown,
    /// In a test mode.
    Testing,
    /// Waiting for an event outside.
    Dormant,
    /// Passes traffic.
    Up,
}

impl Socket {
    /// The interface of this name or alternative name, by one request.
    pub fn link_by_name(&self, name: &str) -> Result<Option<Link>, Error> {
        ifname::check_lookup(name)?;
        let attribute = if name.len() <= ifname::MAX_NAME {
            LinkAttribute::IfName(name.to_owned())
        } else {
            let value = [name.as_bytes(), b"\0"].concat();
            LinkAttribute::Other(DefaultNla::new(IFLA_ALT_IFNAME, value))
        };
        let mut query = query();
        query.attributes.push(attribute);
        self.find(query, About { op: "look up interface", object: &name })
    }

    /// The interface of this index, by one request.
    pub fn link_by_index(&self, index: u32) -> Result<Option<Link>, Error> {
        let mut query = query();
        query.header.index = index;
        self.find(query, About { op: "look up interface with index", object: &index })
    }

    fn find(&self, query: LinkMessage, about: About<'_>) -> Result<Option<Link>, Error> {
        match self.get(about, RouteNetlinkMessage::GetLink(query)) {
            Ok(RouteNetlinkMessage::NewLink(message)) => Ok(Some(Link::from(message))),
            Ok(_) => Err(about.unexpected("not an interface")),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All interfaces of the namespace.
    pub fn links(&self) -> Result<Vec<Link>, Error> {
        let about = About { op: "list", object: &"interfaces" };
        let messages = self.dump(about, RouteNetlinkMessage::GetLink(query()))?;
        Ok(messages.into_iter().filter_map(link_of).collect())
    }

    /// The ipvlan links of the namespace. The kernel describes no others, where it can (4.6 and later).
    pub fn ipvlan_links(&self) -> Result<Vec<Link>, Error> {
        let mut query = query();
        query.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::IpVlan)]));
        let about = About { op: "list", object: &"ipvlan interfaces" };
        let messages = self.dump(about, RouteNetlinkMessage::GetLink(query))?;
        let links = messages.into_iter().filter_map(link_of);
        Ok(links.filter(|link| matches!(link.kind, LinkKind::Ipvlan { .. })).collect())
    }

    /// Sets the interface up.
    pub fn set_up(&self, link: &Link) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(link.index).up();
        self.set_link("set up", link, message).map_err(|error| {
            error.hint(|errno| match errno {
                libc::EADDRINUSE => Some("another interface on the same master has its MAC address"),
                _ => None,
            })
        })
    }

    /// Sets the interface up and then its `arp_notify`, so that the kernel announces its IPv4 addresses whenever it comes up later,
    /// not now. An interface without IPv4 is just set up.
    pub(crate) fn set_up_to_notify_later(&self, link: &Link) -> Result<(), Error> {
        // The kernel changes flags before what is of an address family.
        let message = LinkUnspec::new_with_index(link.index).up().append_extra_attribute(arp_notify());
        match self.set_link("set up", link, message) {
            Ok(()) => Ok(()),
            Err(_) => self.set_up(link),
        }
    }

    /// Has the kernel announce the interface's IPv4 addresses when it comes up (`arp_notify`).
    pub(crate) fn notify_arp(&self, link: &Link) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(link.index).append_extra_attribute(arp_notify());
        self.set_link("set arp_notify of", link, message)
    }

    /// Sets the interface down.
    pub fn set_down(&self, link: &Link) -> Result<(), Error> {
        self.set_link("set down", link, LinkUnspec::new_with_index(link.index).down())
    }

    /// Sets the MTU, in bytes.
    pub fn set_mtu(&self, link: &Link, mtu: u32) -> Result<(), Error> {
        self.set_link("set the MTU of", link, LinkUnspec::new_with_index(link.index).mtu(mtu))
    }

    /// Renames the interface. Kernels before 6.2 want it down for this.
    pub fn rename(&self, link: &Link, name: &str) -> Result<(), Error> {
        ifname::check(name)?;
        self.set_link("rename", link, LinkUnspec::new_with_index(link.index).name(name))
    }

    fn set_link(
        &self,
        op: &'static str,
        link: &Link,
        change: LinkMessageBuilder<LinkUnspec>,
    ) -> Result<(), Error> {
        self.change(About { op, object: link }, 0, RouteNetlinkMessage::SetLink(change.build()))
    }

    /// Deletes the interface. That it is gone already is success.
    pub fn delete_link(&self, link: &Link) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(link.index).build();
        match self.change(About { op: "delete", object: link }, 0, RouteNetlinkMessage::DelLink(message)) {
            Err(Error::NotFound(_)) => Ok(()),
            outcome => outcome,
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// `arp_notify` = 1, as `/proc/sys/net/ipv4/conf/<if>/arp_notify`, which only threads in the namespace can write.
fn arp_notify() -> LinkAttribute {
    let mut conf = InetDevConf::default();
    conf.arp_notify = 1;
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![AfSpecInet::DevConfRequest(conf)])])
}

/// A question for interfaces, without their statistics and virtual functions, which can be very long.
fn query() -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    message
}

fn link_of(message: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    Some(Link::from(message))
}

impl Link {
    /// Whether it is a macvlan or ipvlan link, which sits on a master itself.
    #[must_use]
    pub fn is_slave(&self) -> bool {
        matches!(self.kind, LinkKind::Macvlan { .. } | LinkKind::Ipvlan { .. })
    }
}
