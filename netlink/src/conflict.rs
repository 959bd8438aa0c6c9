//! IPv4 address conflict detection (RFC 5227 section 2.1): is an address in use on the wire already? IPv6 has this in the kernel.
//!
//! The RFC waits up to seven seconds; nobody starts a pod that slowly. On a wire without long delays, as between the nodes of a
//! cluster, an owner answers in milliseconds.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use crate::{
    Error, Link, Mac, Netns,
    arp::{Arp, BROADCAST, Operation},
    packet::{ETHERTYPE_ARP, PacketSocket},
    socket::io_error,
};

/// How often each address is asked for: one frame is easily lost while a port comes up.
pub const PROBES: u32 = 2;

/// How long answers are waited for after each probe.
pub const PATIENCE: Duration = Duration::from_millis(120);

/// Another host's claim of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The address.
    pub address: Ipv4Addr,
    /// Who has it, or is about to take it.
    pub holder: Mac,
}

/// Asks the wire for `addresses`, all at once, from `link`, which must be up in `netns` and have none of them. Takes
/// [`PROBES`] times [`PATIENCE`] if nobody answers. A link without carrier reaches nobody, so nobody answers.
pub fn probe(netns: &Netns, link: &Link, addresses: &[Ipv4Addr]) -> Result<Option<Claim>, Error> {
    let mac = link.mac.ok_or_else(|| Error::NoMac { link: link.name.clone() })?;
    let socket = PacketSocket::receiver(netns, link, ETHERTYPE_ARP)?;
    for _ in 0..PROBES {
        for address in addresses {
            let frame = Arp::probe(mac, *address).to_frame(BROADCAST);
            socket.send(&frame).map_err(io_error("send an ARP probe"))?;
        }
        let end = Instant::now() + PATIENCE;
        while let Some(frame) = socket.receive(end).map_err(io_error("receive ARP answers"))? {
            let claim = Arp::from_frame(&frame).and_then(|packet| claim(&packet, mac, addresses));
            if claim.is_some() {
                return Ok(claim);
            }
        }
    }
    Ok(None)
}

/// What `packet` says against the use of `addresses` by the host with `own` MAC address: any packet from one of them, and a probe
/// for one of them by another host, which would take it at the same time.
#[must_use]
pub fn claim(packet: &Arp, own: Mac, addresses: &[Ipv4Addr]) -> Option<Claim> {
    let is_probe = packet.sender_ip.is_unspecified() && packet.operation == Operation::Request;
    let address = if is_probe { packet.target_ip } else { packet.sender_ip };
    (packet.sender_mac != own && addresses.contains(&address))
        .then_some(Claim { address, holder: packet.sender_mac })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const WANTED: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 3);
    const ELSE: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 9);

    fn packet(operation: Operation, sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Arp {
        Arp { operation, sender_mac: OTHER, sender_ip, target_mac: Mac([0; 6]), target_ip }
    }

    #[test]
    fn a_reply_an_announcement_and_a_request_from_the_address_are_claims() {
        let expected = Some(Claim { address: WANTED, holder: OTHER });
        for packet in [
            packet(Operation::Reply, WANTED, Ipv4Addr::UNSPECIFIED),
            packet(Operation::Request, WANTED, WANTED),
            packet(Operation::Request, WANTED, ELSE),
        ] {
            assert_eq!(claim(&packet, OWN, &[ELSE, WANTED]).map(|c| c.holder), Some(OTHER));
            assert_eq!(claim(&packet, OWN, &[WANTED]), expected);
        }
    }

    #[test]
    fn a_probe_by_another_host_is_a_claim_and_an_own_one_is_not() {
        let theirs = Arp::probe(OTHER, WANTED);
        assert_eq!(claim(&theirs, OWN, &[WANTED]), Some(Claim { address: WANTED, holder: OTHER }));
        assert_eq!(claim(&Arp::probe(OWN, WANTED), OWN, &[WANTED]), None);
    }

    #[test]
    fn who_asks_for_the_address_or_answers_without_one_does_not_claim_it() {
        for packet in [
            packet(Operation::Request, ELSE, WANTED),
            packet(Operation::Reply, ELSE, WANTED),
            packet(Operation::Reply, Ipv4Addr::UNSPECIFIED, WANTED),
        ] {
            assert_eq!(claim(&packet, OWN, &[WANTED]), None, "{packet:?}");
        }
    }
}
