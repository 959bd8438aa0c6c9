//! `IPPool`: one range and its allocations, in the form that Whereabouts reads and writes, with annotations and counts of our own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use node::client::ResourceKind;
use serde::{Deserialize, Serialize};

use crate::addr::ip;

/// The resource kind of `IPPool`.
pub const POOLS: ResourceKind = ResourceKind::new("whereabouts.cni.cncf.io", "v1alpha1", "ippools");

/// Annotation of a pool: how the claims of its addresses are named. It also says that every allocation that Whereabouts wrote before has a
/// claim. It is written once and never changed. See [`crate::pool::claim_names`].
pub const CLAIM_NAMES: &str = "whereabouts.multus-rs/claim-names";

/// Annotation of a pool with more claims than one object can hold: "counts-only". Its object has no entries, and nobody writes one.
pub const ENTRIES: &str = "whereabouts.multus-rs/entries";

/// The value of [`ENTRIES`].
pub const COUNTS_ONLY: &str = "counts-only";

/// An `IPPool`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    /// API version.
    #[serde(default)]
    pub api_version: String,
    /// Kind.
    #[serde(default)]
    pub kind: String,
    /// Name, annotations.
    pub metadata: ObjectMeta,
    /// Range and allocations.
    #[serde(default)]
    pub spec: PoolSpec,
    /// Counts. Whereabouts does not know the field and drops it with every write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Counts>,
}

/// Range and allocations of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSpec {
    /// The range, without host bits.
    #[serde(default)]
    pub range: String,
    /// By key: the offset of the address from the range's network address, in decimal.
    #[serde(default)]
    pub allocations: BTreeMap<String, Allocation>,
}

/// One address of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// The container.
    #[serde(default)]
    pub id: String,
    /// `namespace/name` of the pod.
    #[serde(default)]
    pub podref: String,
    /// The interface; absent in allocations of Whereabouts before 0.8.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ifname: String,
    /// The end of the container's ID, in allocations that this project wrote. See `leader::ip_pool_view`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
}

/// The counts of a pool. The rest of the object is not parsed.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct PoolCounts {
    /// The counts that the leader wrote last.
    #[serde(default)]
    pub status: Counts,
}

/// How full a pool is. A number that does not fit an `int64` (the definition's type) is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Addresses that may be allocated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// Addresses with a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<i64>,
    /// Addresses without a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<i64>,
}

impl Pool {
    /// A new pool. How its claims are named is not fixed yet.
    pub fn new(name: &str, range: IpNet) -> Self {
        Pool {
            api_version: "whereabouts.cni.cncf.io/v1alpha1".to_owned(),
            kind: "IPPool".to_owned(),
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            spec: PoolSpec { range: range.trunc().to_string(), allocations: BTreeMap::new() },
            status: None,
        }
    }

    /// Key, address and value of each allocation. Skips a key that is not an offset inside the range: no pod can have such an address.
    pub fn entries(&self) -> Vec<(String, IpAddr, &Allocation)> {
        // Without a valid range no key has an address.
        let Ok(net) = self.spec.range.parse::<IpNet>() else { return Vec::new() };
        let address = |key: &str| address_at(&net, key.parse().ok()?);
        let entries = self.spec.allocations.iter();
        entries.filter_map(|(key, entry)| Some((key.clone(), address(key)?, entry))).collect()
    }
}

/// The largest key that Whereabouts can parse.
const MAX_KEY: u64 = i64::MAX as u64;

/// The key of the entry of an address in the pool of this range; `None` if Whereabouts could not parse it, or outside the range.
pub(crate) fn entry_key(range: &IpNet, ip: IpAddr) -> Option<u64> {
    let offset = ip::offset(ip, range.network()).filter(|_| range.contains(&ip))?;
    shown_key(offset)
}

/// The key of an offset; `None` if Whereabouts could not parse it.
pub(crate) fn shown_key(offset: u128) -> Option<u64> {
    u64::try_from(offset).ok().filter(|key| *key <= MAX_KEY)
}

/// The most entries of one object. Whereabouts' own writes fail at about 7,500, because the managedFields list every entry again.
pub const MAX_ENTRIES: usize = 7_000;

/// The most bytes of the entries of one object, for pods with long names. The API server accepts objects of 1.5 MiB.
const MAX_BYTES: usize = 1_000_000;

/// The bytes of an entry besides container id and podref, approximately.
const ENTRY_BYTES: usize = 64;

/// The bytes of an entry, approximately. `container` is the length of the container's id.
pub const fn entry_bytes(container: usize, podref: &str) -> usize {
    ENTRY_BYTES + container + podref.len()
}

/// Whether entries of these sizes fit into one object. If not, the object shows counts only.
pub fn fit_into_object(sizes: impl IntoIterator<Item = usize>) -> bool {
    let (count, bytes) =
        sizes.into_iter().fold((0_usize, 0_usize), |(count, bytes), size| (count + 1, bytes + size));
    count <= MAX_ENTRIES && bytes <= MAX_BYTES
}

/// The address at this offset of a range, or `None` outside the range.
pub(super) fn address_at(range: &IpNet, offset: u128) -> Option<IpAddr> {
    ip::add(range.network(), offset).filter(|ip| range.contains(ip))
}

/// The number of characters of the container's ID in [`Allocation::via`]: enough to tell two sandboxes of one pod apart.
const VIA_DIGITS: usize = 8;

/// The value of [`Allocation::via`] for this container: "claim:" and the last eight characters of its ID.
pub(crate) fn via(container: &str) -> String {
    let skipped = container.chars().count().saturating_sub(VIA_DIGITS);
    format!("claim:{}", container.chars().skip(skipped).collect::<String>())
}

/// How the claims of a pool are named, by its annotation [`CLAIM_NAMES`]. [`crate::pool::claim_names`] says what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClaimNaming {
    /// By address.
    Address,
    /// By pool and address.
    Pool,
    /// Each address has a claim of either name.
    Both,
}

impl ClaimNaming {
    /// The annotation's value.
    pub const fn text(self) -> &'static str {
        match self {
            ClaimNaming::Address => "address",
            ClaimNaming::Pool => "pool",
            ClaimNaming::Both => "address-and-pool",
        }
    }

    /// Reads the annotation's value. Any other text means [`ClaimNaming::Both`], which is safe beside each of the others.
    pub fn of(text: &str) -> Self {
        match text {
            "address" => ClaimNaming::Address,
            "pool" => ClaimNaming::Pool,
            _ => ClaimNaming::Both,
        }
    }
}

/// Whether the pool's object has no entries, by its annotation [`ENTRIES`].
pub(crate) fn has_counts_only(metadata: &ObjectMeta) -> bool {
    let annotations = metadata.annotations.as_ref();
    annotations.is_some_and(|annotations| annotations.contains_key(ENTRIES))
}

/// How the claims of a pool are named; `None` if that is not fixed yet.
pub(crate) fn claim_naming(metadata: &ObjectMeta) -> Option<ClaimNaming> {
    metadata.annotations.as_ref()?.get(CLAIM_NAMES).map(|text| ClaimNaming::of(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_offsets_and_invalid_ones_are_skipped() {
        let pool = json!({"metadata": {"name": "p"}, "spec": {"range": "10.0.0.0/30", "allocations":
            {"1": {"id": "a", "podref": "x/y"}, "9": {"id": "b"}, "banana": {}, "-1": {}}}});
        let pool: Pool = serde_json::from_value(pool).unwrap();
        let entries = pool.entries();
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].0.as_str(), entries[0].1), ("1", "10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_naming_reads_back_and_an_unknown_one_is_the_strictest() {
        for naming in [ClaimNaming::Address, ClaimNaming::Pool, ClaimNaming::Both] {
            assert_eq!(ClaimNaming::of(naming.text()), naming);
        }
        for unknown in ["", "banana", "Address"] {
            assert_eq!(ClaimNaming::of(unknown), ClaimNaming::Both, "{unknown:?}");
        }
    }
}
