//! IP addresses of interfaces.

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

use crate::{
    error::Error,
    link::Link,
    socket::{Context, Socket},
};

/// Interval at which [`Socket::settle`] lists the addresses.
const SETTLE_POLL: Duration = Duration::from_millis(20);

/// Duplicate address detection of an IPv6 address. The kernel has none for IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dad {
    /// As the interface's sysctls say. By default the address is tentative for one to two seconds.
    Kernel,
    /// None: the address is usable at once (`IFA_F_NODAD`).
    Skip,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Index of its interface.
    pub link: u32,
    /// The address with its prefix length.
    pub net: IpNet,
    /// Whether duplicate address detection has not ended, or has failed.
    pub tentative: bool,
    /// Whether duplicate address detection found another host with the address.
    pub dad_failed: bool,
}

impl Socket {
    /// Adds an address, for IPv4 with the broadcast address of its prefix.
    pub fn add_address(&self, link: &Link, net: IpNet, dad: Dad) -> Result<(), Error> {
        let object = format!("{net} to {link}");
        let context = Context { op: "add address", object: &object };
        let message = RouteNetlinkMessage::NewAddress(address_message(link, net, dad));
        self.change(context, NLM_F_CREATE | NLM_F_EXCL, message)
    }

    /// Removes all addresses of the interface but the link-local IPv6 ones, which the kernel gives to each interface.
    pub fn remove_addresses(&self, link: &Link) -> Result<(), Error> {
        let is_link_local = |net: &IpNet| matches!(net.addr(), IpAddr::V6(ip) if ip.is_unicast_link_local());
        let addresses = self.addresses(link)?.into_iter().map(|address| address.net);
        // Removing the first address of an IPv4 subnet removes its other ones too; that they are gone then is no error.
        addresses.filter(|net| !is_link_local(net)).try_for_each(|net| self.delete_address(link, net))
    }

    /// Removes an address. Succeeds if the interface does not have it.
    pub fn delete_address(&self, link: &Link, net: IpNet) -> Result<(), Error> {
        let object = format!("{net} of {link}");
        let context = Context { op: "remove address", object: &object };
        let message = RouteNetlinkMessage::DelAddress(address_message(link, net, Dad::Kernel));
        match self.change(context, 0, message) {
            Err(Error::NotFound(_)) => Ok(()),
            outcome => outcome,
        }
    }

    /// The IPv4 and IPv6 addresses of the interface; none if the interface does not exist.
    pub fn addresses(&self, link: &Link) -> Result<Vec<Address>, Error> {
        let all = self.list_addresses(Context { op: "list addresses of", object: link })?;
        Ok(all.into_iter().filter(|address| address.link == link.index).collect())
    }

    /// The IPv4 and IPv6 addresses of all interfaces.
    pub(crate) fn all_addresses(&self) -> Result<Vec<Address>, Error> {
        self.list_addresses(Context { op: "list", object: &"addresses" })
    }

    /// Lists all addresses; the callers filter by interface. If the kernel filters (seen with 6.18), it may skip addresses while
    /// others are removed, and does not report that with `NLM_F_DUMP_INTR`.
    fn list_addresses(&self, context: Context<'_>) -> Result<Vec<Address>, Error> {
        let messages = self.list(context, RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        Ok(messages.into_iter().filter_map(address_of).collect())
    }

    /// Waits until no IPv6 address of the interface is tentative, at most `limit`.
    ///
    /// Fails with [`Error::DuplicateAddress`] if another host has an address. Fails with [`Error::StillTentative`] at the limit:
    /// always so on an interface without carrier ([`Link::lower_up`]), where the detection waits.
    pub fn settle(&self, link: &Link, limit: Duration) -> Result<(), Error> {
        let start = Instant::now();
        loop {
            let addresses = self.addresses(link)?;
            if let Some(duplicate) = addresses.iter().find(|address| address.dad_failed) {
                return Err(Error::DuplicateAddress {
                    link: link.name.clone(),
                    address: duplicate.net.addr(),
                });
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

/// Prefixes of 31 (RFC 3021) and 32 bits have no broadcast address.
fn broadcast(net: Ipv4Net) -> Option<AddressAttribute> {
    (net.prefix_len() < 31).then(|| AddressAttribute::Broadcast(net.broadcast()))
}

fn dad_flags(dad: Dad) -> Option<AddressAttribute> {
    match dad {
        Dad::Kernel => None,
        Dad::Skip => Some(AddressAttribute::Flags(AddressFlags::Nodad)),
    }
}

/// The address in a message; none if the message holds no address.
pub(crate) fn address_of(message: RouteNetlinkMessage) -> Option<Address> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    let (mut local, mut peer) = (None, None);
    // The header has only the low 8 bits of the flags; the attribute, which older kernels lack, has all.
    let mut flags = AddressFlags::from_bits_retain(AddressHeaderFlags::bits(&message.header.flags).into());
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(ip),
            AddressAttribute::Address(ip) => peer = Some(ip),
            AddressAttribute::Flags(all) => flags = all,
            _ => {}
        }
    }
    // IFA_LOCAL is the interface's own address. For IPv6 the kernel only sends it on point-to-point links.
    let net = IpNet::new(local.or(peer)?, message.header.prefix_len).ok()?;
    Some(Address {
        link: message.header.index,
        net,
        tentative: flags.contains(AddressFlags::Tentative),
        dad_failed: flags.contains(AddressFlags::Dadfailed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_31_and_32_bits_have_no_broadcast_address() {
        let of = |net: &str| broadcast(net.parse().unwrap());
        assert_eq!(of("10.1.2.3/24"), Some(AddressAttribute::Broadcast([10, 1, 2, 255].into())));
        assert_eq!(of("10.1.2.3/30"), Some(AddressAttribute::Broadcast([10, 1, 2, 3].into())));
        assert_eq!(of("10.1.2.3/31"), None);
        assert_eq!(of("10.1.2.3/32"), None);
    }
}
