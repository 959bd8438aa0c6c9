//! The view: what the object of a pool shows, made from the claims of that pool; and what an object, as it was read, says that no claim says.
//!
//! An entry that we write carries `via`, which names the claim's container once more. From the two together every later reader can tell
//! who wrote an entry last, without remembering anything:
//!
//! | `via` | `id` | the entry was written |
//! |---|---|---|
//! | absent | any | by Whereabouts |
//! | names `id` | | by us, and not touched since |
//! | names another | | by us; then Whereabouts gave it to the pod's next sandbox |
//!
//! A definition that does not know `via` drops it. Then no entries are written at all: nobody could tell them from those of Whereabouts.

use crate::crd::allocation_state::AllocationState;
use crate::crd::ip_pool;
use crate::crd::ip_pool::via;
use crate::pool::claim_reader::ClaimNameReader;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::IpNet;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::addr::ip;
use crate::addr::range::RangeSpec;
use crate::crd::cached::{Adopted, CachedAllocation, CachedPool, CachedReservation, Via};
use crate::crd::ip_pool::SeparateUse;
use crate::crd::ip_pool::{ADOPTED, Allocation, Counts, SEPARATE_SINCE};
use crate::crd::packed::Decimal;

/// So many entries are shown at most: Whereabouts fails at about 7,500 where an owner is noted for each field.
pub const LIMIT: usize = 7_000;

/// So many bytes of entries are shown at most, for pods with long names: the API server takes objects of 1.5 MiB, and may note owners.
const MAX_BYTES: usize = 1_000_000;

/// The largest key that Whereabouts reads.
const MAX_KEY: u64 = i64::MAX as u64;

/// What a pool's object is to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolView<'a> {
    /// Who holds what, by key.
    pub entries: Entries<'a>,
    /// How full it is.
    pub status: Counts,
    /// Whether it has claims that only those look at who know that it is used separately, see [`crate::pool::claim_names`].
    pub named: ClaimNaming,
}

/// What the claims of a pool are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimNaming {
    /// All after their addresses.
    Shared,
    /// Some after the pool.
    SomeByPool,
}

/// The entries of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entries<'a> {
    /// The claims of all whose key Whereabouts can read.
    Shown(BTreeMap<u64, &'a CachedReservation>),
    /// More than one object can hold: the counts must do.
    TooMany,
}

/// The view of the pool `name` with this range.
pub fn of<'a>(
    name: &str,
    range: &IpNet,
    claims: impl IntoIterator<Item = &'a CachedReservation>,
) -> PoolView<'a> {
    let readings = ClaimNameReader::of(name, range);
    let (mut holders, mut named) = (BTreeMap::new(), ClaimNaming::Shared);
    for claim in claims {
        if named == ClaimNaming::Shared && readings.is_apart(&claim.name) {
            named = ClaimNaming::SomeByPool;
        }
        let offset = readings.address(&claim.name).and_then(|ip| ip::offset(ip, range.network()));
        if let Some(offset) = offset {
            holders.insert(offset, claim);
        }
    }
    PoolView { status: status(range, holders.len()), entries: entries(holders), named }
}

fn entries(holders: BTreeMap<u128, &CachedReservation>) -> Entries<'_> {
    let key = |offset| u64::try_from(offset).ok().filter(|key| *key <= MAX_KEY);
    let shown = holders.into_iter().filter_map(|(offset, claim)| Some((key(offset)?, claim)));
    let entries: BTreeMap<u64, &CachedReservation> = shown.collect();
    let bytes: usize = entries.values().map(|claim| 64 + claim.container.len() + claim.podref.len()).sum();
    if entries.len() > LIMIT || bytes > MAX_BYTES { Entries::TooMany } else { Entries::Shown(entries) }
}

fn entry(claim: &CachedReservation) -> Allocation {
    let id = claim.container.to_string();
    let via = Some(via(&id));
    Allocation { id, podref: claim.podref.to_string(), ifname: claim.ifname.to_string(), via }
}

/// Excludes are not known here: an IPPool is of all networks that name its range, whatever each of them excludes.
fn status(range: &IpNet, used: usize) -> Counts {
    let spec = RangeSpec { net: *range, start: None, end: None, excludes: Vec::new() };
    let size = spec.allocatable().ok().and_then(|all| i64::try_from(all.size()).ok());
    let used = i64::try_from(used).unwrap_or(i64::MAX);
    Counts { size, used: Some(used), free: size.map(|size| size.saturating_sub(used).max(0)) }
}

/// What the cluster's definition of IPPool does with what we add to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViaSupport {
    /// Not known before the first entry is written: that one is written alone.
    Unknown,
    /// It keeps `via`.
    Kept,
    /// It drops `via`: entries must not be written.
    Dropped,
}

impl ViaSupport {
    /// What the answer to a write tells.
    #[must_use]
    pub fn after(self, written: &ViewChange, answer: &CachedPool) -> ViaSupport {
        let first = written.set.keys().next().and_then(|key| answer.entry(&Decimal::from(*key)));
        match first {
            Some(entry) if entry.via != Via::Absent => ViaSupport::Kept,
            Some(_) => ViaSupport::Dropped,
            None => self,
        }
    }
}

/// What is to be changed in a pool's object. All else in it stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViewChange {
    set: BTreeMap<u64, Allocation>,
    removed: Vec<Decimal>,
    status: Option<Counts>,
    adopted: bool,
    separate_since: Option<Timestamp>,
}

/// What the object lacks of the view; `None` if nothing. `fate` judges its present entries ([`fate`]).
pub fn change(
    pool: &CachedPool,
    view: &PoolView<'_>,
    via_support: ViaSupport,
    state: impl Fn(&Decimal, &CachedAllocation) -> AllocationState,
) -> Option<ViewChange> {
    let none = BTreeMap::new();
    let wanted = match (&view.entries, via_support) {
        (Entries::Shown(entries), ViaSupport::Unknown | ViaSupport::Kept) => entries,
        (Entries::Shown(_) | Entries::TooMany, _) => &none,
    };
    let mut change = ViewChange { adopted: pool.adopted == Adopted::No, ..ViewChange::default() };
    let mut held = BTreeSet::new();
    for (key, present) in pool.entries() {
        let is_wanted = key.number().is_some_and(|key| wanted.contains_key(&key));
        match state(key, present) {
            AllocationState::NeedsClaim | AllocationState::ClaimOutdated => {
                change.adopted = false;
                held.extend(key.number());
            }
            // What Whereabouts wrote stays where it could not be written in our way.
            AllocationState::InSync if present.via == Via::Absent && via_support == ViaSupport::Dropped => {}
            AllocationState::InSync | AllocationState::Superseded if !is_wanted => {
                change.removed.push(key.clone())
            }
            AllocationState::InSync | AllocationState::Superseded => {}
        }
    }
    let is_shown = |key: u64, claim| pool.entry(&Decimal::from(key)).is_some_and(|entry| entry.shows(claim));
    let missing = wanted.iter().filter(|(key, claim)| !held.contains(key) && !is_shown(**key, claim));
    let at_once = if via_support == ViaSupport::Unknown { 1 } else { usize::MAX };
    change.set = missing.take(at_once).map(|(key, claim)| (*key, entry(claim))).collect();
    // Where the counts are dropped each write would seem to be owed again.
    if via_support != ViaSupport::Dropped || pool.status.is_some() {
        change.status = Some(view.status).filter(|status| pool.status.as_ref() != Some(status));
    }
    let pending = !change.set.is_empty() || !change.removed.is_empty() || change.adopted;
    (pending || change.status.is_some()).then_some(change)
}

impl ViewChange {
    /// As a merge patch of the object at `resource_version`. It also empties the list of who owns which field: with a key for each entry,
    /// that is a third of a pool's size, and nobody who applies pools from files needs it. The API server begins no new one.
    pub fn patch(&self, resource_version: &str) -> Value {
        let adopted = self.adopted.then(|| (ADOPTED.to_owned(), json!("true")));
        let since = self.separate_since.map(|at| (SEPARATE_SINCE.to_owned(), json!(ip_pool::written(at))));
        let annotations: Map<String, Value> = adopted.into_iter().chain(since).collect();
        let mut metadata = json!({ "resourceVersion": resource_version, "managedFields": [{}] });
        if let Some(metadata) = metadata.as_object_mut().filter(|_| !annotations.is_empty()) {
            metadata.insert("annotations".to_owned(), annotations.into());
        }
        let mut patch = json!({ "metadata": metadata });
        let set = self.set.iter().map(|(key, entry)| (key.to_string(), whole(entry)));
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

    /// What takes the entries back that were written into an object whose definition turned out to drop `via`.
    pub fn undone(&self) -> ViewChange {
        ViewChange { removed: self.set.keys().copied().map(Decimal::from).collect(), ..ViewChange::default() }
    }

    /// With it the object says that the pool is used separately, where it has claims that say so and the object does not: they are of a
    /// release that did not write it, or somebody took it away.
    pub fn with_separation(
        change: Option<ViewChange>,
        pool: &CachedPool,
        view: &PoolView<'_>,
        now: Timestamp,
    ) -> Option<Self> {
        if view.named == ClaimNaming::Shared || pool.separation != SeparateUse::Never {
            return change;
        }
        Some(ViewChange { separate_since: Some(now), ..change.unwrap_or_default() })
    }

    /// Whether it writes entries.
    pub fn has_entries(&self) -> bool {
        !self.set.is_empty()
    }
}

/// With every member: what the entry had before is to be gone.
fn whole(entry: &Allocation) -> Value {
    let Allocation { id, podref, ifname, via } = entry;
    let ifname = (!ifname.is_empty()).then_some(ifname);
    json!({ "id": id, "podref": podref, "ifname": ifname, "via": via })
}

/// Below so many entries a write is cheap.
const SMALL: usize = 1_000;

/// Changes that come together are written together.
const GATHER: Duration = Duration::from_millis(100);

/// Between two writes of a small pool: it is less than a second late.
const SMALL_GAP: Duration = Duration::from_millis(500);

/// A large pool is written for one part in so many of the time.
const LARGE_PARTS: u32 = 20;

/// A write of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastWrite {
    /// When it ended.
    pub ended: Duration,
    /// How long it took.
    pub took: Duration,
}

/// When a pool of so many entries, whose view is out of date since `dirty_since`, is to be written. Times count from one fixed point.
pub fn due(entries: usize, dirty_since: Duration, last: Option<LastWrite>) -> Duration {
    let gathered = dirty_since.saturating_add(GATHER);
    let Some(last) = last else { return gathered };
    let gap = if entries < SMALL { SMALL_GAP } else { last.took.saturating_mul(LARGE_PARTS - 1) };
    gathered.max(last.ended.saturating_add(gap))
}

#[cfg(test)]
mod tests;
