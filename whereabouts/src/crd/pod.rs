//! The identity of a pod: its UIDs and its name.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use node::names::{DnsLabel, DnsSubdomain};

use super::packed::Hex;

/// Annotation of a mirror pod, the API server's object for a static pod: the UID that the pod has on its node. Runtimes pass this one to
/// plugins; the object's own UID differs.
const STATIC_POD_UID: &str = "kubernetes.io/config.mirror";

/// The UIDs of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodIdentity {
    uid: Hex<16>,
    static_pod_uid: Option<Box<str>>,
}

impl PodIdentity {
    /// The identity in a pod's object.
    pub fn of(metadata: &ObjectMeta) -> Self {
        let annotations = metadata.annotations.as_ref();
        let static_pod_uid = annotations.and_then(|annotations| annotations.get(STATIC_POD_UID));
        PodIdentity::new(metadata.uid.as_deref().unwrap_or_default(), static_pod_uid.map(String::as_str))
    }

    /// The identity of a pod whose object has `uid`, and for a static pod the UID on its node.
    pub fn new(uid: &str, static_pod_uid: Option<&str>) -> Self {
        PodIdentity { uid: Hex::of(uid), static_pod_uid: static_pod_uid.map(Box::from) }
    }

    /// Whether a runtime may call a plugin with `uid` for this pod.
    pub fn has_uid(&self, uid: &str) -> bool {
        self.has_packed_uid(&Hex::of(uid))
    }

    /// [`PodIdentity::has_uid`], of a packed UID.
    pub fn has_packed_uid(&self, uid: &Hex<16>) -> bool {
        self.uid == *uid || self.static_pod_uid.as_deref().is_some_and(|other| Hex::of(other) == *uid)
    }
}

/// A pod's namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodName {
    /// The namespace.
    pub namespace: DnsLabel,
    /// The name.
    pub name: DnsSubdomain,
}

impl PodName {
    /// Reads `namespace/name`.
    pub fn parse(podref: &str) -> Option<Self> {
        // Both parts become part of a request's path, so both are validated.
        let (namespace, name) = podref.split_once('/')?;
        Some(PodName { namespace: DnsLabel::new(namespace).ok()?, name: DnsSubdomain::new(name).ok()? })
    }
}
