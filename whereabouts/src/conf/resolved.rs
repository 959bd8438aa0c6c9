//! A network's configuration, merged with the flat file and validated.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cni::result::{Dns, Route};

use super::error::{ConfError, Warning};
use super::raw::Raw;
use super::settings::{OverlappingRanges, StaticAddress};
use crate::addr::ip;
use crate::addr::range::RangeSpec;
use crate::addr::slices::SliceSize;

/// The configuration of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conf {
    /// The key `name` outside `ipam`.
    pub name: String,
    /// The key `cniVersion` outside `ipam`, as written.
    pub cni_version: String,
    /// Networks with different `network_name`s may use the same addresses.
    pub network_name: Option<String>,
    /// An interface gets one address from each, in this order.
    pub ranges: Vec<RangeSpec>,
    /// Addresses that every interface gets besides.
    pub addresses: Vec<StaticAddress>,
    /// The gateway of every address from a range, of either family.
    pub gateway: Option<IpAddr>,
    /// Routes, copied into the result.
    pub routes: Vec<Route>,
    /// DNS settings, copied into the result.
    pub dns: Dns,
    /// Whether two pools may allocate the same address.
    pub overlapping: OverlappingRanges,
    /// The size of the nodes' slices, if the ranges are divided among the nodes.
    pub slice_size: Option<SliceSize>,
    /// Credentials for the API server.
    pub kubeconfig: Option<PathBuf>,
    /// The flat file or its directory. The file `nodename` is in the same directory.
    pub configuration_path: Option<PathBuf>,
    /// Warnings to log.
    pub warnings: Vec<Warning>,
}

impl Conf {
    pub(super) fn resolve(name: String, cni_version: String, raw: Raw) -> Result<Self, ConfError> {
        let mut warnings = raw.warnings.clone();
        let mut ranges = raw.ranges()?;
        for range in &ranges {
            let ignored = range.window().ignored;
            warnings.extend(ignored.into_iter().map(|bound| Warning::OutsideRange { bound, net: range.net }));
        }
        let gateway = parse_gateway(&raw.gateway)?;
        if let Some(gateway) = gateway {
            keep_free(&mut ranges, gateway);
        }
        let addresses = raw.static_addresses()?;
        check_one_per_family(&cni_version, &addresses)?;
        let slice_size = text(raw.node_slice_size).map(|size| SliceSize::parse(&size)).transpose()?;
        if ranges.is_empty() && addresses.is_empty() {
            return Err(ConfError::NoRange);
        }
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
            warnings,
        })
    }

    /// The kubeconfig, for a caller that needs one.
    ///
    /// # Errors
    /// [`ConfError::NoKubeconfig`].
    pub fn kubeconfig(&self) -> Result<&Path, ConfError> {
        self.kubeconfig.as_deref().ok_or(ConfError::NoKubeconfig)
    }
}

/// Excludes the gateway from the ranges that contain it: a pod with the address of the gateway would cut off all others. (Whereabouts gives it
/// to a pod.) A pod that holds it already keeps it, because excludes apply to new addresses only.
fn keep_free(ranges: &mut [RangeSpec], gateway: IpAddr) {
    for range in ranges.iter_mut().filter(|range| range.net.contains(&gateway)) {
        range.excludes.push(ip::text(gateway));
    }
}

/// The result of CNI up to 0.2.0 has one address of each family.
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

/// `None` for the empty text.
fn text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
