//! Shortens link messages before they are parsed.
//!
//! The kernel puts statistics and the settings of every address family into each link message. Parsing them takes longer than all
//! the rest, and nothing here uses them.

use netlink_packet_core::{NetlinkBuffer, NlasIterator};

/// The attributes that [`crate::link::Link`] is built from: `link::parse` reads these and no others.
const LINK_ATTRIBUTES: [u16; 6] = [
    libc::IFLA_ADDRESS,
    libc::IFLA_IFNAME,
    libc::IFLA_MTU,
    libc::IFLA_LINK,
    libc::IFLA_LINKINFO,
    libc::IFLA_LINK_NETNSID,
];

/// Length of `struct nlmsghdr` and `struct ifinfomsg` in bytes.
const HEADERS: usize = 16 + 16;

/// Returns the link message with [`LINK_ATTRIBUTES`] alone; unchanged if its attributes are malformed.
pub(super) fn without_unread_attributes(message: &NetlinkBuffer<&[u8]>) -> Vec<u8> {
    let length = usize::try_from(message.length()).unwrap_or_default();
    let whole = message.buffer.get(..length).unwrap_or_default();
    trimmed(whole).unwrap_or_else(|| whole.to_vec())
}

fn trimmed(message: &[u8]) -> Option<Vec<u8>> {
    let (head, attributes) = message.split_at_checked(HEADERS)?;
    let mut short = Vec::with_capacity(message.len());
    short.extend_from_slice(head);
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.ok()?;
        if LINK_ATTRIBUTES.contains(&attribute.kind()) {
            let length = usize::from(attribute.length());
            short.extend_from_slice(attribute.into_inner().get(..length)?);
            // Attributes start at multiples of 4 bytes (NLA_ALIGN).
            short.resize(short.len().next_multiple_of(4), 0);
        }
    }
    let length = u32::try_from(short.len()).ok()?;
    NetlinkBuffer::new(short.as_mut_slice()).set_length(length);
    Some(short)
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
    use netlink_packet_route::{
        RouteNetlinkMessage,
        link::{
            AfSpecInet, AfSpecUnspec, InetDevConf, InfoData, InfoKind, InfoMacVlan, LinkAttribute, LinkFlags,
            LinkInfo, LinkMessage, MacVlanMode,
        },
    };

    use super::*;
    use crate::link::Link;

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
    fn a_trimmed_message_gives_the_same_link() {
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
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::MacVlan),
                LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Vepa)])),
            ]),
        ];
        let whole = bytes(message);
        // A second message in the same datagram must not be read as attributes.
        let datagram = [whole.clone(), whole.clone()].concat();
        let short = without_unread_attributes(&NetlinkBuffer::new(&datagram));
        assert!(short.len() + 100 < whole.len(), "{} of {}", short.len(), whole.len());
        assert_eq!(link(&short), link(&whole));
        assert_eq!((link(&short).name.as_str(), link(&short).mtu), ("net1", 1400));
    }

    #[test]
    fn a_message_with_malformed_attributes_stays_unchanged() {
        let mut cut = bytes(LinkMessage::default());
        cut.extend([9, 0, 3]);
        let length = u32::try_from(cut.len()).unwrap();
        NetlinkBuffer::new(cut.as_mut_slice()).set_length(length);
        assert_eq!(without_unread_attributes(&NetlinkBuffer::new(&cut)), cut);
    }
}
