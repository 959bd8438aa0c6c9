//! Converts the kernel's link messages to [`Link`].

use netlink_packet_route::link::{
    InfoData, InfoIpVlan, InfoKind, InfoMacVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};

use super::{
    mode::{IpvlanFlag, IpvlanMode, MacvlanMode},
    model::{Link, LinkKind},
};
use crate::mac::Mac;

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let flags = message.header.flags;
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            mac: None,
            mtu: 0,
            kind: LinkKind::Plain,
            parent: None,
            parent_is_elsewhere: false,
            up: flags.contains(LinkFlags::Up),
            lower_up: flags.contains(LinkFlags::LowerUp),
        };
        for attribute in message.attributes {
            link.read(attribute);
        }
        link
    }
}

impl Link {
    /// Reads one attribute. `exchange::trim` removes all others: a new one here has to be added there.
    fn read(&mut self, attribute: LinkAttribute) {
        match attribute {
            LinkAttribute::IfName(name) => self.name = name,
            LinkAttribute::Address(bytes) => self.mac = bytes.try_into().ok().map(Mac),
            LinkAttribute::Mtu(mtu) => self.mtu = mtu,
            // 0 means that there is none: the kernel numbers interfaces from 1.
            LinkAttribute::Link(index) => self.parent = (index != 0).then_some(index),
            // Only present if the parent is in another namespace.
            LinkAttribute::LinkNetNsId(_) => self.parent_is_elsewhere = true,
            LinkAttribute::LinkInfo(info) => self.kind = kind(&info),
            _ => {}
        }
    }
}

fn kind(info: &[LinkInfo]) -> LinkKind {
    let mut name = None;
    let mut data = None;
    for part in info {
        match part {
            LinkInfo::Kind(kind) => name = Some(kind),
            LinkInfo::Data(details) => data = Some(details),
            _ => {}
        }
    }
    match (name, data) {
        (Some(InfoKind::MacVlan), Some(InfoData::MacVlan(details))) => macvlan(details),
        (Some(InfoKind::IpVlan), Some(InfoData::IpVlan(details))) => ipvlan(details),
        (Some(other), _) => LinkKind::Other(other.to_string()),
        (None, _) => LinkKind::Plain,
    }
}

fn macvlan(details: &[InfoMacVlan]) -> LinkKind {
    let mut found = None;
    let mut bc_queue_len = None;
    for detail in details {
        match detail {
            InfoMacVlan::Mode(mode) => found = MacvlanMode::from_kernel(*mode),
            InfoMacVlan::BcQueueLen(length) => bc_queue_len = Some(*length),
            _ => {}
        }
    }
    match found {
        Some(mode) => LinkKind::Macvlan { mode, bc_queue_len },
        // A mode that a newer kernel added.
        None => LinkKind::Other("macvlan".to_owned()),
    }
}

fn ipvlan(details: &[InfoIpVlan]) -> LinkKind {
    let mut found = None;
    let mut flag = IpvlanFlag::Bridge;
    for detail in details {
        match detail {
            InfoIpVlan::Mode(mode) => found = IpvlanMode::from_kernel(*mode),
            InfoIpVlan::Flags(flags) => flag = IpvlanFlag::from_kernel(*flags),
            _ => {}
        }
    }
    match found {
        Some(mode) => LinkKind::Ipvlan { mode, flag },
        // A mode that a newer kernel added.
        None => LinkKind::Other("ipvlan".to_owned()),
    }
}
