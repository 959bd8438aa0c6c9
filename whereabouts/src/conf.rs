//! The network's `ipam` object, completed by the node's flat file.
//!
//! Both are read as Go's `encoding/json` reads them (keys in any case, the later one wins, `null` is absent, unknown
//! keys do not matter), and merged as the original merges them: what is empty, zero or false in the network's
//! configuration is taken from the flat file.
//!
//! Two things differ on purpose. A network's configuration is written by people who should not be root on the
//! nodes: it cannot make a plugin write a log file or wait, and the files it names must lie in a CNI configuration
//! directory. And `range_start` and `range_end` that are not used are reported in [`Conf::warnings`].

mod raw;
pub mod request;

use std::fmt;
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use cni::result::{Dns, Route};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ip::{self, CidrError};
use crate::range::{Bound, RangeError, RangeSpec};
use crate::slices::{SliceError, SliceSize};
use raw::Raw;

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

/// How much to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LogLevel {
    /// Only what ends the program.
    Panic,
    /// Errors.
    Error,
    /// What is done.
    Verbose,
    /// Everything; the default.
    #[default]
    Debug,
}

/// May two pools give out the same address?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OverlappingRanges {
    /// No: ranges may overlap and each address is still given once (`enable_overlapping_ranges: true`, the default).
    Protected,
    /// Yes: each pool stands for itself.
    Separate,
}

/// An address that is given as configured, without a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticAddress {
    /// The address with its prefix length.
    pub address: IpNet,
    /// Its gateway.
    pub gateway: Option<IpAddr>,
}

/// A flat file as it was read.
#[derive(Debug, Clone, Copy)]
pub struct FlatFile<'a> {
    /// Where it is, for messages.
    pub path: &'a Path,
    /// What is in it: the `ipam` object itself.
    pub bytes: &'a [u8],
}

/// A network's configuration, not yet completed by the flat file.
#[derive(Debug, Clone)]
pub struct Network {
    name: String,
    cni_version: String,
    raw: Raw,
}

impl Network {
    /// Reads the configuration that a plugin gets on standard input.
    ///
    /// # Errors
    /// [`ConfError::NoIpam`], [`ConfError::OtherIpam`], [`ConfError::Json`], [`ConfError::ForbiddenPath`].
    pub fn parse(conf: &Map<String, Value>) -> Result<Self, ConfError> {
        let head = Head::of(conf)?;
        Self::of(head.name, head.cni_version, head.ipam)
    }

    /// Reads the configuration in a NetworkAttachmentDefinition, which may be a list of plugins: then the first
    /// whose IPAM is whereabouts counts, with the list's name and version.
    ///
    /// # Errors
    /// As for [`Network::parse`]; what is wrong with the first plugin if none is whereabouts'.
    pub fn parse_nad(config: &Map<String, Value>) -> Result<Self, ConfError> {
        let list = Head::of(config)?;
        let plugins = match list.plugins {
            Some(Value::Array(plugins)) if !list.has_type => plugins,
            _ => return Self::of(list.name, list.cni_version, list.ipam),
        };
        let mut first_error = None;
        for plugin in plugins.iter().filter_map(Value::as_object) {
            match Self::of(list.name.clone(), list.cni_version.clone(), Head::of(plugin)?.ipam) {
                Err(error @ (ConfError::NoIpam | ConfError::OtherIpam(_))) => {
                    first_error.get_or_insert(error);
                }
                found => return found,
            }
        }
        Err(first_error.unwrap_or(ConfError::NoIpam))
    }

    fn of(name: String, cni_version: String, ipam: Option<Value>) -> Result<Self, ConfError> {
        let Some(ipam) = ipam else { return Err(ConfError::NoIpam) };
        let Value::Object(ipam) = ipam else { return Err(wrong_type(Place::Network, "ipam", "an object")) };
        let raw = Raw::parse(&ipam, Place::Network)?;
        if raw.plugin_type != "whereabouts" {
            return Err(ConfError::OtherIpam(raw.plugin_type));
        }
        check_path("configuration_path", &raw.configuration_path)?;
        check_path("kubernetes.kubeconfig", &raw.kubeconfig)?;
        Ok(Self { name, cni_version, raw })
    }

    /// Where the network wants the flat file to be looked for first: a file, or a directory with
    /// `whereabouts.conf` in it.
    pub fn configuration_path(&self) -> Option<&Path> {
        (!self.raw.configuration_path.is_empty()).then(|| Path::new(&self.raw.configuration_path))
    }

    /// Fills what is empty from the flat file and checks the whole.
    ///
    /// # Errors
    /// [`ConfError`].
    pub fn complete(self, flat: Option<FlatFile<'_>>) -> Result<Conf, ConfError> {
        let flat = flat.ok_or(ConfError::NoFlatFile)?;
        let place = || Place::FlatFile(flat.path.to_owned());
        let object = cni::json::parse_object(flat.bytes)
            .map_err(|error| ConfError::Json { place: place(), reason: error.to_string() })?;
        let merged = self.raw.completed_by(Raw::parse(&object, place())?);
        Conf::resolve(self.name, self.cni_version, merged)
    }
}

/// What is needed of a configuration around `ipam`.
struct Head {
    name: String,
    cni_version: String,
    ipam: Option<Value>,
    plugins: Option<Value>,
    has_type: bool,
}

impl Head {
    fn of(conf: &Map<String, Value>) -> Result<Self, ConfError> {
        let mut conf = conf.clone();
        cni::json::fold_keys(&mut conf, &["name", "cniVersion", "type", "ipam", "plugins"]);
        let text = |key: &'static str| match conf.get(key) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(wrong_type(Place::Network, key, "a string")),
        };
        let (name, cni_version) = (text("name")?, text("cniVersion")?);
        let has_type = !text("type")?.is_empty();
        Ok(Self { name, cni_version, has_type, ipam: conf.remove("ipam"), plugins: conf.remove("plugins") })
    }
}

fn wrong_type(place: Place, key: &str, expected: &str) -> ConfError {
    ConfError::Json { place, reason: format!("{key} must be {expected}") }
}

/// A path is judged by its text; what lies in these directories was put there by root.
fn check_path(key: &'static str, text: &str) -> Result<(), ConfError> {
    let path = Path::new(text);
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if text.is_empty() || (plain && CONF_DIRS.iter().any(|dir| path.starts_with(dir))) {
        return Ok(());
    }
    Err(ConfError::ForbiddenPath { key, path: text.escape_debug().to_string() })
}

/// Everything there is to know for giving addresses on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conf {
    /// The network's name, from around `ipam`.
    pub name: String,
    /// The CNI version of the configuration, as written.
    pub cni_version: String,
    /// Networks with different names may use the same addresses.
    pub network_name: Option<String>,
    /// One address is given from each, in this order.
    pub ranges: Vec<RangeSpec>,
    /// Given besides.
    pub addresses: Vec<StaticAddress>,
    /// The gateway of every address that comes from a range, of whichever family.
    pub gateway: Option<IpAddr>,
    /// Passed on.
    pub routes: Vec<Route>,
    /// Passed on.
    pub dns: Dns,
    /// May pools give out the same address?
    pub overlapping: OverlappingRanges,
    /// Each node has its own slices of this size.
    pub slice_size: Option<SliceSize>,
    /// Credentials for asking the API server.
    pub kubeconfig: Option<PathBuf>,
    /// A file, or a directory, beside which the `nodename` file is.
    pub configuration_path: Option<PathBuf>,
    /// How much to log.
    pub log_level: LogLevel,
    /// When the reclaimer makes a full sweep, as a cron expression.
    pub reconciler_cron: Option<String>,
    /// What to log.
    pub warnings: Vec<Warning>,
}

impl Conf {
    fn resolve(name: String, cni_version: String, raw: Raw) -> Result<Self, ConfError> {
        let mut warnings = raw.warnings.clone();
        let ranges = raw.ranges()?;
        for range in &ranges {
            let ignored = range.window().ignored;
            warnings.extend(ignored.into_iter().map(|bound| Warning::OutsideRange { bound, net: range.net }));
        }
        let log_level = log_level(&raw.log_level, &mut warnings);
        let gateway = parse_gateway(&raw.gateway)?;
        let addresses = raw.static_addresses()?;
        check_one_per_family(&cni_version, &addresses)?;
        let slice_size = text(raw.node_slice_size).map(|size| SliceSize::parse(&size)).transpose()?;
        Ok(Self {
            name,
            cni_version,
            network_name: text(raw.network_name),
            ranges,
            addresses,
            gateway,
            routes: raw.routes,
            dns: raw.dns,
            overlapping: raw.overlapping,
            slice_size,
            kubeconfig: text(raw.kubeconfig).map(PathBuf::from),
            configuration_path: text(raw.configuration_path).map(PathBuf::from),
            log_level,
            reconciler_cron: text(raw.reconciler_cron_expression),
            warnings,
        })
    }

    /// The kubeconfig, for who must ask the API server itself.
    ///
    /// # Errors
    /// [`ConfError::NoKubeconfig`].
    pub fn kubeconfig(&self) -> Result<&Path, ConfError> {
        self.kubeconfig.as_deref().ok_or(ConfError::NoKubeconfig)
    }
}

/// CNI up to 0.2.0 has room for one address of each family.
fn check_one_per_family(cni_version: &str, addresses: &[StaticAddress]) -> Result<(), ConfError> {
    let v4 = addresses.iter().filter(|a| a.address.addr().is_ipv4()).count();
    if (v4 > 1 || addresses.len() - v4 > 1) && matches!(cni_version, "" | "0.1.0" | "0.2.0") {
        return Err(ConfError::TooManyAddresses(cni_version.to_owned()));
    }
    Ok(())
}

fn parse_gateway(text: &str) -> Result<Option<IpAddr>, ConfError> {
    if text.is_empty() {
        return Ok(None);
    }
    ip::parse_sloppy(text).map(Some).ok_or_else(|| ConfError::Gateway(text.escape_debug().to_string()))
}

fn log_level(text: &str, warnings: &mut Vec<Warning>) -> LogLevel {
    match text.to_ascii_lowercase().as_str() {
        "" | "debug" => LogLevel::Debug,
        "verbose" => LogLevel::Verbose,
        "error" => LogLevel::Error,
        "panic" => LogLevel::Panic,
        _ => {
            warnings.push(Warning::LogLevel(text.escape_debug().to_string()));
            LogLevel::Debug
        }
    }
}

/// `None` for the empty text.
fn text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests;
