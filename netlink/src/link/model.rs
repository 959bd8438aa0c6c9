//! An interface as a value.

use std::fmt;

use super::mode::{IpvlanFlag, IpvlanMode, MacvlanMode};
use crate::mac::Mac;

/// An interface as the kernel described it at the time of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its index, unique in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address, if that is six bytes long.
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// What kind of interface it is.
    pub kind: LinkKind,
    /// Index of the interface below (`IFLA_LINK`), such as a macvlan's master. `parent_is_elsewhere` tells in which namespace.
    pub parent: Option<u32>,
    /// Whether `parent` is an index of another namespace than the link's.
    pub parent_is_elsewhere: bool,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it has a carrier.
    pub lower_up: bool,
}

/// The kinds of interface that this crate distinguishes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkKind {
    /// macvlan.
    Macvlan {
        /// Its mode.
        mode: MacvlanMode,
        /// Requested length of its broadcast queue in packets (kernel 5.11 and later).
        bc_queue_len: Option<u32>,
    },
    /// ipvlan.
    Ipvlan {
        /// Its mode, the same for all ipvlan links of a master.
        mode: IpvlanMode,
        /// How links of one master reach each other, the same for all of them.
        flag: IpvlanFlag,
    },
    /// Another virtual interface, by the kernel's name for it: "veth", "bridge".
    Other(String),
    /// An interface without a kind, such as hardware or loopback.
    Plain,
}

impl Link {
    /// Whether it is a macvlan or ipvlan link, which itself has a master.
    pub(crate) fn has_master(&self) -> bool {
        matches!(self.kind, LinkKind::Macvlan { .. } | LinkKind::Ipvlan { .. })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
