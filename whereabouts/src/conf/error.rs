//! Errors and warnings of a configuration.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::addr::ip::CidrError;
use crate::addr::range::{Bound, RangeError};
use crate::addr::slices::SliceError;

/// The directories in which a network's configuration may name files: the CNI configuration directories of the distributions. A pod sees
/// the host's below `/host`.
pub const CONF_DIRS: &[&str] = &[
    "/etc/cni/net.d",
    "/etc/kubernetes/cni/net.d",
    "/host/etc/cni/net.d",
    "/var/lib/rancher/k3s/agent/etc/cni/net.d",
];

/// An invalid configuration. Texts that tools match on are Whereabouts'. No text quotes a whole configuration: it may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfError {
    /// There is no `ipam` object: the network has no addresses.
    #[error("IPAM config missing 'ipam' key")]
    NoIpam,
    /// The network uses another IPAM plugin.
    #[error("only interested in networks whose IPAM type is 'whereabouts'. This one was: {0}")]
    OtherIpam(String),
    /// Invalid JSON, or a value of the wrong type.
    #[error("{file} - JSON Parsing Error: {reason}")]
    Json {
        /// The document.
        file: JsonFile,
        /// The parse error.
        reason: String,
    },
    /// This node has no flat file.
    #[error(
        "config file not found; it is /etc/cni/net.d/whereabouts.d/whereabouts.conf, which the whereabouts DaemonSet writes, or the file in ipam.configuration_path"
    )]
    NoFlatFile,
    /// A network's configuration names a file outside [`CONF_DIRS`]. Users write these configurations, and the plugin reads files as root.
    #[error("ipam.{key} \"{path}\" is not in one of {}; a network's configuration may name files there only", CONF_DIRS.join(", "))]
    ForbiddenPath {
        /// The key.
        key: &'static str,
        /// The path, escaped.
        path: String,
    },
    /// There is neither a kubeconfig nor a daemon.
    #[error(
        "you have not configured the storage engine (looks like you're using an invalid `kubernetes.kubeconfig` parameter in your config), \
         and no whereabouts-daemon answers; start the daemon, or set the parameter"
    )]
    NoKubeconfig,
    /// An invalid range.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// An invalid `gateway`.
    #[error("couldn't parse gateway IP: {0}")]
    Gateway(String),
    /// An invalid element of `addresses`.
    #[error("invalid CIDR in addresses {text}: {source}")]
    Address {
        /// The text.
        text: String,
        /// The parse error.
        source: CidrError,
    },
    /// An invalid `node_slice_size`.
    #[error(transparent)]
    SliceSize(#[from] SliceError),
    /// The result of CNI 0.1.0 and 0.2.0 has one address of each family.
    #[error("CNI version {0} does not support more than 1 address per family")]
    TooManyAddresses(String),
    /// An invalid requested address in `CNI_ARGS`, `runtimeConfig.ips` or `args.cni.ips`.
    #[error("invalid CIDR {text}: {source}")]
    RequestedAddress {
        /// The text.
        text: String,
        /// The parse error.
        source: CidrError,
    },
    /// A requested address is in no range and has no prefix length. With one it would be assigned without a claim.
    #[error(
        "requested address {ip} is in none of the network's ranges ({ranges}); request an address inside one of them"
    )]
    RequestedOutside {
        /// The address.
        ip: IpAddr,
        /// The ranges.
        ranges: String,
    },
    /// A requested address that no pod can have.
    #[error("requested address {ip} cannot be assigned: {reason}; request another address")]
    RequestedUnusable {
        /// The address.
        ip: IpAddr,
        /// Why not.
        reason: &'static str,
    },
    /// The network gives no address at all.
    #[error(
        "ipam has neither \"range\" nor \"ipRanges\" nor \"addresses\", so a pod gets no address; add \"range\", for example \"10.0.0.0/24\""
    )]
    NoRange,
    /// The network has no range of the families that the pod chooses.
    #[error(
        "the pod chooses the address family {wanted} (ipFamilies), but no range of the network has it; choose another, or none for all"
    )]
    NoSuchFamily {
        /// The family.
        wanted: &'static str,
    },
    /// An invalid `GATEWAY` in `CNI_ARGS`.
    #[error("invalid gateway address: {0}")]
    RequestedGateway(String),
}

/// A JSON document that was read. It is displayed with the words that Whereabouts' errors begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonFile {
    /// The network's configuration.
    Network,
    /// The flat file at this path.
    FlatFile(PathBuf),
}

impl fmt::Display for JsonFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network => f.write_str("LoadIPAMConfig"),
            Self::FlatFile(path) => write!(f, "LoadIPAMConfig Flatfile ({})", path.display()),
        }
    }
}

/// A warning to log: the configuration works, but perhaps not as its author expects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// A key of Whereabouts that has no effect here.
    #[error(
        "ipam.{0} has no effect: there is one log, on standard error, no sleep for races, no lease for each call and no schedule of the reconciler; remove the key"
    )]
    Ignored(&'static str),
    /// A key of the IPAM plugin host-local.
    #[error("ipam.{key} is a key of host-local and has no effect here: use \"{instead}\"")]
    ForeignKey {
        /// The key.
        key: &'static str,
        /// The key that was probably meant.
        instead: &'static str,
    },
    /// `range_start` or `range_end` is not an address.
    #[error("ipam.{key} \"{text}\" is not an IP address and is ignored; correct or remove it")]
    NotAnAddress {
        /// The key.
        key: &'static str,
        /// The text, escaped.
        text: String,
    },
    /// `range_start` or `range_end` is outside the range, or the end is below the start.
    #[error("{bound} is not a usable address of {net}, or range_end is below range_start: it is ignored")]
    OutsideRange {
        /// The ignored bound.
        bound: Bound,
        /// The range.
        net: IpNet,
    },
}

/// The error for a value that has another type than `expected`.
pub(super) fn wrong_type(file: JsonFile, key: &str, expected: &str) -> ConfError {
    ConfError::Json { file, reason: format!("{key} must be {expected}") }
}
