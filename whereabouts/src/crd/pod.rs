//! Which pod an object, a podref or a UID stands for.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use node::names::{DnsLabel, DnsSubdomain};

use super::packed::Hex;

/// Annotation of the object that stands for a static pod: the UID that the pod has on its node, which runtimes tell plugins. The object's
/// own UID is another.
const STATIC_POD_UID: &str = "kubernetes.io/config.mirror";

/// Which pod stands behind a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodIdentity {
    uid: Hex<16>,
    on_node: Option<Box<str>>,
}

impl PodIdentity {
    /// Of a pod's object.
    pub fn of(metadata: &ObjectMeta) -> Self {
        let on_node = metadata.annotations.as_ref().and_then(|annotations| annotations.get(STATIC_POD_UID));
        PodIdentity::new(metadata.uid.as_deref().unwrap_or_default(), on_node.map(String::as_str))
    }

    /// Of the UID of a pod's object, and for a static pod the one that it has on its node.
    pub fn new(uid: &str, on_node: Option<&str>) -> Self {
        PodIdentity { uid: Hex::of(uid), on_node: on_node.map(Box::from) }
    }

    /// Whether a plugin that was told `uid` was called for this pod.
    pub fn is(&self, uid: &str) -> bool {
        self.is_of(&Hex::of(uid))
    }

    /// [`PodIdentity::is`], of a UID as it is kept.
    pub fn is_of(&self, uid: &Hex<16>) -> bool {
        self.uid == *uid || self.on_node.as_deref().is_some_and(|on_node| Hex::of(on_node) == *uid)
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
        let (namespace, name) = podref.split_once('/')?;
        Some(PodName { namespace: DnsLabel::new(namespace).ok()?, name: DnsSubdomain::new(name).ok()? })
    }
}
