//! Messages from the kernel, and frames for the wire.

use std::net::IpAddr;

use netlink::Mac;
use netlink::test_util::{Arp, BROADCAST, Reply, read_reply, unsolicited_advertisement};

/// One message from the kernel: prefix lengths fit their family, and an extended acknowledgement is text.
pub fn netlink_reply(bytes: &[u8]) {
    match read_reply(bytes) {
        Reply::Link(link) => {
            assert_eq!(format!("{link}"), link.name);
            assert!(link.parent != Some(0), "index 0 is no interface");
        }
        Reply::Address(Some(address)) => {
            let longest = if address.net.addr().is_ipv4() { 32 } else { 128 };
            assert!(address.net.prefix_len() <= longest, "{address:?}");
        }
        Reply::Routes(routes) => {
            assert!(routes.len() <= bytes.len() / 8 + 1, "a next hop has at least eight bytes");
            for route in &routes {
                let longest = if route.dst.addr().is_ipv4() { 32 } else { 128 };
                assert!(route.dst.prefix_len() <= longest && route.table.is_some(), "{route:?}");
                assert!(!route.to_string().is_empty());
            }
        }
        Reply::Refused(errno, ext_ack) => {
            assert!(errno >= 0, "error number {errno}");
            assert!(ext_ack.is_none_or(|text| !text.is_empty()
                && !text.contains('\0')
                && text.len() <= 3 * bytes.len()));
        }
        _ => {}
    }
}

/// The bytes of a MAC address and of an IPv6 or IPv4 address: the announcing frame contains both, and its checksum is correct.
pub fn announcement(bytes: &[u8]) {
    let Some((mac, rest)) = bytes.split_first_chunk::<6>() else { return };
    let ip: IpAddr = match (rest.first_chunk::<16>(), rest.first_chunk::<4>()) {
        (Some(ip), _) => (*ip).into(),
        (None, Some(ip)) => (*ip).into(),
        (None, None) => return,
    };
    match ip {
        IpAddr::V4(ip) => {
            let frame = Arp::announcement(Mac(*mac), ip).to_frame(BROADCAST);
            assert_eq!((&frame[6..12], &frame[22..28]), (&mac[..], &mac[..]), "the sender");
            assert_eq!((&frame[28..32], &frame[38..42]), (&ip.octets()[..], &ip.octets()[..]), "the address");
        }
        IpAddr::V6(ip) => {
            let frame = unsolicited_advertisement(Mac(*mac), ip);
            assert_eq!(frame.len(), 86);
            assert_eq!((&frame[22..38], &frame[62..78]), (&ip.octets()[..], &ip.octets()[..]), "the address");
            // RFC 4443 section 2.3: the sum over pseudo-header and message, including the checksum, is all ones. The frame has the addresses
            // of the pseudo-header; 32 is its length and 58 its next header.
            let sum = ones_complement(&frame[22..]) + 32 + 58;
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "the checksum");
        }
    }
}

fn ones_complement(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum()
}
