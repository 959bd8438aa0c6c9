//! Modes of macvlan and ipvlan, with the kernel's words for them.

use std::{fmt, str::FromStr};

use netlink_packet_route::link::{IpVlanFlags, IpVlanMode as KernelIpvlan, MacVlanMode as KernelMacvlan};

/// A word that is no mode or flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {of}: {word:?}; one of {known} is expected")]
pub struct UnknownMode {
    /// What the word should have been: "macvlan mode".
    pub of: &'static str,
    /// The word as given.
    pub word: String,
    /// The words there are, separated by commas.
    pub known: &'static str,
}

/// How macvlan links of one master reach each other and the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MacvlanMode {
    /// Directly.
    Bridge,
    /// Not at all.
    Private,
    /// Through an external switch that sends frames back.
    Vepa,
    /// One link alone, with the master's whole traffic.
    Passthru,
    /// By allowed source MAC addresses.
    Source,
}

/// At which layer an ipvlan master hands traffic to its links. All links of a master share one mode: a new
/// link with another mode changes the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpvlanMode {
    /// Link layer.
    L2,
    /// Network layer.
    L3,
    /// Network layer, through the master's netfilter hooks and connection tracking.
    L3s,
}

/// How ipvlan links of one master reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpvlanFlag {
    /// Directly.
    Bridge,
    /// Not at all.
    Private,
    /// Through an external switch or router.
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

    pub(super) fn of_kernel(mode: KernelMacvlan) -> Option<Self> {
        match mode {
            KernelMacvlan::Bridge => Some(Self::Bridge),
            KernelMacvlan::Private => Some(Self::Private),
            KernelMacvlan::Vepa => Some(Self::Vepa),
            KernelMacvlan::Passthrough => Some(Self::Passthru),
            KernelMacvlan::Source => Some(Self::Source),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
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

    pub(super) fn of_kernel(mode: KernelIpvlan) -> Option<Self> {
        match mode {
            KernelIpvlan::L2 => Some(Self::L2),
            KernelIpvlan::L3 => Some(Self::L3),
            KernelIpvlan::L3S => Some(Self::L3s),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::L3 => "l3",
            Self::L3s => "l3s",
        }
    }
}

impl IpvlanFlag {
    pub(super) fn to_kernel(self) -> IpVlanFlags {
        match self {
            Self::Bridge => IpVlanFlags::empty(),
            Self::Private => IpVlanFlags::Private,
            Self::Vepa => IpVlanFlags::Vepa,
        }
    }

    pub(super) fn of_kernel(flags: IpVlanFlags) -> Self {
        if flags.contains(IpVlanFlags::Private) {
            Self::Private
        } else if flags.contains(IpVlanFlags::Vepa) {
            Self::Vepa
        } else {
            Self::Bridge
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Private => "private",
            Self::Vepa => "vepa",
        }
    }
}

macro_rules! words {
    ($of:ty, $name:literal, $known:literal, [$($value:ident),+]) => {
        impl fmt::Display for $of {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }

        impl FromStr for $of {
            type Err = UnknownMode;

            fn from_str(word: &str) -> Result<Self, UnknownMode> {
                [$(Self::$value),+]
                    .into_iter()
                    .find(|value| value.word() == word)
                    .ok_or_else(|| UnknownMode { of: $name, word: word.to_owned(), known: $known })
            }
        }
    };
}

words!(
    MacvlanMode,
    "macvlan mode",
    "bridge, private, vepa, passthru, source",
    [Bridge, Private, Vepa, Passthru, Source]
);
words!(IpvlanMode, "ipvlan mode", "l2, l3, l3s", [L2, L3, L3s]);
words!(IpvlanFlag, "ipvlan flag", "bridge, private, vepa", [Bridge, Private, Vepa]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_both_ways() {
        for word in ["bridge", "private", "vepa", "passthru", "source"] {
            assert_eq!(word.parse::<MacvlanMode>().unwrap().to_string(), word);
        }
        for word in ["l2", "l3", "l3s"] {
            assert_eq!(word.parse::<IpvlanMode>().unwrap().to_string(), word);
        }
        for word in ["bridge", "private", "vepa"] {
            assert_eq!(word.parse::<IpvlanFlag>().unwrap().to_string(), word);
        }
    }

    #[test]
    fn kernel_values_go_both_ways() {
        for mode in ["bridge", "private", "vepa", "passthru", "source"]
            .map(|word| word.parse::<MacvlanMode>().unwrap())
        {
            assert_eq!(MacvlanMode::of_kernel(mode.to_kernel()), Some(mode));
        }
        for mode in [IpvlanMode::L2, IpvlanMode::L3, IpvlanMode::L3s] {
            assert_eq!(IpvlanMode::of_kernel(mode.to_kernel()), Some(mode));
        }
        for flag in [IpvlanFlag::Bridge, IpvlanFlag::Private, IpvlanFlag::Vepa] {
            assert_eq!(IpvlanFlag::of_kernel(flag.to_kernel()), flag);
        }
    }

    #[test]
    fn other_words_are_refused_with_the_known_ones() {
        for word in ["", "Bridge", "passthrough", "l4"] {
            let error = word.parse::<MacvlanMode>().unwrap_err();
            assert!(error.to_string().contains("passthru"), "{error}");
        }
        assert!("L2".parse::<IpvlanMode>().is_err());
    }
}
