//! What the daemon caches of a pod or a node: its name and identity.

use nad::PodIdentity;
use serde::Deserialize;

/// A pod or a node, of which only the metadata is read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "WireObject")]
pub struct CachedObject {
    /// The namespace; empty for a node.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The UIDs of a pod.
    pub identity: PodIdentity,
}

#[derive(Deserialize)]
struct WireObject {
    metadata: WireObjectMetadata,
}

#[derive(Deserialize)]
struct WireObjectMetadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    annotations: Option<WireObjectAnnotations>,
}

/// See [`PodIdentity::of`].
#[derive(Deserialize)]
struct WireObjectAnnotations {
    #[serde(rename = "kubernetes.io/config.mirror")]
    static_pod_uid: Option<String>,
}

impl From<WireObject> for CachedObject {
    fn from(WireObject { metadata }: WireObject) -> Self {
        let static_pod_uid = metadata.annotations.and_then(|annotations| annotations.static_pod_uid);
        CachedObject {
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            identity: PodIdentity::new(
                metadata.uid.as_deref().unwrap_or_default(),
                static_pod_uid.as_deref(),
            ),
        }
    }
}
