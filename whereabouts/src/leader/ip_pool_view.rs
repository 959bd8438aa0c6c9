//! The view: what a pool's object shows of the claims of that pool, and what the object lacks of it.
//!
//! Whereabouts writes allocations into the same objects. Every reader must be able to tell who wrote an allocation last, without any memory
//! of its own. So each allocation that this project writes has the property `via`, which repeats the end of the container's id:
//!
//! | `via` | `id` | the allocation was written |
//! |---|---|---|
//! | absent | any | by Whereabouts |
//! | repeats `id` | unchanged | by this project, and not changed since |
//! | differs from `id` | changed | by this project; then Whereabouts gave the address to the pod's next sandbox, and kept `via` |
//!
//! An IPPool definition without `via` (Whereabouts' own) drops the property. Then no allocations are written at all, because nobody could
//! tell them from those of Whereabouts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use crate::addr::ip;
use crate::addr::range::{Allocatable, RangeSpec};
use crate::crd::allocation_state::AllocationState;
use crate::crd::cached::{CachedAllocation, CachedPool, CachedReservation, Via};
use crate::crd::ip_pool::{self, Allocation, Counts};
use crate::crd::packed::Decimal;
use crate::pool::claim_reader::ClaimNameReader;

/// The most entries that a view shows. Whereabouts' own writes fail at about 7,500, because the managedFields list every entry again.
const MAX_ENTRIES: usize = 7_000;

/// The most bytes of entries that a view shows, for pods with long names. The API server accepts objects of 1.5 MiB.
const MAX_BYTES: usize = 1_000_000;

/// The bytes of an entry besides container id and podref, approximately.
const ENTRY_BYTES: usize = 64;

/// The largest key that Whereabouts can parse.
const MAX_KEY: u64 = i64::MAX as u64;

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
    let key = |offset| u64::try_from(offset).ok().filter(|key| *key <= MAX_KEY);
    let shown = by_offset.into_iter().filter_map(|(offset, claim)| Some((key(offset)?, claim)));
    let entries: BTreeMap<u64, &CachedReservation> = shown.collect();
    let bytes: usize =
        entries.values().map(|claim| ENTRY_BYTES + claim.container.len() + claim.podref.len()).sum();
    if entries.len() > MAX_ENTRIES || bytes > MAX_BYTES { Entries::TooMany } else { Entries::Shown(entries) }
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
    /// No entry has been written yet. The first one is written alone, as a test.
    Unknown,
    /// It keeps `via`.
    Kept,
    /// It drops `via`: no entries are written.
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
}

/// What to change in a pool's object. Everything else in the object stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ViewChange {
    set: BTreeMap<u64, Allocation>,
    removed: Vec<Decimal>,
    status: Option<Counts>,
}

/// What the object lacks of the view; `None` if nothing. `state` classifies the object's present allocations.
pub(super) fn change(
    pool: &CachedPool,
    view: &PoolView<'_>,
    via_support: ViaSupport,
    state: impl Fn(&Decimal, &CachedAllocation) -> AllocationState,
) -> Option<ViewChange> {
    let none = BTreeMap::new();
    let shown = match (&view.entries, via_support) {
        (Entries::Shown(entries), ViaSupport::Unknown | ViaSupport::Kept) => entries,
        (Entries::Shown(_) | Entries::TooMany, _) => &none,
    };
    let mut change = ViewChange::default();
    // Keys whose allocation still needs a claim: a view that overwrote it would lose Whereabouts' allocation.
    let mut kept = BTreeSet::new();
    for (key, present) in pool.entries() {
        let is_shown = key.number().is_some_and(|key| shown.contains_key(&key));
        match state(key, present) {
            AllocationState::NeedsClaim | AllocationState::ClaimOutdated => {
                kept.extend(key.number());
            }
            // Allocations of Whereabouts stay if entries of ours cannot replace them.
            AllocationState::InSync if present.via == Via::Absent && via_support == ViaSupport::Dropped => {}
            AllocationState::InSync | AllocationState::Superseded if !is_shown => {
                change.removed.push(key.clone());
            }
            AllocationState::InSync | AllocationState::Superseded => {}
        }
    }
    let is_current =
        |key: u64, claim| pool.entry(&Decimal::from(key)).is_some_and(|entry| entry.matches(claim));
    let missing = shown.iter().filter(|(key, claim)| !kept.contains(key) && !is_current(**key, claim));
    let at_most = if via_support == ViaSupport::Unknown { 1 } else { usize::MAX };
    change.set = missing.take(at_most).map(|(key, claim)| (*key, entry(claim))).collect();
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
        let metadata = json!({ "resourceVersion": resource_version, "managedFields": [{}] });
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

    /// The change that removes the entries which this one wrote, for a definition that turned out to drop `via`.
    pub fn revert(&self) -> ViewChange {
        ViewChange { removed: self.set.keys().copied().map(Decimal::from).collect(), ..ViewChange::default() }
    }

    /// Whether the change writes entries.
    pub fn has_entries(&self) -> bool {
        !self.set.is_empty()
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
