//! Announces addresses to the neighbours on the wire: gratuitous ARP and unsolicited neighbour advertisements.

use std::{net::IpAddr, os::fd::AsFd, thread, time::Duration};

use crate::{
    child::spawn_detached,
    error::Error,
    frame::{
        arp::{Arp, BROADCAST},
        ndisc::unsolicited_advertisement,
        socket::PacketSocket,
    },
    link::Link,
    mac::Mac,
    netns::Netns,
    socket::io_error,
};

/// How often and at which interval an announcement is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// How many times.
    pub count: u8,
    /// Time between two announcements.
    pub spacing: Duration,
}

impl Default for Repeat {
    /// Three times, 100 ms apart: a switch may drop the first frames while its port comes up.
    fn default() -> Self {
        Self { count: 3, spacing: Duration::from_millis(100) }
    }
}

/// Announces that `link`, which must be up in `netns`, has `ips`.
///
/// A child process sends the announcements, so that the call takes only the time of a fork: the interval between them is not waited
/// for, and neither are the 6 ms that the kernel needs to close a packet socket (an RCU grace period). Therefore the returned error is
/// about starting the child; errors of sending are not reported.
///
/// Duplicate address detection of the IPv6 addresses should have ended: otherwise neighbours may learn an address that the kernel then
/// gives up.
pub fn announce(netns: &Netns, link: &Link, ips: &[IpAddr], repeat: Repeat) -> Result<(), Error> {
    let mac = link.mac.ok_or_else(|| Error::NoMac { link: link.name.clone() })?;
    if ips.is_empty() || repeat.count == 0 {
        return Ok(());
    }
    // Built before the fork: the child must not allocate.
    let frames: Vec<Vec<u8>> = ips.iter().map(|ip| frame(mac, *ip)).collect();
    let send_all = || {
        if netns.enter_permanently().is_err() {
            return;
        }
        let Ok(socket) = PacketSocket::sender(link) else { return };
        for round in 0..repeat.count {
            if round > 0 {
                thread::sleep(repeat.spacing);
            }
            for frame in &frames {
                // The child has nowhere to report an error, and the next round is the retry.
                let _ = socket.send(frame);
            }
        }
    };
    spawn_detached(netns.as_fd(), send_all).map_err(io_error("start a process for announcements"))
}

fn frame(mac: Mac, ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => Arp::announcement(mac, ip).to_frame(BROADCAST).to_vec(),
        IpAddr::V6(ip) => unsolicited_advertisement(mac, ip),
    }
}
