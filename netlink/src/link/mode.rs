//! Modes of macvlan and ipvlan, by the kernel's names.

use std::{fmt, str::FromStr};

use netlink_packet_route::link::{IpVlanFlags, IpVlanMode as KernelIpvlan, MacVlanMode as KernelMacvlan};

/// The error for an unknown mode or flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {of}: {name:?}, expected one of {known}")]
pub struct UnknownMode {
    /// What was expected: "macvlan mode".
    pub of: &'static str,
    /// The name as given.
    pub name: String,
    /// The known names, separated by commas.
    pub known: &'static str,
}

/// How macvlan links of one master reach each other and the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MacvlanMode {
    /// Links reach each other directly.
    Bridge,
    /// Links do not reach each other.
    Private,
    /// Links reach each other through an external switch that sends frames back (802.1Qbg).
    Vepa,
    /// The only link of its master, with all of the master's traffic.
    Passthru,
    /// Links accept frames from a list of source MAC addresses only.
    Source,
}

/// The layer at which an ipvlan master passes traffic to its links. All links of a master share one mode: a new link with another
/// mode changes the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpvlanMode {
    /// Link layer: links answer ARP and neighbour discovery.
    L2,
    /// Network layer, without ARP, broadcast and multicast.
    L3,
    /// Network layer, through the master's netfilter hooks and connection tracking.
    L3s,
}

/// How ipvlan links of one master reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpvlanFlag {
    /// Links reach each other directly.
    Bridge,
    /// Links do not reach each other.
    Private,
    /// Links reach each other through an external switch or router.
    Vepa,
}

impl MacvlanMode {
    pub(super) fn to_kernel(self) -> KernelMacvlan {
        match self {
            Self::Bridge => KernelMacvlan::Bridge,
            Self::Private => KernelMacvlan::Private,
            Self::Vepa => KernelMacvlan::Vepa,
            Self::Passthru => KernelMacvlan::Passthrough,
            Self::Source => KernelMacvlan::Source,
        }
    }

    pub(super) fn from_kernel(mode: KernelMacvlan) -> Option<Self> {
        match mode {
            KernelMacvlan::Bridge => Some(Self::Bridge),
            KernelMacvlan::Private => Some(Self::Private),
            KernelMacvlan::Vepa => Some(Self::Vepa),
            KernelMacvlan::Passthrough => Some(Self::Passthru),
            KernelMacvlan::Source => Some(Self::Source),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Private => "private",
            Self::Vepa => "vepa",
            Self::Passthru => "passthru",
            Self::Source => "source",
        }
    }
}

impl IpvlanMode {
    pub(super) fn to_kernel(self) -> KernelIpvlan {
        match self {
            Self::L2 => KernelIpvlan::L2,
            Self::L3 => KernelIpvlan::L3,
            Self::L3s => KernelIpvlan::L3S,
        }
    }

    pub(super) fn from_kernel(mode: KernelIpvlan) -> Option<Self> {
        match mode {
            KernelIpvlan::L2 => Some(Self::L2),
            KernelIpvlan::L3 => Some(Self::L3),
            KernelIpvlan::L3S => Some(Self::L3s),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::L3 => "l3",
            Self::L3s => "l3s",
        }
    }
}

impl IpvlanFlag {
    /// The kernel has bits for private and vepa; bridge is none of them.
    pub(super) fn to_kernel(self) -> IpVlanFlags {
        match self {
            Self::Bridge => IpVlanFlags::empty(),
            Self::Private => IpVlanFlags::Private,
            Self::Vepa => IpVlanFlags::Vepa,
        }
    }

    pub(super) fn from_kernel(flags: IpVlanFlags) -> Self {
        if flags.contains(IpVlanFlags::Private) {
            Self::Private
        } else if flags.contains(IpVlanFlags::Vepa) {
            Self::Vepa
        } else {
            Self::Bridge
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Private => "private",
            Self::Vepa => "vepa",
        }
    }
}

macro_rules! names {
    ($type:ty, $of:literal, $known:literal, [$($value:ident),+]) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $type {
            type Err = UnknownMode;

            fn from_str(name: &str) -> Result<Self, UnknownMode> {
                [$(Self::$value),+]
                    .into_iter()
                    .find(|value| value.name() == name)
                    .ok_or_else(|| UnknownMode { of: $of, name: name.to_owned(), known: $known })
            }
        }
    };
}

names!(
    MacvlanMode,
    "macvlan mode",
    "bridge, private, vepa, passthru, source",
    [Bridge, Private, Vepa, Passthru, Source]
);
names!(IpvlanMode, "ipvlan mode", "l2, l3, l3s", [L2, L3, L3s]);
names!(IpvlanFlag, "ipvlan flag", "bridge, private, vepa", [Bridge, Private, Vepa]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_parsed_and_displayed() {
        for name in ["bridge", "private", "vepa", "passthru", "source"] {
            assert_eq!(name.parse::<MacvlanMode>().unwrap().to_string(), name);
        }
        for name in ["l2", "l3", "l3s"] {
            assert_eq!(name.parse::<IpvlanMode>().unwrap().to_string(), name);
        }
        for name in ["bridge", "private", "vepa"] {
            assert_eq!(name.parse::<IpvlanFlag>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn every_kernel_value_is_converted_in_both_directions() {
        for mode in ["bridge", "private", "vepa", "passthru", "source"]
            .map(|name| name.parse::<MacvlanMode>().unwrap())
        {
            assert_eq!(MacvlanMode::from_kernel(mode.to_kernel()), Some(mode));
        }
        for mode in [IpvlanMode::L2, IpvlanMode::L3, IpvlanMode::L3s] {
            assert_eq!(IpvlanMode::from_kernel(mode.to_kernel()), Some(mode));
        }
        for flag in [IpvlanFlag::Bridge, IpvlanFlag::Private, IpvlanFlag::Vepa] {
            assert_eq!(IpvlanFlag::from_kernel(flag.to_kernel()), flag);
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
        for name in ["", "Bridge", "passthrough", "l4"] {
            let error = name.parse::<MacvlanMode>().unwrap_err();
            assert!(error.to_string().contains("passthru"), "{error}");
        }
        assert!("L2".parse::<IpvlanMode>().is_err());
    }
}
