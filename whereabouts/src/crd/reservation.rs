//! `OverlappingRangeIPReservation`: a claim, one address of one interface of one pod.
//!
//! The resource, its name and its fields are Whereabouts'. Our own data is in labels and annotations: older definitions drop unknown fields,
//! but every version keeps metadata.

use std::collections::BTreeMap;

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use node::client::ResourceKind;
use serde::{Deserialize, Serialize};

/// The resource kind of a claim.
pub const RESERVATIONS: ResourceKind =
    ResourceKind::new("whereabouts.cni.cncf.io", "v1alpha1", "overlappingrangeipreservations");

/// Label of a claim: its pool, cut to 63 characters. Daemons select the claims of a pool by it.
pub const LABEL_POOL: &str = "whereabouts.multus-rs/pool";

/// Label of a claim: the pool of its whole range, cut to 63 characters. Another one than [`LABEL_POOL`] only if the nodes have slices of the
/// range. Whoever fixes how the claims of a range are named selects by it.
pub const LABEL_WHOLE: &str = "whereabouts.multus-rs/range-pool";

/// Label of a claim: its container, cut to 63 of the usual 64 digits. DEL without a record selects by it.
pub(crate) const LABEL_CONTAINER: &str = "whereabouts.multus-rs/container";

/// Label of a claim: its node, if that is known. For users who select by it, and for the admission policy in `deploy/node-limits`.
pub const LABEL_NODE: &str = "whereabouts.multus-rs/node";

/// Annotation of a claim: the range of its pool. The leader needs it to create the IPPool.
const RANGE: &str = "whereabouts.multus-rs/range";

/// Annotation of a claim: the full name of its pool. It has the same key as the label, whose value may be cut.
const POOL: &str = "whereabouts.multus-rs/pool";

/// Annotation of a claim: its container. A definition that does not know `spec.containerid` drops it.
const CONTAINER: &str = "whereabouts.multus-rs/container-id";

/// Annotation: the interface. Definitions of Whereabouts before 0.8 drop `spec.ifname`.
pub(crate) const IFNAME: &str = "whereabouts.multus-rs/ifname";

/// Annotation of a claim: the UID of its pod.
const POD_UID: &str = "whereabouts.multus-rs/pod-uid";

/// Annotation of a claim whose caller named no pod UID: [`CONTAINER_OWNER`]. See [`Reservation::is_owned_by_container`].
const OWNER: &str = "whereabouts.multus-rs/owner";

/// The value of [`OWNER`].
pub(super) const CONTAINER_OWNER: &str = "container";

/// Annotation of a claim: a nonce of the call that reused it. The nonce forces a new resourceVersion; the API server ignores no-op updates.
const RENEWED: &str = "whereabouts.multus-rs/renewed";

/// The API server's limit for the value of a label, in characters.
const LABEL_MAX: usize = 63;

/// A claim.
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
    /// Pod, interface and container.
    #[serde(default)]
    pub spec: ReservationSpec,
}

/// The owner of a claim, in the fields of Whereabouts. Versions before 0.8 write no `ifname`, later ones no `containerid`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationSpec {
    /// `namespace/name` of the pod.
    #[serde(default)]
    pub podref: String,
    /// The interface.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ifname: String,
    /// The container: for a pod, its sandbox.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub containerid: String,
}

/// The owner and the pool of a claim: everything in it except its name.
#[derive(Clone, Debug)]
pub struct ReservationOwner<'a> {
    /// The pool's name.
    pub pool: &'a str,
    /// The name of the pool of the whole range: another one only for a node's slice.
    pub whole: &'a str,
    /// The pool's range.
    pub range: IpNet,
    /// The pod's UID, if it is known.
    pub pod_uid: Option<&'a str>,
    /// The node, if it is known.
    pub node: Option<&'a str>,
    /// Pod, interface and container.
    pub spec: ReservationSpec,
}

impl Reservation {
    /// A claim to create.
    pub fn new(name: &str, owner: ReservationOwner<'_>) -> Self {
        let mut reservation = Reservation {
            api_version: "whereabouts.cni.cncf.io/v1alpha1".to_owned(),
            kind: "OverlappingRangeIPReservation".to_owned(),
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            spec: ReservationSpec::default(),
        };
        reservation.assign(owner);
        reservation
    }

    /// Replaces owner and pool.
    pub fn assign(&mut self, owner: ReservationOwner<'_>) {
        let ReservationOwner { pool, whole, range, pod_uid, node, spec } = owner;
        let labels = self.metadata.labels.get_or_insert_default();
        labels.insert(LABEL_POOL.to_owned(), label(pool));
        labels.insert(LABEL_WHOLE.to_owned(), label(whole));
        labels.insert(LABEL_CONTAINER.to_owned(), label(&spec.containerid));
        set_or_remove(labels, LABEL_NODE, node.map(label));
        let annotations = self.metadata.annotations.get_or_insert_default();
        annotations.insert(POOL.to_owned(), pool.to_owned());
        annotations.insert(RANGE.to_owned(), range.to_string());
        annotations.insert(CONTAINER.to_owned(), spec.containerid.clone());
        annotations.insert(IFNAME.to_owned(), spec.ifname.clone());
        // An absent UID must replace that of the previous owner, or the claim would be reclaimed as a deleted pod's.
        set_or_remove(annotations, POD_UID, pod_uid.map(str::to_owned));
        annotations.remove(OWNER);
        self.spec = spec;
    }

    /// Makes the container the owner of the claim.
    #[must_use]
    pub fn owned_by_container(mut self) -> Self {
        let annotations = self.metadata.annotations.get_or_insert_default();
        annotations.insert(OWNER.to_owned(), CONTAINER_OWNER.to_owned());
        self
    }

    /// Whether the claim belongs to its container alone: the caller named no pod UID, so its podref may be that of many containers, or of no
    /// pod at all. A claim that Whereabouts made has no UID either, and yet belongs to the pod.
    pub fn is_owned_by_container(&self) -> bool {
        self.annotation(OWNER) == Some(CONTAINER_OWNER)
    }

    /// Sets the annotation [`RENEWED`], so that an update gets a new resourceVersion even if nothing else changes.
    pub(crate) fn renew(&mut self, nonce: u64) {
        let annotations = self.metadata.annotations.get_or_insert_default();
        annotations.insert(RENEWED.to_owned(), format!("{nonce:016x}"));
    }

    /// The name of its pool: the annotation, or the label, which may be cut. A claim that Whereabouts made has neither.
    pub fn pool(&self) -> Option<&str> {
        self.annotation(POOL).or_else(|| self.metadata.labels.as_ref()?.get(LABEL_POOL).map(String::as_str))
    }

    /// The label [`LABEL_WHOLE`], which may be cut.
    pub(crate) fn whole(&self) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(LABEL_WHOLE).map(String::as_str)
    }

    /// The range of its pool, if the claim states one that can be parsed.
    pub fn range(&self) -> Option<IpNet> {
        self.annotation(RANGE)?.parse().ok()
    }

    /// The UID of its pod, if the claim states one.
    pub fn pod_uid(&self) -> Option<&str> {
        self.annotation(POD_UID)
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// Its container; empty if the claim states none.
    pub fn container(&self) -> &str {
        self.annotation(CONTAINER).unwrap_or(&self.spec.containerid)
    }

    /// Its interface; empty if the claim states none, as a claim of Whereabouts before 0.8.
    pub fn if_name(&self) -> &str {
        self.annotation(IFNAME).unwrap_or(&self.spec.ifname)
    }

    /// Whether the claim belongs to this interface of this pod. A claim that Whereabouts made without `ifname` belongs to every interface of
    /// its pod. A claim of ours always states its interface, so that two interfaces of one pod never share an address.
    pub fn belongs_to(&self, podref: &str, if_name: &str) -> bool {
        ClaimedInterface { podref: &self.spec.podref, if_name: self.if_name() }.is(podref, if_name)
    }
}

/// The interface that a claim states.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClaimedInterface<'a> {
    /// The pod, as `<namespace>/<name>`.
    pub(super) podref: &'a str,
    /// The name of the interface; empty if the claim states none.
    pub(super) if_name: &'a str,
}

impl ClaimedInterface<'_> {
    /// Whether it is this interface of this pod. See [`Reservation::belongs_to`].
    pub(super) fn is(self, podref: &str, if_name: &str) -> bool {
        self.podref == podref && (self.if_name == if_name || self.if_name.is_empty())
    }
}

fn set_or_remove(map: &mut BTreeMap<String, String>, key: &str, value: Option<String>) {
    match value {
        Some(value) => map.insert(key.to_owned(), value),
        None => map.remove(key),
    };
}

/// `text` as the value of a label: cut to 63 characters, and to end with a letter or digit as the API server requires.
pub fn label(text: &str) -> String {
    let cut: String = text.chars().take(LABEL_MAX).collect();
    cut.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_at_most_63_characters_and_ends_with_a_letter_or_digit() {
        assert_eq!(label(&"a".repeat(64)), "a".repeat(63));
        assert_eq!(label("fd00--"), "fd00");
        assert_eq!(label("10.0.0.0-8"), "10.0.0.0-8");
    }

    #[test]
    fn a_new_claim_reads_back_with_the_same_owner() {
        let spec = ReservationSpec { podref: "a/b".into(), ifname: "net1".into(), containerid: "c".into() };
        let range = "10.0.0.0/8".parse().unwrap();
        let owner = ReservationOwner {
            pool: "10.0.0.0-8",
            whole: "10.0.0.0-8",
            range,
            pod_uid: Some("u"),
            node: Some("n1"),
            spec,
        };
        let mut claim = Reservation::new("10.0.0.1", owner.clone());
        assert_eq!(claim.container(), "c");
        let stated = (claim.pool(), claim.range(), claim.pod_uid());
        assert_eq!(stated, (Some("10.0.0.0-8"), Some(range), Some("u")));
        claim.assign(ReservationOwner { pod_uid: None, node: None, ..owner });
        assert_eq!(claim.pod_uid(), None, "the UID of the previous owner is removed");
        // A definition that does not know the field drops it and keeps the annotation.
        let mut pruned = serde_json::to_value(&claim).unwrap();
        pruned["spec"].as_object_mut().unwrap().remove("containerid");
        let mut pruned: Reservation = serde_json::from_value(pruned).unwrap();
        assert_eq!(pruned.container(), "c");
        assert!(pruned.belongs_to("a/b", "net1"));
        assert!(!pruned.belongs_to("a/b", "net2") && !pruned.belongs_to("a/c", "net1"));
        pruned.spec.ifname.clear();
        assert!(
            pruned.belongs_to("a/b", "net1") && !pruned.belongs_to("a/b", "net2"),
            "the annotation stays"
        );
        pruned.metadata.annotations = None;
        assert!(
            pruned.belongs_to("a/b", "net2"),
            "a claim of Whereabouts before 0.8 belongs to every interface"
        );
    }
}
