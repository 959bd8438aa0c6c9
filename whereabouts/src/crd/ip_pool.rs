//! `IPPool`: one range and its allocations, as Whereabouts writes them, with annotations and counts of ours.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use node::client::ResourceKind;
use serde::{Deserialize, Serialize};

use crate::addr::ip;
use crate::conf::OverlappingRanges;

/// `IPPool`: the addresses of one range.
pub const POOLS: ResourceKind = ResourceKind::new("whereabouts.cni.cncf.io", "v1alpha1", "ippools");

/// Annotation of a pool: every entry that upstream wrote has a claim.
pub const ADOPTED: &str = "whereabouts.multus-rs/adopted";

/// Annotation of a pool: since when addresses are ordered from it with `enable_overlapping_ranges: false`, in RFC 3339. It is never taken
/// away, and an earlier time stands. See [`crate::pool::claim_names`].
pub const SEPARATE_SINCE: &str = "whereabouts.multus-rs/separate-since";

/// A pool as Whereabouts writes it, with counts of ours.
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
    /// Range and entries.
    #[serde(default)]
    pub spec: PoolSpec,
    /// Counts. Whereabouts drops them whenever it writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Counts>,
}

/// Range and entries of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSpec {
    /// The range, without host bits.
    #[serde(default)]
    pub range: String,
    /// By how far the address lies above the range's first, in decimal.
    #[serde(default)]
    pub allocations: BTreeMap<String, Allocation>,
}

/// An entry of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// The container.
    #[serde(default)]
    pub id: String,
    /// `namespace/name` of the pod.
    #[serde(default)]
    pub podref: String,
    /// The interface; absent before 0.8.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ifname: String,
    /// Present in an entry that was written from a claim: for which container. See [`crate::leader::ip_pool_view`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
}

/// A pool's metadata, without all else.
#[derive(Clone, Debug, Deserialize)]
pub struct PoolMetadata {
    /// Name, version, annotations.
    pub metadata: ObjectMeta,
}

/// The counts of a pool, without its entries.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PoolCounts {
    /// What the leader wrote last.
    #[serde(default)]
    pub status: Counts,
}

/// How full a pool is; numbers too large for an `int64` are absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Addresses that may be given out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// Addresses held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<i64>,
    /// Addresses left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<i64>,
}

impl Pool {
    /// A pool without entries: what it says besides in annotations, as it has nothing to adopt.
    pub fn new<'a>(name: &str, range: IpNet, said: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let annotations = said.into_iter().chain([(ADOPTED, "true")]);
        let annotations = annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Pool {
            api_version: "whereabouts.cni.cncf.io/v1alpha1".to_owned(),
            kind: "IPPool".to_owned(),
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                annotations: Some(annotations),
                ..ObjectMeta::default()
            },
            spec: PoolSpec { range: range.trunc().to_string(), allocations: BTreeMap::new() },
            status: None,
        }
    }

    /// The address of each entry. One whose key or range is none is left out: nobody can hold it.
    pub fn entries(&self) -> Vec<(String, IpAddr, &Allocation)> {
        let Ok(net) = self.spec.range.parse::<IpNet>() else { return Vec::new() };
        let address = |key: &str| ip::add(net.network(), key.parse().ok()?).filter(|ip| net.contains(ip));
        let entries = self.spec.allocations.iter();
        entries.filter_map(|(key, entry)| Some((key.clone(), address(key)?, entry))).collect()
    }
}

/// Digits of the container in `via`.
const VIA_DIGITS: usize = 8;

/// What `via` says in an entry for this container.
pub fn via(container: &str) -> String {
    let skipped = container.chars().count().saturating_sub(VIA_DIGITS);
    format!("claim:{}", container.chars().skip(skipped).collect::<String>())
}

/// Whether a pool's metadata says that its entries have claims.
pub fn is_adopted(metadata: &ObjectMeta) -> bool {
    metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(ADOPTED))
}

/// Whether a pool's metadata says that it is used separately.
pub fn separation(metadata: &ObjectMeta) -> SeparateUse {
    let annotations = metadata.annotations.as_ref();
    SeparateUse::of(annotations.and_then(|annotations| annotations.get(SEPARATE_SINCE)).map(String::as_str))
}

/// Whether addresses of a pool are, or were, given with `enable_overlapping_ranges: false`, as its object says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeparateUse {
    /// Never.
    #[default]
    Never,
    /// Since then.
    Since(Timestamp),
    /// It says so, but not since when.
    Unreadable,
}

impl SeparateUse {
    /// What the annotation says.
    pub fn of(annotation: Option<&str>) -> Self {
        match annotation.map(str::parse) {
            None => SeparateUse::Never,
            Some(Ok(since)) => SeparateUse::Since(since),
            Some(Err(_)) => SeparateUse::Unreadable,
        }
    }

    /// Whether it is known well enough for an order of this kind: one for itself needs a time from which to count.
    pub const fn suffices_for(self, overlapping: OverlappingRanges) -> bool {
        match overlapping {
            OverlappingRanges::Protected => true,
            OverlappingRanges::Separate => matches!(self, SeparateUse::Since(_)),
        }
    }
}

/// A moment as a pool's object says it, in whole seconds.
pub fn written(moment: Timestamp) -> String {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn entries_are_offsets_and_wrong_ones_are_passed_over() {
        let pool = json!({"metadata": {"name": "p"}, "spec": {"range": "10.0.0.0/30", "allocations":
            {"1": {"id": "a", "podref": "x/y"}, "9": {"id": "b"}, "banana": {}, "-1": {}}}});
        let pool: Pool = serde_json::from_value(pool).unwrap();
        let entries = pool.entries();
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].0.as_str(), entries[0].1), ("1", "10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn what_a_pool_says_is_read_as_a_time() {
        let said = "2026-11-25T13:00:00Z";
        assert_eq!(SeparateUse::of(None), SeparateUse::Never);
        assert_eq!(SeparateUse::of(Some(said)), SeparateUse::Since(time(said)));
        assert_eq!(written(time("2026-11-25T13:00:00.123456Z")), said);
        for damaged in ["", "yes", "2026-11-25"] {
            assert_eq!(SeparateUse::of(Some(damaged)), SeparateUse::Unreadable, "{damaged:?}");
        }
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }
}
