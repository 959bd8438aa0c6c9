//! What pools and reservations say before and after the change over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;
use whereabouts::conf::OverlappingRanges;
use whereabouts::crd::ip_pool::Pool as IpPool;
use whereabouts::crd::reservation::{Reservation, label};
use whereabouts::pool::claim_reader::ClaimNameReader;

use crate::definition::Definition;
use crate::pools::{HeldBy, PoolUse, gather};

/// The addresses of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// The number of IPPools.
    pub pools: usize,
    /// The number of their entries.
    pub entries: usize,
    /// The number of OverlappingRangeIPReservations.
    pub reservations: usize,
}

/// The addresses by namespace.
pub fn by_namespace(pools: &[IpPool], claims: &[Reservation]) -> BTreeMap<String, Addresses> {
    let mut all: BTreeMap<String, Addresses> = BTreeMap::new();
    for pool in pools {
        let addresses = all.entry(pool.metadata.namespace.clone().unwrap_or_default()).or_default();
        addresses.pools += 1;
        addresses.entries += pool.spec.allocations.len();
    }
    for claim in claims {
        all.entry(claim.metadata.namespace.clone().unwrap_or_default()).or_default().reservations += 1;
    }
    all
}

/// The addresses of entries that have no claim yet, as `<pool>: <address>`. Until the leader has made the claims, only the entries hold them.
pub fn without_claim(pools: &[IpPool], claims: &[Reservation], definitions: &[Definition]) -> Vec<String> {
    let entries = |pool: PoolUse| -> Vec<String> {
        let held = pool.holders.iter().filter(|holder| holder.held_by == HeldBy::Entry);
        held.map(|holder| format!("{}/{}: {}", pool.namespace, pool.name, holder.address)).collect()
    };
    gather(pools, claims, definitions).into_iter().flat_map(entries).collect()
}

/// The addresses of claims that have no entry in their IPPool yet, as `<pool>: <address>`. Whereabouts reads the entries: without one it would
/// take the address as free, in a network with `enable_overlapping_ranges: false`, and its reconciler would delete the claim.
pub fn without_entry(pools: &[IpPool], claims: &[Reservation]) -> Vec<String> {
    let mut by_name: BTreeMap<(&str, String), BTreeSet<IpAddr>> = BTreeMap::new();
    for pool in pools {
        let name = pool.metadata.name.clone().unwrap_or_default();
        let addresses: BTreeSet<IpAddr> = pool.entries().into_iter().map(|(_, address, _)| address).collect();
        let namespace = pool.metadata.namespace.as_deref().unwrap_or_default();
        // A claim may have only the label, whose value is cut.
        by_name.insert((namespace, label(&name)), addresses.clone());
        by_name.insert((namespace, name), addresses);
    }
    let missing = |claim: &Reservation| {
        // Whereabouts wrote the entry of its own claim itself.
        let (pool, range) = (claim.pool()?.to_owned(), claim.range()?);
        let address = ClaimNameReader::of(&pool, &range).address(claim.metadata.name.as_deref()?)?;
        let namespace = claim.metadata.namespace.as_deref().unwrap_or_default();
        let there = by_name.get(&(namespace, pool.clone())).is_some_and(|entries| entries.contains(&address));
        (!there).then(|| format!("{namespace}/{pool}: {address}"))
    };
    claims.iter().filter_map(missing).collect()
}

/// An address that two pods have, by these objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The address.
    pub address: IpAddr,
    /// Who has it, as `<pod> (<object>)`.
    pub holders: Vec<String>,
}

/// Addresses that two pods have: in entries of two pools that may not share an address, or in an entry and in a reservation.
pub fn clashes(pools: &[IpPool], claims: &[Reservation], definitions: &[Definition]) -> Vec<Clash> {
    let mut holders: BTreeMap<(String, String, IpAddr), BTreeMap<String, String>> = BTreeMap::new();
    for pool in pools {
        let Ok(range) = pool.spec.range.parse::<IpNet>() else { continue };
        let name = pool.metadata.name.clone().unwrap_or_default();
        let namespace = pool.metadata.namespace.clone().unwrap_or_default();
        let shown = format!("IPPool {namespace}/{name}");
        let sharing = sharing(&name, &range, definitions);
        let reader = ClaimNameReader::of(&name, &range);
        let entries: Vec<_> = pool.entries();
        for (_, address, entry) in &entries {
            // What the leader of ours wrote follows the claims.
            if entry.podref.is_empty() || entry.via.is_some() {
                continue;
            }
            let key = (namespace.clone(), sharing.clone(), *address);
            holders.entry(key).or_default().entry(entry.podref.clone()).or_insert_with(|| shown.clone());
        }
        let own: BTreeSet<IpAddr> = entries.iter().map(|(_, address, _)| *address).collect();
        for claim in claims {
            let in_namespace = claim.metadata.namespace.as_deref() == Some(namespace.as_str());
            // A claim that states a pool is ours, and the entries follow it after a moment. One of Whereabouts is of all pools that may not
            // share an address.
            let of_pool = claim.pool().is_none() && sharing.starts_with(PROTECTED);
            let claim_name = claim.metadata.name.as_deref().unwrap_or_default();
            let address = reader.address(claim_name).filter(|address| own.contains(address));
            let (Some(address), true) = (address, in_namespace && of_pool && !claim.spec.podref.is_empty())
            else {
                continue;
            };
            let key = (namespace.clone(), sharing.clone(), address);
            let object = format!("OverlappingRangeIPReservation {namespace}/{claim_name}");
            holders.entry(key).or_default().entry(claim.spec.podref.clone()).or_insert(object);
        }
    }
    let twice = holders.into_iter().filter(|(_, pods)| pods.len() > 1);
    let shown = |pods: BTreeMap<String, String>| {
        pods.into_iter().map(|(pod, object)| format!("{pod} ({object})")).collect()
    };
    twice.map(|((_, _, address), pods)| Clash { address, holders: shown(pods) }).collect()
}

/// How the name of a group of pools begins that may not share an address.
const PROTECTED: &str = "network ";

/// Pools with the same text may not share an address: all of a network name, unless all definitions of a pool allow it.
fn sharing(name: &str, range: &IpNet, definitions: &[Definition]) -> String {
    let mut uses = definitions
        .iter()
        .flat_map(|definition| &definition.pools)
        .filter(|pool| pool.name == name)
        .peekable();
    if uses.peek().is_some() && uses.all(|pool| pool.overlapping == OverlappingRanges::Separate) {
        return format!("pool {name}");
    }
    let range = range.to_string().replace([':', '/'], "-");
    format!("{PROTECTED}{}", name.strip_suffix(&range).unwrap_or(name))
}
