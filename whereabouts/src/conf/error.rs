//! What is wrong with a configuration, and what works but perhaps not as meant.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::addr::ip::CidrError;
use crate::addr::range::{Bound, RangeError};
use crate::addr::slices::SliceError;

/// Where a network's configuration may name files: the CNI configuration directories of the distributions, and the
/// first two as a pod sees them.
pub const CONF_DIRS: &[&str] = &[
    "/etc/cni/net.d",
    "/etc/kubernetes/cni/net.d",
    "/host/etc/cni/net.d",
    "/var/lib/rancher/k3s/agent/etc/cni/net.d",
];

/// The configuration is wrong. Texts that tools know are kept; what was read is never quoted as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfError {
    /// No `ipam` object: the network gets no addresses, from us or anyone.
    #[error("IPAM config missing 'ipam' key")]
    NoIpam,
    /// Another IPAM plugin's network.
    #[error("only interested in networks whose IPAM type is 'whereabouts'. This one was: {0}")]
    OtherIpam(String),
    /// JSON that is none, or a value of the wrong type.
    #[error("{place} - JSON Parsing Error: {reason}")]
    Json {
        /// Whose JSON.
        place: Place,
        /// What is wrong.
        reason: String,
    },
    /// No flat file on this node.
    #[error(
        "config file not found; it is /etc/cni/net.d/whereabouts.d/whereabouts.conf, which the whereabouts DaemonSet writes, or the file in ipam.configuration_path"
    )]
    NoFlatFile,
    /// A file named where users may write is not in a CNI configuration directory.
    #[error("ipam.{key} \"{path}\" is not in one of {}; a network's configuration may name files there only", CONF_DIRS.join(", "))]
    ForbiddenPath {
        /// The key.
        key: &'static str,
        /// The path, escaped.
        path: String,
    },
    /// There is no kubeconfig, and no daemon to ask instead.
    #[error(
        "you have not configured the storage engine (looks like you're using an invalid `kubernetes.kubeconfig` parameter in your config)"
    )]
    NoKubeconfig,
    /// A range.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// `gateway`.
    #[error("couldn't parse gateway IP: {0}")]
    Gateway(String),
    /// `addresses`.
    #[error("invalid CIDR in addresses {text}: {source}")]
    Address {
        /// The text.
        text: String,
        /// What is wrong with it.
        source: CidrError,
    },
    /// `node_slice_size`.
    #[error(transparent)]
    SliceSize(#[from] SliceError),
    /// Early versions of CNI have room for one address of each family.
    #[error("CNI version {0} does not support more than 1 address per family")]
    TooManyAddresses(String),
    /// An address asked for in `CNI_ARGS`, `runtimeConfig.ips` or `args.cni.ips`.
    #[error("invalid CIDR {text}: {source}")]
    RequestedAddress {
        /// The text.
        text: String,
        /// What is wrong with it.
        source: CidrError,
    },
    /// An address asked for that no pool can hold, and that has no prefix length to be given as it stands.
    #[error(
        "{ip} was asked for, but is in none of the network's ranges ({ranges}); ask for an address inside one"
    )]
    RequestedOutside {
        /// The address.
        ip: IpAddr,
        /// The ranges.
        ranges: String,
    },
    /// `GATEWAY` in `CNI_ARGS`.
    #[error("invalid gateway address: {0}")]
    RequestedGateway(String),
}

/// Whose JSON is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The network's configuration.
    Network,
    /// The flat file at this path.
    FlatFile(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network => f.write_str("LoadIPAMConfig"),
            Self::FlatFile(path) => write!(f, "LoadIPAMConfig Flatfile ({})", path.display()),
        }
    }
}

/// Something to log: it works, but perhaps not as meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// A key that has no effect here.
    #[error("ipam.{0} is ignored: logs go to standard error, nothing waits, and there is no lease")]
    Ignored(&'static str),
    /// A start or end that is no address.
    #[error("ipam.{key} \"{text}\" is not an IP address and is ignored")]
    NotAnAddress {
        /// The key.
        key: &'static str,
        /// The text, escaped.
        text: String,
    },
    /// A start or end outside the range, or an end below the start.
    #[error("{bound:?} does not lie in the usable part of {net} and is ignored")]
    OutsideRange {
        /// Which.
        bound: Bound,
        /// The range.
        net: IpNet,
    },
    /// An unknown `log_level`.
    #[error("cannot set logging level to \"{0}\": it is debug, verbose, error or panic")]
    LogLevel(String),
}

pub(super) fn wrong_type(place: Place, key: &str, expected: &str) -> ConfError {
    ConfError::Json { place, reason: format!("{key} must be {expected}") }
}
