//! From objects to pools and holders.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use whereabouts::addr::range::{Allocatable, RangeSpec};
use whereabouts::crd::ip_pool::Pool as IpPool;
use whereabouts::crd::reservation::{LABEL_NODE, Reservation, label};
use whereabouts::pool::claim_reader::ClaimNameReader;

use super::model::{HeldBy, Holder, PoolUse, Window};
use crate::definition::{DefinedPool, Definition};

/// The pools of these objects, sorted by namespace and name. Claims that belong to no known pool come last in their namespace, with an empty
/// name.
pub fn gather(pools: &[IpPool], claims: &[Reservation], definitions: &[Definition]) -> Vec<PoolUse> {
    let mut found = found_pools(pools, claims);
    for claim in claims {
        let namespace = claim.metadata.namespace.clone().unwrap_or_default();
        let places = places_of(claim, &namespace, &found);
        for name in places {
            let pool = found.entry((namespace.clone(), name)).or_default();
            let held = held(claim, pool);
            pool.held.push(held);
        }
    }
    for pool in pools {
        add_entries(pool, &mut found);
    }
    let mut uses: Vec<PoolUse> =
        found.into_iter().map(|(key, pool)| pool.into_use(key, definitions)).collect();
    uses.sort_by(|a, b| {
        (&a.namespace, a.name.is_empty(), &a.name).cmp(&(&b.namespace, b.name.is_empty(), &b.name))
    });
    uses
}

type Key = (String, String);

/// A pool while its claims are collected.
#[derive(Default)]
struct Found {
    name: String,
    range: Option<IpNet>,
    held: Vec<(Option<IpAddr>, Holder)>,
}

/// The pools that have an IPPool, and those that only a claim names: the leader has not written their IPPool yet.
fn found_pools(pools: &[IpPool], claims: &[Reservation]) -> BTreeMap<Key, Found> {
    let mut found = BTreeMap::new();
    for pool in pools {
        let name = pool.metadata.name.clone().unwrap_or_default();
        let key = (pool.metadata.namespace.clone().unwrap_or_default(), name.clone());
        found.insert(key, Found { name, range: pool.spec.range.parse().ok(), held: Vec::new() });
    }
    for claim in claims {
        if let (Some(name), Some(range)) = (claim.pool(), claim.range()) {
            let key = (claim.metadata.namespace.clone().unwrap_or_default(), name.to_owned());
            found.entry(key).or_insert_with(|| Found {
                name: name.to_owned(),
                range: Some(range),
                held: Vec::new(),
            });
        }
    }
    found
}

/// The names of the pools that a claim takes an address from: the one that it states, else all in which its name is that of an address.
fn places_of(claim: &Reservation, namespace: &str, found: &BTreeMap<Key, Found>) -> Vec<String> {
    let pools =
        || found.iter().filter(|((own, _), _)| own == namespace).map(|((_, name), pool)| (name, pool));
    if let Some(stated) = claim.pool() {
        // A claim may have only the label, whose value is cut.
        let of_label = pools().find(|(name, _)| *name == stated || label(name) == stated);
        return vec![of_label.map_or_else(|| stated.to_owned(), |(name, _)| name.clone())];
    }
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    let in_pool =
        |pool: &Found| pool.range.and_then(|range| ClaimNameReader::of(&pool.name, &range).address(name));
    let all: Vec<String> =
        pools().filter(|(_, pool)| in_pool(pool).is_some()).map(|(name, _)| name.clone()).collect();
    if all.is_empty() { vec![String::new()] } else { all }
}

fn held(claim: &Reservation, pool: &Found) -> (Option<IpAddr>, Holder) {
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    let address = pool.range.and_then(|range| ClaimNameReader::of(&pool.name, &range).address(name));
    let node = claim.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_NODE)).cloned();
    let holder = Holder {
        address: address.map_or_else(|| name.to_owned(), |ip| ip.to_string()),
        pod: claim.spec.podref.clone(),
        interface: claim.if_name().to_owned(),
        node: node.unwrap_or_default(),
        since: claim.metadata.creation_timestamp.as_ref().map(|time| time.0),
        held_by: HeldBy::Claim,
    };
    (address, holder)
}

/// Adds the entries that Whereabouts wrote and for which there is no claim. Entries of the leader's view follow the claims, so they say
/// nothing new.
fn add_entries(pool: &IpPool, found: &mut BTreeMap<Key, Found>) {
    let key =
        (pool.metadata.namespace.clone().unwrap_or_default(), pool.metadata.name.clone().unwrap_or_default());
    let Some(found) = found.get_mut(&key) else { return };
    let claimed: BTreeSet<IpAddr> = found.held.iter().filter_map(|(ip, _)| *ip).collect();
    for (_, ip, entry) in pool.entries() {
        if entry.via.is_some() || claimed.contains(&ip) {
            continue;
        }
        let holder = Holder {
            address: ip.to_string(),
            pod: entry.podref.clone(),
            interface: entry.ifname.clone(),
            node: String::new(),
            since: None,
            held_by: HeldBy::Entry,
        };
        found.held.push((Some(ip), holder));
    }
}

impl Found {
    fn into_use(self, (namespace, name): Key, definitions: &[Definition]) -> PoolUse {
        let Found { range, mut held, .. } = self;
        held.sort_by(|(a, one), (b, other)| (a, &one.address).cmp(&(b, &other.address)));
        let used: BTreeSet<IpAddr> = held.iter().filter_map(|(ip, _)| *ip).collect();
        let is_slice = |pool: &DefinedPool| match (pool.slice_size, range) {
            (Some(size), Some(slice)) => slice.prefix_len() == size && pool.range().contains(&slice),
            (Some(_) | None, _) => false,
        };
        let uses = |pool: &DefinedPool| pool.name == name || is_slice(pool);
        let users = || definitions.iter().filter(|definition| definition.pools.iter().any(uses));
        let allowed = users().flat_map(|definition| definition.pools.iter()).filter(|pool| pool.name == name);
        let window = allocatable(range, allowed.map(|pool| &pool.addresses)).map(|addresses| Window {
            first: addresses.first().to_string(),
            last: addresses.last().to_string(),
            size: addresses.size().to_string(),
            free: addresses.size().saturating_sub(addresses.count_used(&used) as u128).to_string(),
        });
        PoolUse {
            networks: users().map(|definition| definition.name.clone()).collect(),
            range: range.map_or_else(String::new, |range| range.to_string()),
            used: held.len(),
            unclaimed: held.iter().filter(|(_, holder)| holder.held_by == HeldBy::Entry).count(),
            holders: held.into_iter().map(|(_, holder)| holder).collect(),
            namespace,
            name,
            window,
        }
    }
}

/// What may be allocated: what the definitions agree on, else the whole range.
fn allocatable<'a>(
    range: Option<IpNet>,
    allowed: impl IntoIterator<Item = &'a Allocatable>,
) -> Option<Allocatable> {
    let mut allowed = allowed.into_iter();
    let first = allowed.next();
    match first.filter(|first| allowed.all(|other| other == *first)) {
        Some(agreed) => Some(agreed.clone()),
        None => RangeSpec { net: range?, start: None, end: None, excludes: Vec::new() }.allocatable().ok(),
    }
}
