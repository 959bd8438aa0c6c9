//! What the daemon keeps of a pod: enough to say which networks it requests, and whose pod it is.

use nad::{Life, Pod, PodIdentity, PodRef};
use node::names::{DnsLabel, DnsSubdomain, NameError, PodUid};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The namespace and name of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PodName {
    namespace: DnsLabel,
    name: DnsSubdomain,
}

impl PodName {
    /// The name of this pod.
    pub(crate) fn of(pod: &PodRef) -> Self {
        PodName { namespace: pod.namespace.clone(), name: pod.name.clone() }
    }

    /// The pod of this name with this UID.
    pub(crate) fn with_uid(&self, uid: Option<PodUid>) -> PodRef {
        PodRef { namespace: self.namespace.clone(), name: self.name.clone(), uid }
    }
}

/// A cached pod, some 200 bytes and its annotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CachedPod {
    /// Its UIDs.
    pub(crate) identity: PodIdentity,
    /// The annotation [`nad::NETWORKS`].
    pub(crate) networks: Option<Box<str>>,
    /// The annotation [`nad::DEFAULT_NETWORK`].
    pub(crate) default_network: Option<Box<str>>,
    /// Whether it is being deleted.
    pub(crate) life: Life,
}

impl CachedPod {
    /// The pod as the plugin needs it.
    pub(crate) fn to_pod(&self, name: &PodName, node: Option<String>) -> Pod {
        let text = |value: &Option<Box<str>>| value.as_deref().map(str::to_owned);
        Pod {
            pod_ref: name.with_uid(self.uid()),
            networks: text(&self.networks),
            default_network: text(&self.default_network),
            node,
        }
    }

    /// The UID of its object.
    pub(crate) fn uid(&self) -> Option<PodUid> {
        PodUid::new(self.identity.uid()).ok()
    }
}

/// The parts of a pod object's metadata that are read. The rest is skipped unparsed, with `managedFields` as its largest part.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PodObject {
    metadata: Metadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    namespace: String,
    name: String,
    uid: String,
    #[serde(rename = "deletionTimestamp")]
    deletion_timestamp: Option<IgnoredAny>,
    annotations: Option<Annotations>,
}

#[derive(Debug, Default, Deserialize)]
struct Annotations {
    #[serde(rename = "k8s.v1.cni.cncf.io/networks")]
    networks: Option<Box<str>>,
    #[serde(rename = "v1.multus-cni.io/default-network")]
    default_network: Option<Box<str>>,
    #[serde(rename = "k8s.v1.cni.cncf.io/network-status")]
    status: Option<Box<str>>,
    #[serde(rename = "kubernetes.io/config.mirror")]
    mirror: Option<Box<str>>,
}

/// The most bytes of annotations that are cached of a pod. Networks take some 100 bytes each, and a pod has at most a few dozen; but whoever
/// makes pods may write 256 KiB into each, and the daemon's memory is limited.
const MAX_CACHED: usize = 16 << 10;

/// A pod as an event of the watch shows it.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Its name.
    pub(crate) name: PodName,
    /// What is cached of it.
    pub(crate) pod: CachedPod,
    /// Whether it may be cached.
    pub(crate) size: Size,
    /// Its network-status, which is not cached.
    pub(crate) status: Option<Box<str>>,
}

/// Whether an object is small enough for the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// It is.
    Fits,
    /// It is not: it is read when a plugin asks for it.
    TooLarge,
}

impl TryFrom<PodObject> for Seen {
    type Error = NameError;

    fn try_from(object: PodObject) -> Result<Self, NameError> {
        let Metadata { namespace, name, uid, deletion_timestamp, annotations } = object.metadata;
        let Annotations { networks, default_network, status, mirror } = annotations.unwrap_or_default();
        let name = PodName { namespace: DnsLabel::new(namespace)?, name: DnsSubdomain::new(name)? };
        let identity = PodIdentity::new(&uid, mirror.as_deref());
        let bytes: usize = [&networks, &default_network].into_iter().flatten().map(|text| text.len()).sum();
        let size = if bytes <= MAX_CACHED { Size::Fits } else { Size::TooLarge };
        let life = if deletion_timestamp.is_some() { Life::Ends } else { Life::Runs };
        Ok(Seen { name, pod: CachedPod { identity, networks, default_network, life }, size, status })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn seen(metadata: Value) -> Result<Seen, NameError> {
        serde_json::from_value::<PodObject>(json!({"metadata": metadata, "spec": {"x": 1}}))
            .unwrap()
            .try_into()
    }

    #[test]
    fn the_annotations_of_the_crate_nad_are_read() {
        let annotations = json!({nad::NETWORKS: "a", nad::DEFAULT_NETWORK: "b", nad::NETWORK_STATUS: "[]",
            nad::MIRROR_POD: "0f9a", "other": "x"});
        let seen =
            seen(json!({"namespace": "default", "name": "web-0", "uid": "u-1", "annotations": annotations}));
        let Seen { name, pod, status, size } = seen.unwrap();
        assert_eq!(size, Size::Fits);
        assert_eq!(status.as_deref(), Some("[]"));
        assert!(pod.identity.is("u-1") && pod.identity.is("0f9a") && !pod.identity.is("u-2"));
        let pod = pod.to_pod(&name, Some("n1".into()));
        assert_eq!(pod.pod_ref.with_uid().to_string(), "default/web-0/u-1");
        assert_eq!((pod.networks.as_deref(), pod.default_network.as_deref()), (Some("a"), Some("b")));
        assert_eq!(pod.node.as_deref(), Some("n1"));
    }

    #[test]
    fn a_pod_without_annotations_requests_nothing() {
        let pod = |annotations| json!({"namespace": "default", "name": "web-0", "uid": "u", "annotations": annotations});
        for annotations in [Value::Null, json!({}), json!({"other": "x"})] {
            let Seen { pod, status, .. } = seen(pod(annotations)).unwrap();
            assert_eq!((pod.networks, pod.default_network, status), (None, None, None));
        }
    }

    #[test]
    fn a_pod_whose_annotations_are_huge_is_too_large() {
        let pod = |size: usize| {
            let annotations =
                json!({nad::NETWORKS: "a".repeat(size), nad::NETWORK_STATUS: "s".repeat(100_000)});
            seen(json!({"namespace": "default", "name": "web-0", "uid": "u-1", "annotations": annotations}))
        };
        assert_eq!(pod(MAX_CACHED).unwrap().size, Size::Fits);
        assert_eq!(pod(MAX_CACHED + 1).unwrap().size, Size::TooLarge);
    }

    #[test]
    fn names_that_are_not_valid_are_an_error() {
        assert!(seen(json!({"namespace": "../x", "name": "web-0"})).is_err());
        assert!(seen(json!({})).is_err());
    }
}
