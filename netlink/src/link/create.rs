//! Creates macvlan and ipvlan links, directly in their target namespace and with their final name where the kernel can.

use std::hash::{BuildHasher, Hasher, RandomState};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoMacVlan, LinkAttribute, LinkMessage},
};
use rtnetlink::{LinkIpVlan, LinkMacVlan};

use super::{
    mode::{IpvlanFlag, IpvlanMode, MacvlanMode},
    model::Link,
};
use crate::{
    error::Error,
    ifname,
    mac::Mac,
    socket::{Context, Socket, raw_fd},
};

/// A macvlan interface to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MacvlanSpec {
    /// Its name.
    pub name: String,
    /// Index of the master, in the namespace of the socket that creates the link.
    pub master: u32,
    /// Its mode.
    pub mode: MacvlanMode,
    /// Its MTU in bytes, at most the master's; by default the master's.
    pub mtu: Option<u32>,
    /// Its MAC address; by default the kernel chooses one at random.
    pub mac: Option<Mac>,
    /// Requested length of its broadcast queue in packets, by default 1000. The master's queue has the greatest length that any
    /// of its links requests.
    pub bc_queue_len: Option<u32>,
}

/// An ipvlan interface to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpvlanSpec {
    /// Its name.
    pub name: String,
    /// Index of the master, in the namespace of the socket that creates the link.
    pub master: u32,
    /// Its mode. It becomes the mode of every ipvlan link of the master.
    pub mode: IpvlanMode,
    /// How links of the master reach each other. It becomes the flag of every ipvlan link of the master.
    pub flag: IpvlanFlag,
    /// Its MTU in bytes; by default the master's.
    pub mtu: Option<u32>,
}

impl MacvlanSpec {
    /// A link with the default MTU, MAC address and queue.
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

    /// What `errno` usually means; the kernel gives no explanation in most of these cases.
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
            libc::ENODEV => Some("the master was deleted"),
            libc::EOPNOTSUPP => Some("the kernel module macvlan is missing"),
            libc::EADDRNOTAVAIL => Some("the MAC address is not a unicast address"),
            _ => None,
        }
    }
}

impl IpvlanSpec {
    /// A link with the default MTU and flag "bridge".
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

    /// What `errno` usually means.
    fn hint(errno: i32) -> Option<&'static str> {
        match errno {
            libc::EINVAL => {
                Some("the master must be an Ethernet interface, and its ipvlan links share one flag")
            }
            libc::EBUSY => Some("the master is a bridge, bond or OVS port, or carries macvlan links"),
            libc::ENODEV => Some("the master was deleted"),
            libc::EOPNOTSUPP => Some("the kernel module ipvlan is missing"),
            _ => None,
        }
    }
}

impl Socket {
    /// Creates a macvlan link, down, in the namespace of `target`. The master is in this socket's namespace; both may be the
    /// same. [`Error::Exists`] means that an interface in `target`'s namespace has the name.
    pub fn create_macvlan(&self, spec: &MacvlanSpec, target: &Self) -> Result<Link, Error> {
        let context = Context { op: "create macvlan", object: &spec.name };
        self.create_in(&spec.name, &spec.message(), target, context)
            .map_err(|error| error.hint(|errno| spec.hint(errno)))
    }

    /// Creates an ipvlan link, down, in the namespace of `target`. The master is in this socket's namespace; both may be the
    /// same. [`Error::Exists`] means that an interface in `target`'s namespace has the name.
    pub fn create_ipvlan(&self, spec: &IpvlanSpec, target: &Self) -> Result<Link, Error> {
        let context = Context { op: "create ipvlan", object: &spec.name };
        self.create_in(&spec.name, &spec.message(), target, context)
            .map_err(|error| error.hint(IpvlanSpec::hint))
    }

    fn create_in(
        &self,
        name: &str,
        message: &LinkMessage,
        target: &Self,
        context: Context<'_>,
    ) -> Result<Link, Error> {
        ifname::check(name)?;
        if self.netns().is_same(target.netns())? {
            self.new_link(message.clone(), context)?;
        } else {
            self.create_in_other_netns(name, message, target, context)?;
        }
        target.link_by_name(name)?.ok_or_else(|| context.unexpected("the new interface disappeared"))
    }

    fn create_in_other_netns(
        &self,
        name: &str,
        message: &LinkMessage,
        target: &Self,
        context: Context<'_>,
    ) -> Result<(), Error> {
        match self.place(message.clone(), target, context) {
            // Kernels before 6.13 also fail if an interface in the master's namespace has the name.
            Err(error @ Error::Exists(_)) => match target.link_by_name(name)? {
                Some(_) => Err(error),
                None => self.place_and_rename(name, message, target, context),
            },
            outcome => outcome,
        }
    }

    /// Creates the link in the target's namespace by one message.
    fn place(&self, mut message: LinkMessage, target: &Self, context: Context<'_>) -> Result<(), Error> {
        message.attributes.push(LinkAttribute::NetNsFd(raw_fd(target.netns())));
        self.new_link(message, context)
    }

    /// Creates the link under a random name and renames it in the target's namespace.
    fn place_and_rename(
        &self,
        name: &str,
        message: &LinkMessage,
        target: &Self,
        context: Context<'_>,
    ) -> Result<(), Error> {
        let unused = unused_name();
        let mut message = message.clone();
        message.attributes.retain(|attribute| !matches!(attribute, LinkAttribute::IfName(_)));
        message.attributes.push(LinkAttribute::IfName(unused.clone()));
        self.place(message, target, context)?;
        let link = target.link_by_name(&unused)?;
        let link = link.ok_or_else(|| context.unexpected("the new interface disappeared"))?;
        target.rename(&link, name).inspect_err(|_| {
            // The caller needs the first error. The link that stays if this fails ends with the pod's namespace.
            let _ = target.delete_link(&link);
        })
    }

    fn new_link(&self, message: LinkMessage, context: Context<'_>) -> Result<(), Error> {
        self.change(context, NLM_F_CREATE | NLM_F_EXCL, RouteNetlinkMessage::NewLink(message))
    }
}

/// A name of 15 bytes with 48 random bits. std seeds each `RandomState` at random, which makes it a random number generator here.
fn unused_name() -> String {
    let random = RandomState::new().build_hasher().finish() >> 16;
    format!("mrs{random:012x}")
}

#[cfg(test)]
mod tests;
