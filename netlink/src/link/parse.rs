//! From the kernel's description of an interface to a [`Link`].

use netlink_packet_core::{NetlinkBuffer, NlasIterator};
use netlink_packet_route::link::{
    InfoData, InfoIpVlan, InfoKind, InfoMacVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, Prop, State,
};

use super::{IpvlanFlag, IpvlanMode, Link, LinkKind, Mac, MacvlanMode, OperState};

/// The attributes that [`Link`] is made of.
const READ: [u16; 9] = [
    libc::IFLA_ADDRESS,
    libc::IFLA_IFNAME,
    libc::IFLA_MTU,
    libc::IFLA_LINK,
    libc::IFLA_MASTER,
    libc::IFLA_OPERSTATE,
    libc::IFLA_LINKINFO,
    libc::IFLA_LINK_NETNSID,
    libc::IFLA_PROP_LIST,
];

/// Length of `struct nlmsghdr` and `struct ifinfomsg`.
const HEADERS: usize = 16 + 16;

/// A message about a link, short: most of what the kernel tells, such as statistics and settings of address families, is of no use
/// here and takes longer to parse than all the rest. What is no sound list of attributes stays as it is.
pub(crate) fn without_unread_attributes(message: &NetlinkBuffer<&[u8]>) -> Vec<u8> {
    let length = usize::try_from(message.length()).unwrap_or_default();
    let whole = message.buffer.get(..length).unwrap_or_default();
    slim(whole).unwrap_or_else(|| whole.to_vec())
}

fn slim(message: &[u8]) -> Option<Vec<u8>> {
    let (head, attributes) = message.split_at_checked(HEADERS)?;
    let mut short = Vec::with_capacity(message.len());
    short.extend_from_slice(head);
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.ok()?;
        if READ.contains(&attribute.kind()) {
            let length = usize::from(attribute.length());
            short.extend_from_slice(attribute.into_inner().get(..length)?);
            short.resize(short.len().next_multiple_of(4), 0);
        }
    }
    let length = u32::try_from(short.len()).ok()?;
    NetlinkBuffer::new(short.as_mut_slice()).set_length(length);
    Some(short)
}

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

#[cfg(test)]
mod tests {
    use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
    use netlink_packet_route::{
        RouteNetlinkMessage,
        link::{AfSpecInet, AfSpecUnspec, InetDevConf},
    };

    use super::*;

    fn bytes(message: LinkMessage) -> Vec<u8> {
        let payload = NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message));
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), payload);
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }

    fn link(bytes: &[u8]) -> Link {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes).unwrap();
        let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) = message.payload else {
            panic!("not a link")
        };
        message.into()
    }

    #[test]
    fn a_short_message_says_of_a_link_what_the_whole_one_says() {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.header.flags = LinkFlags::Up | LinkFlags::LowerUp;
        message.attributes = vec![
            LinkAttribute::TxQueueLen(1000),
            LinkAttribute::IfName("net1".into()),
            LinkAttribute::Mtu(1400),
            LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![AfSpecInet::DevConf(
                InetDevConf::default(),
            )])]),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
            LinkAttribute::Link(3),
            LinkAttribute::LinkNetNsId(0),
            LinkAttribute::Controller(9),
            LinkAttribute::OperState(State::Up),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::MacVlan),
                LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(MacvlanMode::Vepa.to_kernel())])),
            ]),
            LinkAttribute::PropList(vec![Prop::AltIfName("enp1s0".into())]),
        ];
        let whole = bytes(message);
        // What follows in the same datagram is another message.
        let datagram = [whole.clone(), whole.clone()].concat();
        let short = without_unread_attributes(&NetlinkBuffer::new(&datagram));
        assert!(short.len() + 100 < whole.len(), "{} of {}", short.len(), whole.len());
        assert_eq!(link(&short), link(&whole));
        assert_eq!((link(&short).name.as_str(), link(&short).alt_names), ("net1", vec!["enp1s0".to_owned()]));
    }

    #[test]
    fn what_is_no_list_of_attributes_stays_as_it_is() {
        let mut cut = bytes(LinkMessage::default());
        cut.extend([9, 0, 3]);
        let length = u32::try_from(cut.len()).unwrap();
        NetlinkBuffer::new(cut.as_mut_slice()).set_length(length);
        assert_eq!(without_unread_attributes(&NetlinkBuffer::new(&cut)), cut);
    }
}
