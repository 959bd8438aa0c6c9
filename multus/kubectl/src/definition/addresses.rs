//! The addresses of a whereabouts network, by its own reader.

use std::net::IpAddr;
use std::path::Path;

use serde_json::{Map, Value};
use whereabouts::addr::range::RangeSpec;
use whereabouts::addr::slices::Slices;
use whereabouts::conf::{Conf, ConfError, FlatFile, Network};
use whereabouts::pool::range_pool::Pool;
use whereabouts::pool::request::PoolRequest;

use super::model::DefinedPool;
use super::report::Report;

/// A warning about an `ipam` without a type.
pub(super) fn check_missing_type(conf: &Map<String, Value>, report: &mut Report<'_>) {
    let has_keys = conf.get("ipam").and_then(Value::as_object).is_some_and(|ipam| !ipam.is_empty());
    if has_keys {
        report.warn(
            "ipam has no \"type\", so that the plugin assigns no addresses",
            "add \"type\": \"whereabouts\", or remove ipam",
        );
    }
}

/// Checks the configuration of a plugin whose IPAM type is whereabouts, and returns its pools.
pub(super) fn whereabouts(conf: &Map<String, Value>, report: &mut Report<'_>) -> Vec<DefinedPool> {
    // The flat file of the nodes may complete a network; it is not known here, and usually has credentials only.
    let flat = FlatFile { path: Path::new("whereabouts.conf"), bytes: b"{}" };
    let read = Network::parse(conf).and_then(|network| network.complete(Some(flat)));
    let conf = match read {
        Ok(conf) => conf,
        Err(error @ ConfError::NoRange) => {
            report.error(error, "or write the range into the flat file of every node");
            return Vec::new();
        }
        Err(error) => {
            report.error(error, "correct ipam");
            return Vec::new();
        }
    };
    conf.warnings.iter().for_each(|warning| report.warn(warning, ""));
    check_gateways(&conf, report);
    check_fixed(&conf, report);
    conf.ranges.iter().filter_map(|range| pool(&conf, range, report)).collect()
}

fn pool(conf: &Conf, range: &RangeSpec, report: &mut Report<'_>) -> Option<DefinedPool> {
    let (network, overlapping) = (conf.network_name.clone(), conf.overlapping);
    let request = PoolRequest { range: range.clone(), network: network.clone(), overlapping, slice: None };
    let pool = match Pool::of(&request, None) {
        Ok(pool) => pool,
        Err(error) => {
            report.error(error, "correct ipam");
            return None;
        }
    };
    if let Some(size) = conf.slice_size
        && let Err(error) = Slices::of(range.net, size)
    {
        report.error(error, "correct node_slice_size, or the range");
        return None;
    }
    if pool.free.size() == 0 {
        report.error(
            format!(
                "no address can be allocated from {}: start, end, excludes and the gateway leave none",
                range.net
            ),
            "enlarge the range, or exclude less",
        );
    }
    let name = match conf.slice_size {
        None => pool.name.to_string(),
        Some(_) => conf.network_name.as_ref().unwrap_or(&conf.name).clone(),
    };
    let slice_size = conf.slice_size.map(|size| size.prefix_len());
    Some(DefinedPool { name, network, overlapping, slice_size, addresses: pool.free, gateway: conf.gateway })
}

fn check_gateways(conf: &Conf, report: &mut Report<'_>) {
    let is_reachable = |ip: IpAddr| {
        let fixed = conf.addresses.iter().map(|address| address.address);
        conf.ranges.iter().map(|range| range.net).chain(fixed).any(|net| net.contains(&ip))
    };
    if let Some(gateway) = conf.gateway.filter(|gateway| !is_reachable(*gateway)) {
        report.warn(
            format!("gateway {gateway} is in none of the network's ranges, so that pods cannot reach it"),
            "correct the gateway, or the range",
        );
    }
    for route in &conf.routes {
        if let Some(gw) = route.gw.filter(|gw| !is_reachable(*gw)) {
            report.warn(
                format!(
                    "the route to {} has the gateway {gw}, which is in none of the network's ranges",
                    route.dst
                ),
                "correct \"gw\" of the route, or the range",
            );
        }
    }
}

fn check_fixed(conf: &Conf, report: &mut Report<'_>) {
    for fixed in &conf.addresses {
        report.warn(
            format!("every pod of this network gets {}: \"addresses\" are not claimed, so a second pod has the same", fixed.address),
            "use \"range\", unless only one pod uses the network",
        );
    }
}
