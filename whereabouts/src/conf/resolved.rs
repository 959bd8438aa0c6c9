//! A network's configuration, completed and checked.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cni::result::{Dns, Route};

use super::error::{ConfError, Warning};
use super::raw::Raw;
use super::settings::{LogLevel, OverlappingRanges, StaticAddress};
use crate::addr::ip;
use crate::addr::range::RangeSpec;
use crate::addr::slices::SliceSize;

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
    pub(super) fn resolve(name: String, cni_version: String, raw: Raw) -> Result<Self, ConfError> {
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
pub(super) fn check_one_per_family(cni_version: &str, addresses: &[StaticAddress]) -> Result<(), ConfError> {
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
