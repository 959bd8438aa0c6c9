//! `IPPool`: one range and its allocations, in the form that Whereabouts reads and writes, with annotations and counts of our own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use node::client::ResourceKind;
use serde::{Deserialize, Serialize};

use crate::addr::ip;
use crate::conf::OverlappingRanges;

/// The resource kind of `IPPool`.
pub const POOLS: ResourceKind = ResourceKind::new("whereabouts.cni.cncf.io", "v1alpha1", "ippools");

/// Annotation of a pool: every allocation that Whereabouts wrote has a claim.
pub const ADOPTED: &str = "whereabouts.multus-rs/adopted";

/// Annotation of a pool: the time of the first request with `enable_overlapping_ranges: false`, in RFC 3339. Nobody removes it or replaces
/// it by a later time. See [`crate::pool::claim_names`].
pub const SEPARATE_SINCE: &str = "whereabouts.multus-rs/separate-since";

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
    /// The end of the container's ID, in allocations that the leader wrote. See `leader::ip_pool_view`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
}

/// The metadata of a pool. The rest of the object is not parsed.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PoolMetadata {
    /// Name, version, annotations.
    pub metadata: ObjectMeta,
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
    /// A new pool with these annotations. It is marked as adopted, since it has no allocations of Whereabouts.
    pub fn new<'a>(
        name: &str,
        range: IpNet,
        annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let annotations = annotations.into_iter().chain([(ADOPTED, "true")]);
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

    /// Key, address and value of each allocation. Skips a key that is not an offset inside the range: no pod can have such an address.
    pub fn entries(&self) -> Vec<(String, IpAddr, &Allocation)> {
        // Without a valid range no key has an address.
        let Ok(net) = self.spec.range.parse::<IpNet>() else { return Vec::new() };
        let address = |key: &str| address_at(&net, key.parse().ok()?);
        let entries = self.spec.allocations.iter();
        entries.filter_map(|(key, entry)| Some((key.clone(), address(key)?, entry))).collect()
    }
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

/// Whether a pool has the annotation [`ADOPTED`].
pub(crate) fn is_adopted(metadata: &ObjectMeta) -> bool {
    metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(ADOPTED))
}

/// The [`SeparateUse`] of a pool, read from its annotations.
pub(crate) fn separate_use(metadata: &ObjectMeta) -> SeparateUse {
    let annotations = metadata.annotations.as_ref();
    SeparateUse::of(annotations.and_then(|annotations| annotations.get(SEPARATE_SINCE)).map(String::as_str))
}

/// Whether networks request addresses of a pool with `enable_overlapping_ranges: false`, or did, by its annotation [`SEPARATE_SINCE`]. Why
/// that matters: [`crate::pool::claim_names`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeparateUse {
    /// No request did so far: there is no annotation.
    #[default]
    Never,
    /// The time of the first such request.
    Since(Timestamp),
    /// The annotation is not a time, so some request did, at an unknown time.
    Unreadable,
}

impl SeparateUse {
    /// Reads the annotation's value.
    pub fn of(annotation: Option<&str>) -> Self {
        match annotation.map(str::parse) {
            None => SeparateUse::Never,
            Some(Ok(since)) => SeparateUse::Since(since),
            Some(Err(_)) => SeparateUse::Unreadable,
        }
    }

    /// Whether a cached value is enough for a request of this kind. A separate request needs a time to count from; without one it must write
    /// the annotation first.
    pub const fn suffices_for(self, overlapping: OverlappingRanges) -> bool {
        match overlapping {
            OverlappingRanges::Protected => true,
            OverlappingRanges::Separate => matches!(self, SeparateUse::Since(_)),
        }
    }
}

/// A time as the value of [`SEPARATE_SINCE`], in whole seconds.
pub fn rfc3339_seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
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
    fn separate_since_is_an_rfc_3339_time_in_whole_seconds() {
        let since = "2026-11-25T13:00:00Z";
        assert_eq!(SeparateUse::of(None), SeparateUse::Never);
        assert_eq!(SeparateUse::of(Some(since)), SeparateUse::Since(time(since)));
        assert_eq!(rfc3339_seconds(time("2026-11-25T13:00:00.123456Z")), since);
        for damaged in ["", "yes", "2026-11-25"] {
            assert_eq!(SeparateUse::of(Some(damaged)), SeparateUse::Unreadable, "{damaged:?}");
        }
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }
}
