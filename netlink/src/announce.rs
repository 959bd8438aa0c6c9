//! Tells the neighbours where an address now is: gratuitous ARP and unsolicited neighbour advertisements.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsFd,
    thread,
    time::Duration,
};

use crate::{
    Error, Link, Mac, Netns,
    arp::{self, Arp, Operation},
    aside::in_child,
    packet::{ETHERTYPE_IPV6, PacketSocket},
    socket::io_error,
};

/// Where multicast to all IPv6 nodes (`ff02::1`) goes on Ethernet.
const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ICMPV6: u8 = 58;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const NA_LENGTH: u8 = 32;

/// How often and how far apart an announcement is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// How many times.
    pub count: u8,
    /// Time between two.
    pub spacing: Duration,
}

impl Default for Repeat {
    /// Three times, 100 ms apart: a single frame is easily lost while a port comes up.
    fn default() -> Self {
        Self { count: 3, spacing: Duration::from_millis(100) }
    }
}

/// Announces `ips` as being at `link`, which must be up in `netns`. A child process does it, from the opening of the socket to its
/// closing, for which the kernel takes some 6 ms: an error is one of making the child, and nobody hears of a frame that could not be sent.
///
/// An IPv6 address should be past duplicate address detection, or neighbours may learn an address that is
/// then given up.
pub fn announce(netns: &Netns, link: &Link, ips: &[IpAddr], repeat: Repeat) -> Result<(), Error> {
    let mac = link.mac.ok_or_else(|| Error::NoMac { link: link.name.clone() })?;
    if ips.is_empty() || repeat.count == 0 {
        return Ok(());
    }
    let frames: Vec<Vec<u8>> = ips.iter().map(|ip| frame(mac, *ip)).collect();
    let rounds = || {
        if netns.enter_for_good().is_err() {
            return;
        }
        let Ok(socket) = PacketSocket::here(link) else { return };
        for round in 0..repeat.count {
            if round > 0 {
                thread::sleep(repeat.spacing);
            }
            for frame in &frames {
                // Nobody is left to be told.
                let _ = socket.send(frame);
            }
        }
    };
    in_child(netns.as_fd(), rounds).map_err(io_error("start a process for announcements"))
}

fn frame(mac: Mac, ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => gratuitous_arp(mac, ip).to_vec(),
        IpAddr::V6(ip) => unsolicited_advertisement(mac, ip),
    }
}

/// An ARP announcement (RFC 5227 section 3): a broadcast request of `ip` for itself, 42 bytes.
#[must_use]
pub fn gratuitous_arp(mac: Mac, ip: Ipv4Addr) -> [u8; arp::FRAME_LENGTH] {
    let packet = Arp {
        operation: Operation::Request,
        sender_mac: mac,
        sender_ip: ip,
        target_mac: Mac([0; 6]),
        target_ip: ip,
    };
    packet.to_frame(arp::BROADCAST)
}

/// An unsolicited neighbour advertisement (RFC 4861 section 7.2.6) with the override flag, 86 bytes.
#[must_use]
pub fn unsolicited_advertisement(mac: Mac, ip: Ipv6Addr) -> Vec<u8> {
    let message = |checksum: u16| {
        // Type, code, checksum; override; target; option 2 (target link-layer address) of one unit.
        [
            &[NEIGHBOUR_ADVERTISEMENT, 0][..],
            &checksum.to_be_bytes(),
            &[0x20, 0, 0, 0],
            &ip.octets(),
            &[2, 1],
            &mac.0,
        ]
        .concat()
    };
    let pseudo_header =
        [&ip.octets()[..], &ALL_NODES.octets(), &[0, 0, 0, NA_LENGTH, 0, 0, 0, ICMPV6]].concat();
    let checksum = internet_checksum(&[pseudo_header, message(0)].concat());
    [
        &ALL_NODES_MAC.0[..],
        &mac.0,
        &ETHERTYPE_IPV6,
        // Version 6, payload length, next header, hop limit 255 as RFC 4861 wants it.
        &[0x60, 0, 0, 0, 0, NA_LENGTH, ICMPV6, 255],
        &ip.octets(),
        &ALL_NODES.octets(),
        &message(checksum),
    ]
    .concat()
}

/// RFC 1071, over an even number of bytes.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let sum = bytes.chunks_exact(2).filter_map(|pair| <[u8; 2]>::try_from(pair).ok()).map(u16::from_be_bytes);
    let folded = sum.fold(0u16, |total, word| {
        let (total, carry) = total.overflowing_add(word);
        total + u16::from(carry)
    });
    !folded
}
