//! The rights that a program needs of the API server, as a table beside its code.

use std::fmt;

use super::resource::{ResourceKind, Verb};

/// A right: some verbs on one kind. A program lists all of its rights; tests compare the list with the requests that its code sends, and with
/// the manifests that grant them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// The kind.
    pub kind: ResourceKind,
    /// The subresource, such as `status`.
    pub subresource: Option<&'static str>,
    /// The verbs.
    pub verbs: &'static [Verb],
    /// On which objects.
    pub reach: Reach,
}

/// The objects that a right is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All of the cluster, or of whichever namespace a pod is in.
    Cluster,
    /// Those in the program's own namespace.
    Namespace,
    /// The one of this name in the program's own namespace. RBAC cannot limit `create` so: that request has no name in its URL.
    Object(&'static str),
}

impl fmt::Display for Right {
    /// The resource as an RBAC rule names it, with its group: `pods/status`, `leases.coordination.k8s.io`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind, self.subresource.map(|sub| format!("/{sub}")).unwrap_or_default())
    }
}
