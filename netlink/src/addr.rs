//! Addresses of interfaces.

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use ipnet::{IpNet, Ipv4Net};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage},
};

use crate::{Error, Link, Socket, socket::About};

/// How often [`Socket::settle`] looks.
const SETTLE_POLL: Duration = Duration::from_millis(20);

/// What the kernel does about duplicates before an IPv6 address is used. IPv4 has no such step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dad {
    /// As the interface is configured: about 1.5 s during which the address is tentative.
    Kernel,
    /// No detection: the address is usable at once (`IFA_F_NODAD`).
    Skip,
    /// Detection while the address is in use already (RFC 4429); needs a kernel built with it.
    Optimistic,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Index of its interface.
    pub link: u32,
    /// The address with its prefix length.
    pub net: IpNet,
    /// Duplicate address detection is under way, or failed.
    pub tentative: bool,
    /// Another host answered for the address.
    pub dad_failed: bool,
    /// It does not expire. Addresses from router advertisements and DHCP do.
    pub permanent: bool,
}

impl Socket {
    /// Adds an address. IPv4 addresses get the broadcast address of their prefix, if it has one.
    pub fn add_address(&self, link: &Link, net: IpNet, dad: Dad) -> Result<(), Error> {
        let object = format!("{net} to {link}");
        let about = About { op: "add address", object: &object };
        let message = RouteNetlinkMessage::NewAddress(address_message(link, net, dad));
        self.change(about, NLM_F_CREATE | NLM_F_EXCL, message)
    }

    /// Removes an address. That it is gone already is success.
    pub fn delete_address(&self, link: &Link, net: IpNet) -> Result<(), Error> {
        let object = format!("{net} of {link}");
        let about = About { op: "remove address", object: &object };
        let message = RouteNetlinkMessage::DelAddress(address_message(link, net, Dad::Kernel));
        match self.change(about, 0, message) {
            Err(Error::NotFound(_)) => Ok(()),
            outcome => outcome,
        }
    }

    /// The addresses of the interface, of both families. An interface that is gone has none.
    pub fn addresses(&self, link: &Link) -> Result<Vec<Address>, Error> {
        let all = self.dump_addresses(About { op: "list addresses of", object: link })?;
        Ok(all.into_iter().filter(|address| address.link == link.index).collect())
    }

    /// The addresses of all interfaces, of both families.
    pub fn all_addresses(&self) -> Result<Vec<Address>, Error> {
        self.dump_addresses(About { op: "list", object: &"addresses" })
    }

    /// Asks for all, whichever are wanted: a kernel that filters by interface (seen with 6.18) skips addresses
    /// that move while it lists them and does not say so by `NLM_F_DUMP_INTR`.
    fn dump_addresses(&self, about: About<'_>) -> Result<Vec<Address>, Error> {
        let messages = self.dump(about, RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        Ok(messages.into_iter().filter_map(address_of).collect())
    }

    /// Waits until no IPv6 address of the interface is tentative.
    ///
    /// [`Error::DuplicateAddress`] names an address that another host has. [`Error::StillTentative`] after
    /// `limit` is no fault of the address if the interface has no carrier ([`Link::oper_state`]).
    pub fn settle(&self, link: &Link, limit: Duration) -> Result<(), Error> {
        let start = Instant::now();
        loop {
            let addresses = self.addresses(link)?;
            if let Some(lost) = addresses.iter().find(|address| address.dad_failed) {
                return Err(Error::DuplicateAddress { link: link.name.clone(), address: lost.net.addr() });
            }
            let tentative: Vec<IpAddr> = addresses
                .iter()
                .filter(|address| address.tentative)
                .map(|address| address.net.addr())
                .collect();
            if tentative.is_empty() {
                return Ok(());
            }
            if start.elapsed() >= limit {
                return Err(Error::StillTentative {
                    link: link.name.clone(),
                    addresses: tentative,
                    after: limit,
                });
            }
            thread::sleep(SETTLE_POLL.min(limit.saturating_sub(start.elapsed())));
        }
    }
}

fn address_message(link: &Link, net: IpNet, dad: Dad) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = link.index;
    message.header.prefix_len = net.prefix_len();
    message.attributes = vec![AddressAttribute::Local(net.addr()), AddressAttribute::Address(net.addr())];
    match net {
        IpNet::V4(net) => {
            message.header.family = AddressFamily::Inet;
            message.attributes.extend(broadcast(net));
        }
        IpNet::V6(_) => {
            message.header.family = AddressFamily::Inet6;
            message.attributes.extend(dad_flags(dad));
        }
    }
    message
}

/// Point-to-point and host prefixes have no broadcast address (RFC 3021).
fn broadcast(net: Ipv4Net) -> Option<AddressAttribute> {
    (net.prefix_len() < 31).then(|| AddressAttribute::Broadcast(net.broadcast()))
}

fn dad_flags(dad: Dad) -> Option<AddressAttribute> {
    match dad {
        Dad::Kernel => None,
        Dad::Skip => Some(AddressAttribute::Flags(AddressFlags::Nodad)),
        Dad::Optimistic => Some(AddressAttribute::Flags(AddressFlags::Optimistic)),
    }
}

pub(crate) fn address_of(message: RouteNetlinkMessage) -> Option<Address> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    let (mut local, mut peer) = (None, None);
    let mut flags = AddressFlags::from_bits_retain(AddressHeaderFlags::bits(&message.header.flags).into());
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(ip),
            AddressAttribute::Address(ip) => peer = Some(ip),
            AddressAttribute::Flags(all) => flags = all,
            _ => {}
        }
    }
    // IPv6 has LOCAL only on point-to-point links.
    let net = IpNet::new(local.or(peer)?, message.header.prefix_len).ok()?;
    Some(Address {
        link: message.header.index,
        net,
        tentative: flags.contains(AddressFlags::Tentative),
        dad_failed: flags.contains(AddressFlags::Dadfailed),
        permanent: flags.contains(AddressFlags::Permanent),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_point_to_point_prefixes_have_no_broadcast() {
        let of = |net: &str| broadcast(net.parse().unwrap());
        assert_eq!(of("10.1.2.3/24"), Some(AddressAttribute::Broadcast([10, 1, 2, 255].into())));
        assert_eq!(of("10.1.2.3/30"), Some(AddressAttribute::Broadcast([10, 1, 2, 3].into())));
        assert_eq!(of("10.1.2.3/31"), None);
        assert_eq!(of("10.1.2.3/32"), None);
    }
}
