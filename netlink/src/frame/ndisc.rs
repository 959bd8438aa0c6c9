//! Neighbour discovery for IPv6 (RFC 4861): the unsolicited neighbour advertisement.

use std::net::Ipv6Addr;

use super::ethertype;
use crate::mac::Mac;

/// All IPv6 nodes (`ff02::1`), and the Ethernet multicast address for it (RFC 2464 section 7).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);

/// The next header number of ICMPv6.
const ICMPV6: u8 = 58;
/// The ICMPv6 type.
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Length of the ICMPv6 message in bytes: 24, and 8 for its option.
const LENGTH: u8 = 32;

/// An unsolicited neighbour advertisement (RFC 4861 section 7.2.6) with the override flag: a frame of 86 bytes.
#[must_use]
pub fn unsolicited_advertisement(mac: Mac, ip: Ipv6Addr) -> Vec<u8> {
    let message = |checksum: u16| {
        [
            &[NEIGHBOUR_ADVERTISEMENT, 0][..],
            &checksum.to_be_bytes(),
            // The override flag: neighbours replace the MAC address that they have for the target.
            &[0x20, 0, 0, 0],
            &ip.octets(),
            // Option 2, the target's link-layer address, in one unit of 8 bytes.
            &[2, 1],
            &mac.0,
        ]
        .concat()
    };
    // RFC 8200 section 8.1: source, destination, length and next header.
    let pseudo_header = [&ip.octets()[..], &ALL_NODES.octets(), &[0, 0, 0, LENGTH, 0, 0, 0, ICMPV6]].concat();
    let checksum = internet_checksum(&[pseudo_header, message(0)].concat());
    [
        &ALL_NODES_MAC.0[..],
        &mac.0,
        &ethertype::IPV6,
        // Version 6, payload length, next header, hop limit. Receivers drop the packet if the hop limit is not 255 (RFC 4861
        // section 7.1.2).
        &[0x60, 0, 0, 0, 0, LENGTH, ICMPV6, 255],
        &ip.octets(),
        &ALL_NODES.octets(),
        &message(checksum),
    ]
    .concat()
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks_exact(2).filter_map(|pair| <[u8; 2]>::try_from(pair).ok()).map(u16::from_be_bytes);
    let sum = words.fold(0u16, |sum, word| {
        let (sum, carry) = sum.overflowing_add(word);
        // Cannot overflow: after a carry the sum is at most 0xfffe.
        sum + u16::from(carry)
    });
    !sum
}
