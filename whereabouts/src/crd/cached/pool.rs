//! What the daemon caches of an IPPool.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::CachedReservation;
use crate::crd::interner::Interner;
use crate::crd::ip_pool::{self, Allocation, CLAIM_NAMES, ClaimNaming, Counts, ENTRIES};
use crate::crd::packed::{Decimal, Hex};
use crate::crd::reservation::ReservationSpec;

/// A cached IPPool.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "WirePool")]
pub struct CachedPool {
    /// The name.
    pub name: Arc<str>,
    /// `metadata.resourceVersion`.
    pub resource_version: Option<Decimal>,
    /// How its claims are named, by the annotation [`CLAIM_NAMES`]; `None` without it.
    pub naming: Option<ClaimNaming>,
    /// Whether the object shows counts only, by the annotation [`ENTRIES`].
    pub content: PoolContent,
    /// The range, if it can be parsed.
    pub range: Option<IpNet>,
    /// The counts of its status.
    pub status: Option<Counts>,
    /// Sorted by key.
    entries: Box<[(Decimal, CachedAllocation)]>,
}

/// What the object of a pool shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolContent {
    /// Entries and counts.
    Entries,
    /// Only counts: the pool has more claims than one object can hold.
    Counts,
}

/// A cached allocation of an IPPool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedAllocation {
    /// The container.
    pub id: Hex<32>,
    /// `namespace/name` of the pod.
    pub podref: Box<str>,
    /// The interface; empty in an allocation of Whereabouts before 0.8.
    pub ifname: Arc<str>,
    /// Who wrote it.
    pub via: Via,
}

/// Who wrote an allocation. See `leader::ip_pool_view`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// Whereabouts: the field is absent.
    Absent,
    /// This project, for the container in `id`.
    OfId,
    /// This project, for another container than the one in `id`: Whereabouts changed `id` since. The text of the field.
    Other(Box<str>),
}

impl CachedPool {
    /// The allocations, sorted by key.
    pub fn entries(&self) -> &[(Decimal, CachedAllocation)] {
        &self.entries
    }

    /// The allocation of a key.
    pub fn entry(&self, key: &Decimal) -> Option<&CachedAllocation> {
        let index = self.entries.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
        self.entries.get(index).map(|(_, entry)| entry)
    }

    /// Key, address and value of each allocation. Skips a key that is not an offset inside the range: no pod can have such an address.
    pub fn addresses(&self) -> impl Iterator<Item = (&Decimal, IpAddr, &CachedAllocation)> {
        let address = |key: &Decimal| {
            // Offsets of IPv6 pools may exceed 64 bits; those are kept as text.
            let offset = key.number().map(u128::from).or_else(|| key.to_string().parse().ok())?;
            ip_pool::address_at(&self.range?, offset)
        };
        self.entries.iter().filter_map(move |(key, entry)| Some((key, address(key)?, entry)))
    }
}

impl CachedAllocation {
    /// Whether the allocation shows this claim.
    pub fn shows(&self, claim: &CachedReservation) -> bool {
        self.id == claim.container && self.podref == claim.podref && self.ifname == claim.ifname
    }

    /// Pod, interface and container.
    pub fn spec(&self) -> ReservationSpec {
        ReservationSpec {
            podref: self.podref.to_string(),
            ifname: self.ifname.to_string(),
            containerid: self.id.to_string(),
        }
    }
}

impl From<Allocation> for CachedAllocation {
    fn from(Allocation { id, podref, ifname, via }: Allocation) -> Self {
        let via = match via {
            None => Via::Absent,
            Some(via) if via == ip_pool::via(&id) => Via::OfId,
            Some(via) => Via::Other(via.into()),
        };
        CachedAllocation { id: Hex::of(&id), podref: podref.into(), ifname: ifname.into(), via }
    }
}

#[derive(Deserialize)]
struct WirePool {
    metadata: WirePoolMetadata,
    #[serde(default)]
    spec: WirePoolSpec,
    #[serde(default)]
    status: Option<Counts>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePoolMetadata {
    name: Option<String>,
    resource_version: Option<String>,
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
struct WirePoolSpec {
    #[serde(default)]
    range: String,
    #[serde(default, deserialize_with = "read_entries")]
    allocations: Vec<(Decimal, CachedAllocation)>,
}

impl From<WirePool> for CachedPool {
    fn from(WirePool { metadata, spec, status }: WirePool) -> Self {
        let annotations = metadata.annotations.unwrap_or_default();
        CachedPool {
            name: metadata.name.unwrap_or_default().into(),
            resource_version: metadata.resource_version.as_deref().map(Decimal::of),
            naming: annotations.get(CLAIM_NAMES).map(|text| ClaimNaming::of(text)),
            content: if annotations.contains_key(ENTRIES) {
                PoolContent::Counts
            } else {
                PoolContent::Entries
            },
            range: spec.range.parse().ok(),
            status,
            entries: spec.allocations.into(),
        }
    }
}

/// Reads the map entry by entry: a pool may have thousands, and a map of whole [`Allocation`]s would take several times the memory.
fn read_entries<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(Decimal, CachedAllocation)>, D::Error> {
    struct Entries;
    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<(Decimal, CachedAllocation)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the allocations of an IPPool by key")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let (mut entries, mut interner) = (Vec::new(), Interner::default());
            while let Some((key, entry)) = map.next_entry::<String, Allocation>()? {
                let entry = CachedAllocation::from(entry);
                let ifname = interner.intern(entry.ifname);
                entries.push((Decimal::of(&key), CachedAllocation { ifname, ..entry }));
            }
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            Ok(entries)
        }
    }
    deserializer.deserialize_map(Entries)
}
