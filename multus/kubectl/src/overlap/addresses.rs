//! Pools of two definitions that have addresses in common.

use std::net::IpAddr;

use whereabouts::addr::range::Allocatable;
use whereabouts::conf::OverlappingRanges;

use super::masters::{SameWire, same_wire};
use crate::definition::{DefinedPool, Definition};
use crate::finding::{Finding, Severity};

/// The findings about the pools of two definitions.
pub(super) fn between(one: &Definition, other: &Definition) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |severity, (message, remedy): (String, &str)| {
        findings.push(Finding::new(severity, &[&one.name, &other.name], message, remedy));
    };
    for a in &one.pools {
        for b in &other.pools {
            let pair = Pair { one, a, other, b };
            if a.name == b.name && a.slice_size.is_some() == b.slice_size.is_some() {
                pair.in_one_pool().into_iter().for_each(|found| add(Severity::Warning, found));
            } else if let Some(found) = pair.same_address() {
                // Ranges of different wires may be equal.
                let severity = match same_wire(one, other) {
                    SameWire::Perhaps => Severity::Warning,
                    SameWire::Unlikely => Severity::Note,
                };
                add(severity, found);
            }
            pair.gateways().into_iter().for_each(|found| add(Severity::Warning, found));
        }
    }
    findings
}

/// Two pools of two definitions.
struct Pair<'a> {
    one: &'a Definition,
    a: &'a DefinedPool,
    other: &'a Definition,
    b: &'a DefinedPool,
}

impl Pair<'_> {
    /// What differs between two uses of one pool.
    fn in_one_pool(&self) -> Vec<(String, &'static str)> {
        let Pair { one, a, other, b } = self;
        let mut found = Vec::new();
        if a.slice_size.is_some() && (a.range(), a.slice_size) != (b.range(), b.slice_size) {
            let of = |pool: &DefinedPool| {
                format!("{} in slices of /{}", pool.range(), pool.slice_size.unwrap_or_default())
            };
            found.push((
                format!(
                    "both use the NodeSlicePool {:?}, one for {} and the other for {}",
                    a.name,
                    of(a),
                    of(b)
                ),
                "give them different names (network_name), or the same range and node_slice_size",
            ));
            return found;
        }
        if window(&a.addresses) != window(&b.addresses) || excludes(a) != excludes(b) {
            found.push((
                format!(
                    "both take addresses from pool {:?}, but {} from {} and {} from {}",
                    a.name,
                    one.name,
                    shown(&a.addresses),
                    other.name,
                    shown(&b.addresses)
                ),
                "no address is given twice; if their pods must not mix, use ranges that do not overlap",
            ));
        }
        if a.overlapping != b.overlapping {
            found.push((
                format!("both take addresses from pool {:?}, but enable_overlapping_ranges is true in one and false in the other", a.name),
                "set it to the same value; until then each address costs one more request",
            ));
        }
        found
    }

    /// Why two pods can get the same address, if they can.
    fn same_address(&self) -> Option<(String, &'static str)> {
        let Pair { one, a, other, b } = self;
        let (first, last) = common(&a.addresses, &b.addresses)?;
        let addresses =
            if first == last { format!("address {first}") } else { format!("addresses {first} to {last}") };
        let message = |why: String| {
            format!(
                "{} and {} both give the {addresses}, so that two pods can have the same: {why}",
                one.name, other.name
            )
        };
        if a.network != b.network {
            let name = |network: &Option<String>| {
                network.as_ref().map_or("none".to_owned(), |name| format!("{name:?}"))
            };
            return Some((
                message(format!("their network_name differs ({}, {})", name(&a.network), name(&b.network))),
                "on one wire, give both the same network_name or ranges that do not overlap; on different wires this is right",
            ));
        }
        let separate: Vec<&str> = [(one, a), (other, b)]
            .into_iter()
            .filter(|(_, pool)| pool.overlapping == OverlappingRanges::Separate)
            .map(|(definition, _)| definition.name.as_str())
            .collect();
        if separate.is_empty() {
            return None;
        }
        Some((
            message(format!("enable_overlapping_ranges is false in {}", separate.join(" and "))),
            "on one wire, set enable_overlapping_ranges to true or use ranges that do not overlap; on different wires this is right",
        ))
    }

    /// A gateway of one that the other may give to a pod.
    fn gateways(&self) -> Vec<(String, &'static str)> {
        let Pair { one, a, other, b } = self;
        let taken = |of: &Definition, gateway: Option<IpAddr>, by: &Definition, pool: &DefinedPool| {
            let gateway = gateway.filter(|gateway| pool.addresses.contains(*gateway))?;
            Some((
                format!(
                    "{} may give a pod the address {gateway}, which is the gateway of {}",
                    by.name, of.name
                ),
                "set the same gateway in both, or exclude it",
            ))
        };
        [taken(one, a.gateway, other, b), taken(other, b.gateway, one, a)].into_iter().flatten().collect()
    }
}

fn window(addresses: &Allocatable) -> (IpAddr, IpAddr) {
    (addresses.first(), addresses.last())
}

/// The excludes, without the gateway, which a pool excludes by itself.
fn excludes(pool: &DefinedPool) -> Vec<&str> {
    let gateway = pool.gateway.map(|gateway| gateway.to_string());
    let mut excludes: Vec<&str> = pool.addresses.excludes().iter().map(String::as_str).collect();
    excludes.retain(|exclude| Some(*exclude) != gateway.as_deref());
    excludes.sort_unstable();
    excludes.dedup();
    excludes
}

fn shown(addresses: &Allocatable) -> String {
    format!("{} to {} ({} addresses)", addresses.first(), addresses.last(), addresses.size())
}

/// The first and the last address that both windows have.
fn common(a: &Allocatable, b: &Allocatable) -> Option<(IpAddr, IpAddr)> {
    let (first, last) = (a.first().max(b.first()), a.last().min(b.last()));
    // IPv4 is less than IPv6 in this order, so that windows of two families have nothing in common.
    (a.first().is_ipv4() == b.first().is_ipv4() && first <= last).then_some((first, last))
}
