//! References to pods, and what pods request.

use std::fmt;
use std::str::FromStr;

use node::client::{ObjectPath, ResourceKind};
use node::event::Subject;
use node::names::{DnsLabel, DnsSubdomain, NameError, PodUid};
use serde::{Deserialize, Serialize};

/// The namespace and name of a pod, and the UID where it is known. Without a UID it means any pod of that name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: DnsLabel,
    /// Its name.
    pub name: DnsSubdomain,
    /// Its UID. For a static pod it depends on the source which UID this is; see [`PodIdentity`](crate::PodIdentity).
    pub uid: Option<PodUid>,
}

/// The parts of a pod object that decide about its networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Its names, and the UID of its object.
    pub pod_ref: PodRef,
    /// The annotation [`NETWORKS`](crate::NETWORKS).
    pub networks: Option<String>,
    /// The annotation [`DEFAULT_NETWORK`](crate::DEFAULT_NETWORK).
    pub default_network: Option<String>,
    /// Its node.
    pub node: Option<String>,
}

/// A text is not `<namespace>/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PodRefError {
    /// There is no `/`.
    #[error("a pod reference must be \"<namespace>/<name>\", but it has no \"/\"")]
    NoSlash,
    /// The namespace or the name is not valid.
    #[error("a pod reference must be \"<namespace>/<name>\": {0}")]
    Name(#[from] NameError),
}

impl PodRef {
    /// The path of the pod at the API server.
    pub fn object(&self) -> ObjectPath {
        ResourceKind::PODS.in_namespace(&self.namespace).object(&self.name)
    }

    /// `<namespace>/<name>/<uid>`, as Multus names a pod in its messages. Nothing follows the last `/` where the UID is unknown.
    pub fn with_uid(&self) -> impl fmt::Display + '_ {
        WithUid(self)
    }
}

struct WithUid<'a>(&'a PodRef);

impl fmt::Display for WithUid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0, self.0.uid.as_ref().map_or("", PodUid::as_str))
    }
}

impl fmt::Display for PodRef {
    /// `<namespace>/<name>`, the form of a podref.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for PodRef {
    type Err = PodRefError;

    /// Reads `<namespace>/<name>`. The UID is unknown.
    fn from_str(text: &str) -> Result<Self, PodRefError> {
        let (namespace, name) = text.split_once('/').ok_or(PodRefError::NoSlash)?;
        Ok(PodRef { namespace: DnsLabel::new(namespace)?, name: DnsSubdomain::new(name)?, uid: None })
    }
}

impl From<PodRef> for Subject {
    fn from(pod: PodRef) -> Subject {
        Subject { namespace: pod.namespace, name: pod.name, uid: pod.uid }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_podref_is_read_and_shown_as_namespace_and_name() {
        let pod: PodRef = "default/web.0".parse().unwrap();
        assert_eq!((pod.namespace.as_str(), pod.name.as_str(), &pod.uid), ("default", "web.0", &None));
        assert_eq!(pod.to_string(), "default/web.0");
        assert_eq!(pod.with_uid().to_string(), "default/web.0/");
        let known = PodRef { uid: Some(PodUid::new("u-1").unwrap()), ..pod };
        assert_eq!(
            (known.to_string().as_str(), known.with_uid().to_string().as_str()),
            ("default/web.0", "default/web.0/u-1")
        );
    }

    #[test]
    fn a_text_that_names_no_pod_is_refused() {
        assert_eq!("web-0".parse::<PodRef>(), Err(PodRefError::NoSlash));
        for text in ["", "/", "default/", "/web-0", "default/a/b", "default/../x", "Default/web-0"] {
            assert!(text.parse::<PodRef>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_event_is_about_the_pod_with_its_uid() {
        let pod =
            PodRef { uid: Some(PodUid::new("u-1").unwrap()), ..PodRef::from_str("default/web-0").unwrap() };
        let Subject { namespace, name, uid } = pod.clone().into();
        assert_eq!((namespace, name, uid), (pod.namespace, pod.name, pod.uid));
    }
}
