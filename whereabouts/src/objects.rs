//! The custom resources, as the API server has them. Names, keys and meanings are Whereabouts'; what is ours alone is in labels and
//! annotations, which every version of its definitions keeps.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use node::client::ResourceKind;
use serde::{Deserialize, Serialize};

use crate::ip;

/// `OverlappingRangeIPReservation`: a claim.
pub const RESERVATIONS: ResourceKind =
    ResourceKind::new("whereabouts.cni.cncf.io", "v1alpha1", "overlappingrangeipreservations");

/// `IPPool`: the addresses of one range.
pub const POOLS: ResourceKind = ResourceKind::new("whereabouts.cni.cncf.io", "v1alpha1", "ippools");

/// Label of a claim: the pool it is of.
pub const LABEL_POOL: &str = "whereabouts.multus-rs/pool";

/// Label of a claim: the container it is for, cut to what a label can hold (63 of the usual 64 digits).
pub const LABEL_CONTAINER: &str = "whereabouts.multus-rs/container";

/// Annotation of a claim: the container it is for. Older definitions drop `spec.containerid`.
pub const CONTAINER: &str = "whereabouts.multus-rs/container-id";

/// Annotation of a claim: the UID of the pod it is for.
pub const POD_UID: &str = "whereabouts.multus-rs/pod-uid";

/// Annotation of a pool: every entry that upstream wrote has a claim.
pub const ADOPTED: &str = "whereabouts.multus-rs/adopted";

/// Longest value of a label.
const LABEL_MAX: usize = 63;

/// A claim: one address of one interface of one pod.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reservation {
    /// API version.
    #[serde(default)]
    pub api_version: String,
    /// Kind.
    #[serde(default)]
    pub kind: String,
    /// Name, labels, annotations.
    pub metadata: ObjectMeta,
    /// Whose it is.
    pub spec: ReservationSpec,
}

/// Whose a claim is. Versions of Whereabouts before 0.8 wrote no `ifname`, later ones no `containerid`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationSpec {
    /// `namespace/name` of the pod.
    #[serde(default)]
    pub podref: String,
    /// The interface.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ifname: String,
    /// The container, for pods the sandbox.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub containerid: String,
}

impl Reservation {
    /// A claim to be made.
    pub fn new(name: &str, pool: &str, spec: ReservationSpec, pod_uid: Option<&str>) -> Self {
        let mut reservation = Reservation {
            api_version: "whereabouts.cni.cncf.io/v1alpha1".to_owned(),
            kind: "OverlappingRangeIPReservation".to_owned(),
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            spec: ReservationSpec::default(),
        };
        reservation.assign(pool, spec, pod_uid);
        reservation
    }

    /// Writes whose it is.
    pub fn assign(&mut self, pool: &str, spec: ReservationSpec, pod_uid: Option<&str>) {
        let labels = self.metadata.labels.get_or_insert_default();
        labels.insert(LABEL_POOL.to_owned(), label(pool));
        labels.insert(LABEL_CONTAINER.to_owned(), label(&spec.containerid));
        let annotations = self.metadata.annotations.get_or_insert_default();
        annotations.insert(CONTAINER.to_owned(), spec.containerid.clone());
        match pod_uid {
            Some(uid) => annotations.insert(POD_UID.to_owned(), uid.to_owned()),
            None => annotations.remove(POD_UID),
        };
        self.spec = spec;
    }

    /// The container it is for; empty where nothing says so.
    pub fn container(&self) -> &str {
        let annotations = self.metadata.annotations.as_ref();
        let noted = annotations.and_then(|a| a.get(CONTAINER)).map(String::as_str);
        noted.unwrap_or(&self.spec.containerid)
    }

    /// Whether it is of this interface of this pod. One without `ifname` is of whichever interface asks.
    pub fn is_of(&self, podref: &str, if_name: &str) -> bool {
        self.spec.podref == podref && (self.spec.ifname == if_name || self.spec.ifname.is_empty())
    }
}

/// `text` as the value of a label: cut, and without what may not stand at its ends.
pub fn label(text: &str) -> String {
    let cut: String = text.chars().take(LABEL_MAX).collect();
    cut.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

/// A pool as Whereabouts writes it.
#[derive(Clone, Debug, Deserialize)]
pub struct Pool {
    /// Name, annotations.
    pub metadata: ObjectMeta,
    /// Range and entries.
    pub spec: PoolSpec,
}

/// Range and entries of a pool.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PoolSpec {
    /// The range, without host bits.
    pub range: String,
    /// By how far the address lies above the range's first, in decimal.
    #[serde(default)]
    pub allocations: BTreeMap<String, Allocation>,
}

/// An entry of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Allocation {
    /// The container.
    #[serde(default)]
    pub id: String,
    /// `namespace/name` of the pod.
    #[serde(default)]
    pub podref: String,
    /// The interface; absent before 0.8.
    #[serde(default)]
    pub ifname: String,
}

impl Pool {
    /// The address of each entry. One whose key or range is none is left out: nobody can hold it.
    pub fn entries(&self) -> Vec<(String, IpAddr, &Allocation)> {
        let Ok(net) = self.spec.range.parse::<IpNet>() else { return Vec::new() };
        let address = |key: &str| ip::add(net.network(), key.parse().ok()?).filter(|ip| net.contains(ip));
        let entries = self.spec.allocations.iter();
        entries.filter_map(|(key, entry)| Some((key.clone(), address(key)?, entry))).collect()
    }
}

/// Whether a pool's metadata says that its entries have claims.
pub fn is_adopted(metadata: &ObjectMeta) -> bool {
    metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(ADOPTED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_label_has_63_characters_and_ends_with_one_that_may_stand_there() {
        assert_eq!(label(&"a".repeat(64)), "a".repeat(63));
        assert_eq!(label("fd00--"), "fd00");
        assert_eq!(label("10.0.0.0-8"), "10.0.0.0-8");
    }

    #[test]
    fn a_new_claim_is_read_back_as_the_same_containers() {
        let spec = ReservationSpec { podref: "a/b".into(), ifname: "net1".into(), containerid: "c".into() };
        let claim = Reservation::new("10.0.0.1", "10.0.0.0-8", spec, Some("u"));
        assert_eq!(claim.container(), "c");
        // A definition of 0.8 or later keeps the annotation and drops the field.
        let mut pruned = serde_json::to_value(&claim).unwrap();
        pruned["spec"].as_object_mut().unwrap().remove("containerid");
        let pruned: Reservation = serde_json::from_value(pruned).unwrap();
        assert_eq!(pruned.container(), "c");
        assert!(pruned.is_of("a/b", "net1") && !pruned.is_of("a/b", "net2") && !pruned.is_of("a/c", "net1"));
    }

    #[test]
    fn entries_are_offsets_and_wrong_ones_are_passed_over() {
        let pool = json!({"metadata": {"name": "p"}, "spec": {"range": "10.0.0.0/30", "allocations":
            {"1": {"id": "a", "podref": "x/y"}, "9": {"id": "b"}, "banana": {}, "-1": {}}}});
        let pool: Pool = serde_json::from_value(pool).unwrap();
        let entries = pool.entries();
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].0.as_str(), entries[0].1), ("1", "10.0.0.1".parse().unwrap()));
    }
}
