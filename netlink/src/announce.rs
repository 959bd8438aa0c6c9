//! Tells the neighbours where an address now is: gratuitous ARP and unsolicited neighbour advertisements.
#![allow(unsafe_code)] // sendto on a packet socket: no crate builds its address from outside

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd, OwnedFd},
    thread,
    time::Duration,
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType};

use crate::{Error, Link, Mac, Netns, socket::io_error};

const BROADCAST: Mac = Mac([0xff; 6]);
/// Where multicast to all IPv6 nodes (`ff02::1`) goes on Ethernet.
const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
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
    /// Twice, 100 ms apart: a single frame is easily lost while a port comes up.
    fn default() -> Self {
        Self { count: 2, spacing: Duration::from_millis(100) }
    }
}

/// Announces `ips` as being at `link`, which must be up in `netns`. Blocks for the repetitions.
///
/// An IPv6 address should be past duplicate address detection, or neighbours may learn an address that is
/// then given up.
pub fn announce(netns: &Netns, link: &Link, ips: &[IpAddr], repeat: Repeat) -> Result<(), Error> {
    let Some(mac) = link.mac else {
        let source = io::Error::new(io::ErrorKind::Unsupported, "the interface has no MAC address");
        return Err(Error::Io { op: "announce addresses", source });
    };
    if ips.is_empty() || repeat.count == 0 {
        return Ok(());
    }
    let frames: Vec<Frame> = ips.iter().map(|ip| Frame::new(mac, *ip)).collect();
    let socket = netns.run(packet_socket)?.map_err(io_error("open a packet socket"))?;
    for round in 0..repeat.count {
        if round > 0 {
            thread::sleep(repeat.spacing);
        }
        for frame in &frames {
            frame.send(&socket, link.index).map_err(io_error("send an announcement"))?;
        }
    }
    Ok(())
}

/// Protocol 0: the socket sends and never receives.
fn packet_socket() -> io::Result<OwnedFd> {
    let socket =
        nix::sys::socket::socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    Ok(socket)
}

struct Frame {
    destination: Mac,
    bytes: Vec<u8>,
}

impl Frame {
    fn new(mac: Mac, ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self { destination: BROADCAST, bytes: gratuitous_arp(mac, ip).to_vec() },
            IpAddr::V6(ip) => Self { destination: ALL_NODES_MAC, bytes: unsolicited_advertisement(mac, ip) },
        }
    }

    fn send(&self, socket: &OwnedFd, index: u32) -> io::Result<()> {
        let [a, b, c, d, e, f] = self.destination.0;
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: 0,
            sll_ifindex: i32::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: [a, b, c, d, e, f, 0, 0],
        };
        // SAFETY: both pointers are to live values of the lengths given, which the kernel only reads;
        // sockaddr_ll is plain data without padding.
        let sent = unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                self.bytes.as_ptr().cast(),
                self.bytes.len(),
                libc::MSG_DONTWAIT,
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// An ARP announcement (RFC 5227 section 3): a broadcast request of `ip` for itself, 42 bytes.
#[must_use]
pub fn gratuitous_arp(mac: Mac, ip: Ipv4Addr) -> [u8; 42] {
    let mut frame = [0; 42];
    let parts: [&[u8]; 8] = [
        &BROADCAST.0,
        &mac.0,
        &ETHERTYPE_ARP,
        // Ethernet, IPv4, their address lengths, request.
        &[0, 1, 8, 0, 6, 4, 0, 1],
        &mac.0,
        &ip.octets(),
        &[0; 6],
        &ip.octets(),
    ];
    for (byte, value) in frame.iter_mut().zip(parts.concat()) {
        *byte = value;
    }
    frame
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
