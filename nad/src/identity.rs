//! Whether a pod object is the pod that a plugin was called for.
//!
//! The runtime gives a plugin the UID that the pod has on its node. For a pod from the API server this is the UID of its object. A static
//! pod (from a manifest file or URL of the kubelet) has two: the kubelet computes the UID on the node as a hash of the manifest, and
//! the object at the API server, the "mirror pod", gets a UID of its own. The kubelet writes the UID on the node into the mirror pod's
//! annotation [`MIRROR_POD`].
//!
//! So there is one rule: **a UID belongs to a pod object if it is the object's `metadata.uid` or the value of its annotation
//! `kubernetes.io/config.mirror`.**
//!
//! Multus has another rule: it accepts any UID if the annotation `kubernetes.io/config.source` is there and is not `api`. That rule
//! takes the mirror pod of an older manifest, with other networks, for the current pod. And because every user can set that annotation, a
//! plugin call for a deleted pod would succeed for its successor. The annotation [`MIRROR_POD`] has neither problem: a changed manifest has
//! another hash, and the API server refuses to change the annotation of an existing pod.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The annotation of a mirror pod: the UID that the static pod has on its node.
pub const MIRROR_POD: &str = "kubernetes.io/config.mirror";

/// The UIDs of one pod. Small, because a process may hold one for each pod of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodIdentity {
    uid: Box<str>,
    uid_on_node: Option<Box<str>>,
}

impl PodIdentity {
    /// The identity of a pod object.
    pub fn of(metadata: &ObjectMeta) -> Self {
        let uid_on_node = metadata.annotations.as_ref().and_then(|annotations| annotations.get(MIRROR_POD));
        PodIdentity::new(metadata.uid.as_deref().unwrap_or_default(), uid_on_node.map(String::as_str))
    }

    /// The identity of a pod object with this UID and this value of the annotation [`MIRROR_POD`].
    pub fn new(uid: &str, uid_on_node: Option<&str>) -> Self {
        PodIdentity { uid: uid.into(), uid_on_node: uid_on_node.map(Box::from) }
    }

    /// The UID of the object at the API server.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The UID that a static pod has on its node.
    pub fn uid_on_node(&self) -> Option<&str> {
        self.uid_on_node.as_deref()
    }

    /// Whether a plugin that received `uid` was called for this pod.
    pub fn is(&self, uid: &str) -> bool {
        *self.uid == *uid || self.uid_on_node.as_deref() == Some(uid)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const HASH: &str = "8b7a4a6f0c9e5d1b2a3c4d5e6f708192";

    fn pod(annotations: &[(&str, &str)]) -> PodIdentity {
        let annotations: BTreeMap<String, String> =
            annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        PodIdentity::of(&ObjectMeta {
            uid: Some("u-1".to_owned()),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        })
    }

    #[test]
    fn a_pod_is_known_by_the_uid_of_its_object_alone() {
        let pod = pod(&[]);
        assert!(pod.is("u-1"));
        assert!(!pod.is("u-2") && !pod.is("") && !pod.is(HASH));
    }

    #[test]
    fn a_static_pod_is_known_by_both_of_its_uids() {
        let pod = pod(&[(MIRROR_POD, HASH), ("kubernetes.io/config.source", "file")]);
        assert!(pod.is("u-1") && pod.is(HASH));
        assert!(!pod.is("u-2"));
    }

    #[test]
    fn the_mirror_pod_of_an_older_manifest_is_another_pod() {
        let older = pod(&[(MIRROR_POD, "0123"), ("kubernetes.io/config.source", "file")]);
        assert!(!older.is(HASH));
    }

    #[test]
    fn the_annotation_config_source_alone_makes_no_static_pod() {
        assert!(!pod(&[("kubernetes.io/config.source", "file")]).is("u-2"));
    }

    #[test]
    fn an_identity_is_at_most_two_boxed_texts() {
        assert!(size_of::<PodIdentity>() <= 4 * size_of::<usize>());
    }
}
