//! From the kernel's description of an interface to a [`Link`].

use netlink_packet_route::link::{
    InfoData, InfoIpVlan, InfoKind, InfoMacVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, Prop, State,
};

use super::{IpvlanFlag, IpvlanMode, Link, LinkKind, Mac, MacvlanMode, OperState};

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
            controller: None,
            up: flags.contains(LinkFlags::Up),
            lower_up: flags.contains(LinkFlags::LowerUp),
            oper_state: OperState::Unknown,
            alt_names: Vec::new(),
        };
        for attribute in message.attributes {
            link.take(attribute);
        }
        link
    }
}

impl Link {
    fn take(&mut self, attribute: LinkAttribute) {
        match attribute {
            LinkAttribute::IfName(name) => self.name = name,
            LinkAttribute::Address(bytes) => self.mac = bytes.try_into().ok().map(Mac),
            LinkAttribute::Mtu(mtu) => self.mtu = mtu,
            // 0 is "none": an interface index is never 0.
            LinkAttribute::Link(index) => self.parent = (index != 0).then_some(index),
            LinkAttribute::LinkNetNsId(_) => self.parent_is_elsewhere = true,
            LinkAttribute::Controller(index) => self.controller = Some(index),
            LinkAttribute::OperState(state) => self.oper_state = oper_state(state),
            LinkAttribute::LinkInfo(info) => self.kind = kind(&info),
            LinkAttribute::PropList(properties) => {
                self.alt_names.extend(properties.into_iter().filter_map(alt_name));
            }
            _ => {}
        }
    }
}

fn alt_name(property: Prop) -> Option<String> {
    match property {
        Prop::AltIfName(name) => Some(name),
        _ => None,
    }
}

fn oper_state(state: State) -> OperState {
    match state {
        State::NotPresent => OperState::NotPresent,
        State::Down => OperState::Down,
        State::LowerLayerDown => OperState::LowerLayerDown,
        State::Testing => OperState::Testing,
        State::Dormant => OperState::Dormant,
        State::Up => OperState::Up,
        _ => OperState::Unknown,
    }
}

fn kind(info: &[LinkInfo]) -> LinkKind {
    let mut word = None;
    let mut data = None;
    for part in info {
        match part {
            LinkInfo::Kind(kind) => word = Some(kind),
            LinkInfo::Data(details) => data = Some(details),
            _ => {}
        }
    }
    match (word, data) {
        (Some(InfoKind::MacVlan), Some(InfoData::MacVlan(details))) => macvlan(details),
        (Some(InfoKind::IpVlan), Some(InfoData::IpVlan(details))) => ipvlan(details),
        (Some(other), _) => LinkKind::Other(other.to_string()),
        (None, _) => LinkKind::Plain,
    }
}

fn macvlan(details: &[InfoMacVlan]) -> LinkKind {
    let mut found = None;
    let (mut bc_queue_len, mut bc_queue_len_used) = (None, None);
    for detail in details {
        match detail {
            InfoMacVlan::Mode(mode) => found = MacvlanMode::of_kernel(*mode),
            InfoMacVlan::BcQueueLen(length) => bc_queue_len = Some(*length),
            InfoMacVlan::BcQueueLenUsed(length) => bc_queue_len_used = Some(*length),
            _ => {}
        }
    }
    match found {
        Some(mode) => LinkKind::Macvlan { mode, bc_queue_len, bc_queue_len_used },
        None => LinkKind::Other("macvlan".to_owned()),
    }
}

fn ipvlan(details: &[InfoIpVlan]) -> LinkKind {
    let mut found = None;
    let mut flag = IpvlanFlag::Bridge;
    for detail in details {
        match detail {
            InfoIpVlan::Mode(mode) => found = IpvlanMode::of_kernel(*mode),
            InfoIpVlan::Flags(flags) => flag = IpvlanFlag::of_kernel(*flags),
            _ => {}
        }
    }
    match found {
        Some(mode) => LinkKind::Ipvlan { mode, flag },
        None => LinkKind::Other("ipvlan".to_owned()),
    }
}
