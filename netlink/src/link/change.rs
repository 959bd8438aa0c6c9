//! Changes and deletes interfaces.

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{AfSpecInet, AfSpecUnspec, InetDevConf, LinkAttribute},
};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};

use super::model::Link;
use crate::{
    error::Error,
    ifname,
    socket::{Context, Socket},
};

impl Socket {
    /// Sets the interface up.
    pub fn set_up(&self, link: &Link) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(link.index).up();
        self.set_link("set up", link, message).map_err(|error| {
            error.hint(|errno| match errno {
                libc::EADDRINUSE => Some("another interface on the same master has its MAC address"),
                _ => None,
            })
        })
    }

    /// Sets the interface up and turns `arp_notify` on: the kernel announces its IPv4 addresses each time it comes up again, but
    /// not this time. An interface without IPv4 is only set up.
    pub(crate) fn set_up_then_enable_arp_notify(&self, link: &Link) -> Result<(), Error> {
        // In one message the kernel applies flags before the settings of address families.
        let message = LinkUnspec::new_with_index(link.index).up().append_extra_attribute(arp_notify());
        match self.set_link("set up", link, message) {
            Ok(()) => Ok(()),
            // Without IPv4 the whole message fails. Any other cause fails again here, with its own error.
            Err(_) => self.set_up(link),
        }
    }

    /// Turns `arp_notify` on: the kernel announces the interface's IPv4 addresses each time it comes up.
    pub(crate) fn enable_arp_notify(&self, link: &Link) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(link.index).append_extra_attribute(arp_notify());
        self.set_link("set arp_notify of", link, message)
    }

    /// Renames the interface. Kernels before 6.2 require it to be down.
    pub(crate) fn rename(&self, link: &Link, name: &str) -> Result<(), Error> {
        ifname::check(name)?;
        self.set_link("rename", link, LinkUnspec::new_with_index(link.index).name(name))
    }

    /// Requests a change of the interface; `op` is for messages.
    pub(crate) fn set_link(
        &self,
        op: &'static str,
        link: &Link,
        change: LinkMessageBuilder<LinkUnspec>,
    ) -> Result<(), Error> {
        self.change(Context { op, object: link }, 0, RouteNetlinkMessage::SetLink(change.build()))
    }

    /// Deletes the interface. Succeeds if it does not exist.
    pub fn delete_link(&self, link: &Link) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(link.index).build();
        let context = Context { op: "delete", object: link };
        match self.change(context, 0, RouteNetlinkMessage::DelLink(message)) {
            Err(Error::NotFound(_)) => Ok(()),
            outcome => outcome,
        }
    }
}

/// `arp_notify` = 1 as a link attribute. Writing `/proc/sys/net/ipv4/conf/<if>/arp_notify` instead needs a thread inside the
/// namespace, and the first walk through a new namespace's `/proc/sys` costs more than making an address.
fn arp_notify() -> LinkAttribute {
    let mut conf = InetDevConf::default();
    conf.arp_notify = 1;
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![AfSpecInet::DevConfRequest(conf)])])
}
