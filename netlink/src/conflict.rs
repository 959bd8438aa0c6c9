//! IPv4 address conflict detection (RFC 5227 section 2.1): does another host have the address? For IPv6 the kernel does this itself.
//!
//! The RFC waits up to seven seconds, which is too long for the start of a pod. Between the nodes of a cluster a host responds within
//! milliseconds, so that a quarter of a second is enough.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use crate::{
    error::Error,
    frame::{
        arp::{Arp, BROADCAST, Operation},
        ethertype,
        socket::PacketSocket,
    },
    link::Link,
    mac::Mac,
    netns::Netns,
    socket::io_error,
};

/// How many probes are sent for each address: a switch may drop the first frames while its port comes up.
pub const PROBES: u32 = 2;

/// How long to wait for responses after each probe.
pub const PROBE_WAIT: Duration = Duration::from_millis(120);

/// Another host that has an address, or is about to use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict {
    /// The address.
    pub address: Ipv4Addr,
    /// The other host's MAC address.
    pub holder: Mac,
}

/// Sends ARP probes for `addresses` from `link`, and returns the first conflict. The link must be up in `netns` and have none of the
/// addresses. Without a conflict this takes [`PROBES`] times [`PROBE_WAIT`], however many addresses there are. On a link without
/// carrier there is never a conflict, since no frame leaves it.
pub fn probe(netns: &Netns, link: &Link, addresses: &[Ipv4Addr]) -> Result<Option<Conflict>, Error> {
    let mac = link.mac.ok_or_else(|| Error::NoMac { link: link.name.clone() })?;
    let socket = PacketSocket::receiver(netns, link, ethertype::ARP)?;
    for _ in 0..PROBES {
        for address in addresses {
            let frame = Arp::probe(mac, *address).to_frame(BROADCAST);
            socket.send(&frame).map_err(io_error("send an ARP probe"))?;
        }
        let end = Instant::now() + PROBE_WAIT;
        while let Some(frame) = socket.receive(end).map_err(io_error("receive ARP responses"))? {
            let conflict = Arp::from_frame(&frame).and_then(|packet| conflict(&packet, mac, addresses));
            if conflict.is_some() {
                return Ok(conflict);
            }
        }
    }
    Ok(None)
}

/// The conflict that `packet` reveals to the host with the MAC address `own`. RFC 5227 section 2.1.1: any packet from one of
/// `addresses`, or a probe for one of them by another host, which would start to use it at the same time.
fn conflict(packet: &Arp, own: Mac, addresses: &[Ipv4Addr]) -> Option<Conflict> {
    let is_probe = packet.sender_ip.is_unspecified() && packet.operation == Operation::Request;
    let address = if is_probe { packet.target_ip } else { packet.sender_ip };
    (packet.sender_mac != own && addresses.contains(&address))
        .then_some(Conflict { address, holder: packet.sender_mac })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const WANTED: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 3);
    const OTHER_IP: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 9);

    fn packet(operation: Operation, sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Arp {
        Arp { operation, sender_mac: OTHER, sender_ip, target_mac: Mac([0; 6]), target_ip }
    }

    #[test]
    fn a_reply_an_announcement_and_a_request_from_the_address_are_conflicts() {
        let expected = Some(Conflict { address: WANTED, holder: OTHER });
        for packet in [
            packet(Operation::Reply, WANTED, Ipv4Addr::UNSPECIFIED),
            packet(Operation::Request, WANTED, WANTED),
            packet(Operation::Request, WANTED, OTHER_IP),
        ] {
            assert_eq!(conflict(&packet, OWN, &[OTHER_IP, WANTED]).map(|c| c.holder), Some(OTHER));
            assert_eq!(conflict(&packet, OWN, &[WANTED]), expected);
        }
    }

    #[test]
    fn a_probe_by_another_host_is_a_conflict_and_an_own_probe_is_not() {
        let theirs = Arp::probe(OTHER, WANTED);
        assert_eq!(conflict(&theirs, OWN, &[WANTED]), Some(Conflict { address: WANTED, holder: OTHER }));
        assert_eq!(conflict(&Arp::probe(OWN, WANTED), OWN, &[WANTED]), None);
    }

    #[test]
    fn requests_and_replies_from_other_addresses_are_no_conflict() {
        for packet in [
            packet(Operation::Request, OTHER_IP, WANTED),
            packet(Operation::Reply, OTHER_IP, WANTED),
            packet(Operation::Reply, Ipv4Addr::UNSPECIFIED, WANTED),
        ] {
            assert_eq!(conflict(&packet, OWN, &[WANTED]), None, "{packet:?}");
        }
    }
}
