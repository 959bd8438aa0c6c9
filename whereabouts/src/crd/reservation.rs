//! The custom resources, as the API server has them. Names, keys and meanings are Whereabouts'; what is ours alone is in labels and
//! annotations, which every version of its definitions keeps.

use std::collections::BTreeMap;

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use node::client::ResourceKind;
use serde::{Deserialize, Serialize};

/// `OverlappingRangeIPReservation`: a claim.
pub const RESERVATIONS: ResourceKind =
    ResourceKind::new("whereabouts.cni.cncf.io", "v1alpha1", "overlappingrangeipreservations");

/// Label of a claim: the pool it is of.
pub const LABEL_POOL: &str = "whereabouts.multus-rs/pool";

/// Label of a claim: the container it is for, cut to what a label can hold (63 of the usual 64 digits).
pub const LABEL_CONTAINER: &str = "whereabouts.multus-rs/container";

/// Label of a claim: the node it was made for, where that is known.
pub const LABEL_NODE: &str = "whereabouts.multus-rs/node";

/// Annotation of a claim: the range of its pool, for who must make the pool's object.
pub const RANGE: &str = "whereabouts.multus-rs/range";

/// Annotation of a claim: the name of its pool, whole; the label is cut.
pub const POOL: &str = "whereabouts.multus-rs/pool";

/// Annotation of a claim: the container it is for. Older definitions drop `spec.containerid`.
pub const CONTAINER: &str = "whereabouts.multus-rs/container-id";

/// Annotation of a claim: the UID of the pod it is for.
pub const POD_UID: &str = "whereabouts.multus-rs/pod-uid";

/// Annotation of a claim: which call of its container found it again. A write that changes nothing would not be one.
const RENEWED: &str = "whereabouts.multus-rs/renewed";

/// Longest value of a label.
const LABEL_MAX: usize = 63;

/// A claim: one address of one interface of one pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    #[serde(default)]
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

/// What a claim says besides its name: whose it is, and of which pool.
#[derive(Clone, Debug)]
pub struct ReservationOwner<'a> {
    /// The pool's name.
    pub pool: &'a str,
    /// The pool's range.
    pub range: IpNet,
    /// The pod's UID, where it is known.
    pub pod_uid: Option<&'a str>,
    /// The node, where it is known.
    pub node: Option<&'a str>,
    /// Pod, interface and container.
    pub spec: ReservationSpec,
}

impl Reservation {
    /// A claim to be made.
    pub fn new(name: &str, holding: ReservationOwner<'_>) -> Self {
        let mut reservation = Reservation {
            api_version: "whereabouts.cni.cncf.io/v1alpha1".to_owned(),
            kind: "OverlappingRangeIPReservation".to_owned(),
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            spec: ReservationSpec::default(),
        };
        reservation.assign(holding);
        reservation
    }

    /// Writes whose it is.
    pub fn assign(&mut self, holding: ReservationOwner<'_>) {
        let ReservationOwner { pool, range, pod_uid, node, spec } = holding;
        let labels = self.metadata.labels.get_or_insert_default();
        labels.insert(LABEL_POOL.to_owned(), label(pool));
        labels.insert(LABEL_CONTAINER.to_owned(), label(&spec.containerid));
        put(labels, LABEL_NODE, node.map(label));
        let annotations = self.metadata.annotations.get_or_insert_default();
        annotations.insert(POOL.to_owned(), pool.to_owned());
        annotations.insert(RANGE.to_owned(), range.to_string());
        annotations.insert(CONTAINER.to_owned(), spec.containerid.clone());
        put(annotations, POD_UID, pod_uid.map(str::to_owned));
        self.spec = spec;
    }

    /// Writes that the call with this number found it again.
    pub fn renew(&mut self, call: u64) {
        let annotations = self.metadata.annotations.get_or_insert_default();
        annotations.insert(RENEWED.to_owned(), format!("{call:016x}"));
    }

    /// The name of the pool it is of, where it says so. One that Whereabouts made does not.
    pub fn pool(&self) -> Option<&str> {
        self.annotation(POOL).or_else(|| self.metadata.labels.as_ref()?.get(LABEL_POOL).map(String::as_str))
    }

    /// The range of the pool it is of, where it says so.
    pub fn range(&self) -> Option<IpNet> {
        self.annotation(RANGE)?.parse().ok()
    }

    /// The UID of the pod it is for, where it says so.
    pub fn pod_uid(&self) -> Option<&str> {
        self.annotation(POD_UID)
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// The container it is for; empty where nothing says so.
    pub fn container(&self) -> &str {
        self.annotation(CONTAINER).unwrap_or(&self.spec.containerid)
    }

    /// Whether it is of this interface of this pod. One without `ifname` is of whichever interface asks.
    pub fn is_of(&self, podref: &str, if_name: &str) -> bool {
        self.spec.podref == podref && (self.spec.ifname == if_name || self.spec.ifname.is_empty())
    }
}

fn put(map: &mut BTreeMap<String, String>, key: &str, value: Option<String>) {
    match value {
        Some(value) => map.insert(key.to_owned(), value),
        None => map.remove(key),
    };
}

/// `text` as the value of a label: cut, and without what may not stand at its ends.
pub fn label(text: &str) -> String {
    let cut: String = text.chars().take(LABEL_MAX).collect();
    cut.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_63_characters_and_ends_with_one_that_may_stand_there() {
        assert_eq!(label(&"a".repeat(64)), "a".repeat(63));
        assert_eq!(label("fd00--"), "fd00");
        assert_eq!(label("10.0.0.0-8"), "10.0.0.0-8");
    }

    #[test]
    fn a_new_claim_is_read_back_as_the_same_containers() {
        let spec = ReservationSpec { podref: "a/b".into(), ifname: "net1".into(), containerid: "c".into() };
        let range = "10.0.0.0/8".parse().unwrap();
        let holding =
            ReservationOwner { pool: "10.0.0.0-8", range, pod_uid: Some("u"), node: Some("n1"), spec };
        let mut claim = Reservation::new("10.0.0.1", holding.clone());
        assert_eq!(claim.container(), "c");
        let said = (claim.pool(), claim.range(), claim.pod_uid());
        assert_eq!(said, (Some("10.0.0.0-8"), Some(range), Some("u")));
        claim.assign(ReservationOwner { pod_uid: None, node: None, ..holding });
        assert_eq!(claim.pod_uid(), None, "the UID of an earlier pod must not stay");
        // A definition of 0.8 or later keeps the annotation and drops the field.
        let mut pruned = serde_json::to_value(&claim).unwrap();
        pruned["spec"].as_object_mut().unwrap().remove("containerid");
        let pruned: Reservation = serde_json::from_value(pruned).unwrap();
        assert_eq!(pruned.container(), "c");
        assert!(pruned.is_of("a/b", "net1") && !pruned.is_of("a/b", "net2") && !pruned.is_of("a/c", "net1"));
    }
}
