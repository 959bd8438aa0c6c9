//! New interfaces: in one message, in the namespace where they are wanted, and with their final name if the kernel lets it.

use std::hash::{BuildHasher, Hasher, RandomState};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoMacVlan, LinkAttribute, LinkMessage},
};
use rtnetlink::{LinkIpVlan, LinkMacVlan};

use super::{IpvlanFlag, IpvlanMode, Link, Mac, MacvlanMode};
use crate::{
    Error, Socket, ifname,
    socket::{About, raw_fd},
};

/// A macvlan interface to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MacvlanSpec {
    /// Its name.
    pub name: String,
    /// Index of the master, in the namespace of the socket that makes the link.
    pub master: u32,
    /// Its mode.
    pub mode: MacvlanMode,
    /// Its MTU in bytes, at most the master's; the master's if none.
    pub mtu: Option<u32>,
    /// Its MAC address; the kernel's choice if none.
    pub mac: Option<Mac>,
    /// Length of its broadcast queue in packets, 1000 if none. The longest on a master counts for all.
    pub bc_queue_len: Option<u32>,
}

/// An ipvlan interface to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpvlanSpec {
    /// Its name.
    pub name: String,
    /// Index of the master, in the namespace of the socket that makes the link.
    pub master: u32,
    /// Its mode, which becomes the mode of every ipvlan link of the master.
    pub mode: IpvlanMode,
    /// How links of the master reach each other.
    pub flag: IpvlanFlag,
    /// Its MTU in bytes; the master's if none.
    pub mtu: Option<u32>,
}

impl MacvlanSpec {
    /// A link with the kernel's choice of MTU, MAC address and queue.
    #[must_use]
    pub fn new(name: &str, master: u32, mode: MacvlanMode) -> Self {
        Self { name: name.to_owned(), master, mode, mtu: None, mac: None, bc_queue_len: None }
    }

    fn message(&self) -> LinkMessage {
        let mut builder = LinkMacVlan::new(&self.name, self.master, self.mode.to_kernel());
        if let Some(mtu) = self.mtu {
            builder = builder.mtu(mtu);
        }
        if let Some(mac) = self.mac {
            builder = builder.address(mac.0.to_vec());
        }
        if let Some(length) = self.bc_queue_len {
            builder = builder.append_info_data(InfoMacVlan::BcQueueLen(length));
        }
        builder.build()
    }

    fn hint(&self, errno: i32) -> Option<&'static str> {
        match errno {
            libc::EINVAL if self.mode == MacvlanMode::Passthru => Some(
                "a passthru link must be the only macvlan on its master, and its MTU at most the master's",
            ),
            libc::EINVAL if self.mtu.is_some() => Some(
                "the MTU must be at most the master's, and the master an Ethernet interface without passthru link",
            ),
            libc::EINVAL => Some("the master must be an Ethernet interface without passthru link"),
            libc::EBUSY => Some("the master is a bridge, bond or OVS port, or carries ipvlan links"),
            libc::ENODEV => Some("the master is gone"),
            libc::EOPNOTSUPP => Some("the kernel module macvlan is missing"),
            libc::EADDRNOTAVAIL => Some("the MAC address is not a unicast address"),
            _ => None,
        }
    }
}

impl IpvlanSpec {
    /// A link with the master's MTU and flag "bridge".
    #[must_use]
    pub fn new(name: &str, master: u32, mode: IpvlanMode) -> Self {
        Self { name: name.to_owned(), master, mode, flag: IpvlanFlag::Bridge, mtu: None }
    }

    fn message(&self) -> LinkMessage {
        let mut builder =
            LinkIpVlan::new(&self.name, self.master, self.mode.to_kernel()).flag(self.flag.to_kernel());
        if let Some(mtu) = self.mtu {
            builder = builder.mtu(mtu);
        }
        builder.build()
    }

    fn hint(errno: i32) -> Option<&'static str> {
        match errno {
            libc::EINVAL => {
                Some("the master must be an Ethernet interface, and its ipvlan links share one flag")
            }
            libc::EBUSY => Some("the master is a bridge, bond or OVS port, or carries macvlan links"),
            libc::ENODEV => Some("the master is gone"),
            libc::EOPNOTSUPP => Some("the kernel module ipvlan is missing"),
            _ => None,
        }
    }
}

impl Socket {
    /// Makes a macvlan link on a master in this socket's namespace, down, in the namespace of `target`
    /// (which may be the same). [`Error::Exists`] means the name is taken in `target`'s namespace.
    pub fn create_macvlan(&self, spec: &MacvlanSpec, target: &Self) -> Result<Link, Error> {
        let about = About { op: "create macvlan", object: &spec.name };
        self.create_in(&spec.name, &spec.message(), target, about)
            .map_err(|error| error.hint(|errno| spec.hint(errno)))
    }

    /// Makes an ipvlan link on a master in this socket's namespace, down, in the namespace of `target`
    /// (which may be the same). [`Error::Exists`] means the name is taken in `target`'s namespace.
    pub fn create_ipvlan(&self, spec: &IpvlanSpec, target: &Self) -> Result<Link, Error> {
        let about = About { op: "create ipvlan", object: &spec.name };
        self.create_in(&spec.name, &spec.message(), target, about)
            .map_err(|error| error.hint(IpvlanSpec::hint))
    }

    fn create_in(
        &self,
        name: &str,
        message: &LinkMessage,
        target: &Self,
        about: About<'_>,
    ) -> Result<Link, Error> {
        ifname::check(name)?;
        if self.netns().is_same(target.netns())? {
            self.new_link(message.clone(), about)?;
        } else {
            self.create_across(name, message, target, about)?;
        }
        target.link_by_name(name)?.ok_or_else(|| about.unexpected("the new interface is gone again"))
    }

    fn create_across(
        &self,
        name: &str,
        message: &LinkMessage,
        target: &Self,
        about: About<'_>,
    ) -> Result<(), Error> {
        match self.place(message.clone(), target, about) {
            // Kernels before 6.13 look for the name on this side, although the link comes to be on the other.
            Err(error @ Error::Exists(_)) => match target.link_by_name(name)? {
                Some(_) => Err(error),
                None => self.place_and_rename(name, message, target, about),
            },
            outcome => outcome,
        }
    }

    /// Makes the link in the target's namespace at once.
    fn place(&self, mut message: LinkMessage, target: &Self, about: About<'_>) -> Result<(), Error> {
        message.attributes.push(LinkAttribute::NetNsFd(raw_fd(target.netns())));
        self.new_link(message, about)
    }

    /// Makes the link under a name that nobody has, and gives it its own where it is.
    fn place_and_rename(
        &self,
        name: &str,
        message: &LinkMessage,
        target: &Self,
        about: About<'_>,
    ) -> Result<(), Error> {
        let unused = unused_name();
        let mut message = message.clone();
        message.attributes.retain(|attribute| !matches!(attribute, LinkAttribute::IfName(_)));
        message.attributes.push(LinkAttribute::IfName(unused.clone()));
        self.place(message, target, about)?;
        let link = target.link_by_name(&unused)?;
        let link = link.ok_or_else(|| about.unexpected("the new interface is gone again"))?;
        target.rename(&link, name).inspect_err(|_refused| {
            // Why it has no name counts, not why it stays.
            let _ = target.delete_link(&link);
        })
    }

    fn new_link(&self, message: LinkMessage, about: About<'_>) -> Result<(), Error> {
        self.change(about, NLM_F_CREATE | NLM_F_EXCL, RouteNetlinkMessage::NewLink(message))
    }
}

/// A name of 15 bytes, of which 48 bits are random: each `RandomState` has keys of its own.
fn unused_name() -> String {
    let random = RandomState::new().build_hasher().finish() >> 16;
    format!("mrs{random:012x}")
}

#[cfg(test)]
#[path = "create_tests.rs"]
mod tests;
