//! The view: what a pool's object shows of the claims of that pool, and what the object lacks of it.
//!
//! Whereabouts writes allocations into the same objects. Readers can tell who wrote an allocation last by the property `via`, which repeats
//! the end of the container's id:
//!
//! | `via` | `id` | the allocation was written |
//! |---|---|---|
//! | absent | any | by Whereabouts |
//! | repeats `id` | unchanged | by this project, and not changed since |
//! | differs from `id` | changed | by this project; then Whereabouts gave the address to the pod's next sandbox, and kept `via` |
//!
//! An IPPool definition without `via` (Whereabouts' own) drops the property. All the same the view must have its entries: Whereabouts gives
//! away every address without one after a return to it, and its reconciler deletes the claims that have none. An entry of ours then looks like
//! one of Whereabouts'. While the claim exists, this makes no difference. When the claim is deleted, the leader that saw it removes the entry.
//! A leader that did not see it takes the entry for one of Whereabouts' without a claim, and makes a claim, which is reclaimed with its pod.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use crate::addr::ip;
use crate::addr::range::{Allocatable, RangeSpec};
use crate::crd::allocation_state::AllocationState;
use crate::crd::cached::{CachedAllocation, CachedPool, CachedReservation, PoolContent, Via};
use crate::crd::ip_pool::{self, Allocation, COUNTS_ONLY, Counts, ENTRIES};
use crate::crd::packed::Decimal;
use crate::pool::claim_reader::ClaimNameReader;

/// What a pool's object should show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PoolView<'a> {
    /// The claims, by the offset of their address in the range.
    pub entries: Entries<'a>,
    /// The numbers of addresses.
    pub status: Counts,
}

/// The entries of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entries<'a> {
    /// All claims whose key Whereabouts can parse.
    Shown(BTreeMap<u64, &'a CachedReservation>),
    /// More than one object can hold. The object shows only the counts.
    TooMany,
}

/// The view of the pool `name`, made from its claims. `choosable` are the addresses that its networks may choose; `None` if it is unknown
/// which networks have the pool.
pub(super) fn view_of<'a>(
    name: &str,
    range: &IpNet,
    choosable: Option<&Allocatable>,
    claims: impl IntoIterator<Item = &'a CachedReservation>,
) -> PoolView<'a> {
    let reader = ClaimNameReader::of(name, range);
    let mut by_offset = BTreeMap::new();
    for claim in claims {
        let offset = reader.address(&claim.name).and_then(|ip| ip::offset(ip, range.network()));
        if let Some(offset) = offset {
            by_offset.insert(offset, claim);
        }
    }
    PoolView { status: counts(range, choosable, &by_offset), entries: entries(by_offset) }
}

fn entries(by_offset: BTreeMap<u128, &CachedReservation>) -> Entries<'_> {
    let shown =
        by_offset.into_iter().filter_map(|(offset, claim)| Some((ip_pool::shown_key(offset)?, claim)));
    let entries: BTreeMap<u64, &CachedReservation> = shown.collect();
    let sizes = entries.values().map(|claim| ip_pool::entry_bytes(claim.container.len(), &claim.podref));
    if ip_pool::fit_into_object(sizes) { Entries::Shown(entries) } else { Entries::TooMany }
}

/// The entry that shows a claim.
fn entry(claim: &CachedReservation) -> Allocation {
    let id = claim.container.to_string();
    let via = Some(ip_pool::via(&id));
    Allocation { id, podref: claim.podref.to_string(), ifname: claim.ifname.to_string(), via }
}

/// The counts of a pool: the addresses that its networks may choose, those with a claim, and those of the first that have none. A pod may have
/// requested an address that no network may choose, so the last number is not always the difference of the others.
fn counts(
    range: &IpNet,
    choosable: Option<&Allocatable>,
    held: &BTreeMap<u128, &CachedReservation>,
) -> Counts {
    let number = |count: u128| i64::try_from(count).ok();
    let used = Some(i64::try_from(held.len()).unwrap_or(i64::MAX));
    let whole = || RangeSpec { net: *range, start: None, end: None, excludes: Vec::new() }.allocatable().ok();
    let Some(choosable) = choosable.cloned().or_else(whole) else {
        return Counts { size: None, used, free: None };
    };
    let held: BTreeSet<IpAddr> = held.keys().filter_map(|offset| ip::add(range.network(), *offset)).collect();
    let free = choosable.size().saturating_sub(choosable.count_used(&held) as u128);
    let size = number(choosable.size());
    Counts { size, used, free: size.and_then(|_| number(free)) }
}

/// Whether the cluster's IPPool definition keeps `via`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ViaSupport {
    /// No entry has been written yet.
    Unknown,
    /// It keeps `via`.
    Kept,
    /// It drops `via`, and the status.
    Dropped,
}

impl ViaSupport {
    /// What the API server's response to a write shows.
    #[must_use]
    pub fn after(self, written: &ViewChange, response: &CachedPool) -> ViaSupport {
        let first = written.set.keys().next().and_then(|key| response.entry(&Decimal::from(*key)));
        match first {
            Some(entry) if entry.via != Via::Absent => ViaSupport::Kept,
            Some(_) => ViaSupport::Dropped,
            None => self,
        }
    }

    /// Whether an entry is what the leader would write for this claim.
    fn is_current(self, entry: &CachedAllocation, claim: &CachedReservation) -> bool {
        let is_marked = match (self, &entry.via) {
            (_, Via::OfId) | (ViaSupport::Unknown | ViaSupport::Dropped, Via::Absent) => true,
            (_, Via::Absent | Via::Other(_)) => false,
        };
        is_marked && entry.shows(claim)
    }
}

/// What to change in a pool's object. Everything else in the object stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ViewChange {
    set: BTreeMap<u64, Allocation>,
    removed: Vec<Decimal>,
    status: Option<Counts>,
    content: Option<PoolContent>,
}

/// What the object lacks of the view; `None` if nothing. `state` classifies the object's present allocations.
pub(super) fn change(
    pool: &CachedPool,
    view: &PoolView<'_>,
    via_support: ViaSupport,
    state: impl Fn(&Decimal, &CachedAllocation) -> AllocationState,
) -> Option<ViewChange> {
    let none = BTreeMap::new();
    let (shown, content) = match &view.entries {
        Entries::Shown(entries) => (entries, PoolContent::Entries),
        Entries::TooMany => (&none, PoolContent::Counts),
    };
    let mut change = ViewChange::default();
    // Keys whose allocation protects an address: a view that overwrote it would lose it.
    let mut kept = BTreeSet::new();
    for (key, present) in pool.entries() {
        let is_shown = key.number().is_some_and(|key| shown.contains_key(&key));
        match state(key, present) {
            AllocationState::NeedsClaim
            | AllocationState::ClaimOutdated
            | AllocationState::Unclaimed
            | AllocationState::Disputed => kept.extend(key.number()),
            AllocationState::InSync | AllocationState::Released if !is_shown => {
                change.removed.push(key.clone());
            }
            AllocationState::InSync | AllocationState::Released => {}
        }
    }
    let is_current = |key: u64, claim| {
        pool.entry(&Decimal::from(key)).is_some_and(|entry| via_support.is_current(entry, claim))
    };
    let missing = shown.iter().filter(|(key, claim)| !kept.contains(key) && !is_current(**key, claim));
    change.set = missing.map(|(key, claim)| (*key, entry(claim))).collect();
    if via_support == ViaSupport::Unknown && change.set.is_empty() {
        // One entry without `via` is written again as a test of the definition.
        let marked = |key: u64, claim| {
            pool.entry(&Decimal::from(key)).is_some_and(|entry| ViaSupport::Kept.is_current(entry, claim))
        };
        let unmarked = shown.iter().find(|(key, claim)| !kept.contains(key) && !marked(**key, claim));
        change.set.extend(unmarked.map(|(key, claim)| (*key, entry(claim))));
    }
    change.content = Some(content).filter(|content| pool.content != *content);
    // A definition that drops `via` drops the status too: the counts would be written again and again.
    if via_support != ViaSupport::Dropped || pool.status.is_some() {
        change.status = Some(view.status).filter(|status| pool.status.as_ref() != Some(status));
    }
    (change != ViewChange::default()).then_some(change)
}

impl ViewChange {
    /// The change as a merge patch of the object at `resource_version`.
    ///
    /// The patch also empties the managedFields: with one key for each entry they are a third of the object, and nobody who applies pools
    /// from files needs them. After one empty item the API server starts no new list.
    pub fn patch(&self, resource_version: &str) -> Value {
        let mut metadata = json!({ "resourceVersion": resource_version, "managedFields": [{}] });
        if let (Some(content), Some(metadata)) = (self.content, metadata.as_object_mut()) {
            let value = match content {
                PoolContent::Entries => Value::Null,
                PoolContent::Counts => COUNTS_ONLY.into(),
            };
            metadata.insert("annotations".to_owned(), json!({ ENTRIES: value }));
        }
        let mut patch = json!({ "metadata": metadata });
        let set = self.set.iter().map(|(key, entry)| (key.to_string(), all_properties(entry)));
        let removed = self.removed.iter().map(|key| (key.to_string(), Value::Null));
        let entries: Map<String, Value> = set.chain(removed).collect();
        let Some(members) = patch.as_object_mut() else { return patch };
        if !entries.is_empty() {
            members.insert("spec".to_owned(), json!({ "allocations": entries }));
        }
        if let Some(Counts { size, used, free }) = self.status {
            members.insert("status".to_owned(), json!({ "size": size, "used": used, "free": free }));
        }
        patch
    }
}

/// An entry with all of its properties: in a merge patch, `null` removes an old `ifname`.
fn all_properties(entry: &Allocation) -> Value {
    let Allocation { id, podref, ifname, via } = entry;
    let ifname = (!ifname.is_empty()).then_some(ifname);
    json!({ "id": id, "podref": podref, "ifname": ifname, "via": via })
}

#[cfg(test)]
mod tests;
