//! ARP packets for IPv4 over Ethernet (RFC 826): encoding and parsing.

use std::net::Ipv4Addr;

use super::ethertype;
use crate::mac::Mac;

/// Length of a frame with an ARP packet, in bytes, without padding.
pub const FRAME_LENGTH: usize = 42;

/// The Ethernet broadcast address.
pub const BROADCAST: Mac = Mac([0xff; 6]);

/// The operation of an ARP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Asks who has the target address.
    Request,
    /// States that the sender has the sender address.
    Reply,
}

/// An ARP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// The operation.
    pub operation: Operation,
    /// The sender's MAC address.
    pub sender_mac: Mac,
    /// The sender's IP address; 0.0.0.0 in a probe.
    pub sender_ip: Ipv4Addr,
    /// The receiver's MAC address; zeros in a request.
    pub target_mac: Mac,
    /// The IP address that is asked for, or the receiver's.
    pub target_ip: Ipv4Addr,
}

impl Arp {
    /// A probe: asks whether any host has `ip`, without stating that the sender has it (RFC 5227 section 2.1.1).
    #[must_use]
    pub fn probe(mac: Mac, ip: Ipv4Addr) -> Self {
        Self {
            operation: Operation::Request,
            sender_mac: mac,
            sender_ip: Ipv4Addr::UNSPECIFIED,
            target_mac: Mac([0; 6]),
            target_ip: ip,
        }
    }

    /// An announcement: a request for the sender's own address (RFC 5227 section 2.3).
    #[must_use]
    pub fn announcement(mac: Mac, ip: Ipv4Addr) -> Self {
        Self { sender_ip: ip, ..Self::probe(mac, ip) }
    }

    /// The frame with the packet to `destination`.
    #[must_use]
    pub fn to_frame(self, destination: Mac) -> [u8; FRAME_LENGTH] {
        let operation = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        let parts: [&[u8]; 8] = [
            &destination.0,
            &self.sender_mac.0,
            &ethertype::ARP,
            // Hardware type 1 (Ethernet), protocol type 0x0800 (IPv4), address lengths 6 and 4, operation.
            &[0, 1, 8, 0, 6, 4, 0, operation],
            &self.sender_mac.0,
            &self.sender_ip.octets(),
            &self.target_mac.0,
            &self.target_ip.octets(),
        ];
        let mut frame = [0; FRAME_LENGTH];
        for (byte, value) in frame.iter_mut().zip(parts.concat()) {
            *byte = value;
        }
        frame
    }

    /// Parses a frame, with or without padding. Returns none unless it is an ARP request or reply for IPv4 over Ethernet.
    #[must_use]
    pub fn from_frame(frame: &[u8]) -> Option<Self> {
        let (_addresses, rest) = frame.split_at_checked(12)?;
        let (ethertype, packet) = rest.split_first_chunk()?;
        let (head, packet) = packet.split_first_chunk::<8>()?;
        let operation = match head {
            [0, 1, 8, 0, 6, 4, 0, 1] => Operation::Request,
            [0, 1, 8, 0, 6, 4, 0, 2] => Operation::Reply,
            _ => return None,
        };
        let (sender_mac, packet) = packet.split_first_chunk()?;
        let (sender_ip, packet) = packet.split_first_chunk::<4>()?;
        let (target_mac, packet) = packet.split_first_chunk()?;
        let (target_ip, _padding) = packet.split_first_chunk::<4>()?;
        (*ethertype == ethertype::ARP).then(|| Self {
            operation,
            sender_mac: Mac(*sender_mac),
            sender_ip: (*sender_ip).into(),
            target_mac: Mac(*target_mac),
            target_ip: (*target_ip).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([0x02, 0, 0x5e, 0, 0x53, 0x01]);

    #[test]
    fn a_probe_has_the_bytes_of_the_rfc() {
        #[rustfmt::skip]
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x00, 0x5e, 0x00, 0x53, 0x01, 0x08, 0x06,
            0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01,
            0x02, 0x00, 0x5e, 0x00, 0x53, 0x01, 0, 0, 0, 0,
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 10, 1, 2, 3,
        ];
        assert_eq!(Arp::probe(MAC, [10, 1, 2, 3].into()).to_frame(BROADCAST), expected);
    }

    #[test]
    fn an_encoded_frame_is_parsed_with_and_without_padding() {
        let reply = Arp {
            operation: Operation::Reply,
            sender_mac: MAC,
            sender_ip: [10, 1, 2, 3].into(),
            target_mac: Mac([2, 0, 0, 0, 0, 9]),
            target_ip: [10, 1, 2, 4].into(),
        };
        let frame = reply.to_frame(reply.target_mac);
        assert_eq!(Arp::from_frame(&frame), Some(reply));
        assert_eq!(Arp::from_frame(&[&frame[..], &[0; 18]].concat()), Some(reply));
    }

    #[test]
    fn truncated_frames_and_other_protocols_are_not_arp() {
        let frame = Arp::probe(MAC, [10, 1, 2, 3].into()).to_frame(BROADCAST);
        for length in 0..frame.len() {
            assert_eq!(Arp::from_frame(&frame[..length]), None, "{length} bytes");
        }
        // Offsets of ethertype, hardware type, protocol type, the two lengths, operation.
        for place in [13, 15, 16, 18, 19, 21] {
            let mut other = frame;
            other[place] = 9;
            assert_eq!(Arp::from_frame(&other), None, "byte {place}");
        }
    }
}
