//! Kinds, collections and objects. Every URL path is made here, from checked names.

use std::fmt;

use crate::names::{DnsLabel, DnsSubdomain};

/// A kind of object. Its parts are constants of the program, never input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceKind {
    group: &'static str,
    version: &'static str,
    plural: &'static str,
}

impl ResourceKind {
    /// `core/v1` pods.
    pub const PODS: Self = Self::new("", "v1", "pods");
    /// `core/v1` nodes, which have no namespace.
    pub const NODES: Self = Self::new("", "v1", "nodes");
    /// `core/v1` events.
    pub const EVENTS: Self = Self::new("", "v1", "events");
    /// `coordination.k8s.io/v1` leases.
    pub const LEASES: Self = Self::new("coordination.k8s.io", "v1", "leases");

    /// A kind by API group (empty for core), version, and plural name in lower case.
    pub const fn new(group: &'static str, version: &'static str, plural: &'static str) -> Self {
        Self { group, version, plural }
    }

    /// All objects of this kind in one namespace.
    pub fn in_namespace(self, namespace: &DnsLabel) -> Collection {
        Collection { kind: self, namespace: Some(namespace.clone()) }
    }

    /// All objects of this kind in the cluster: in all namespaces, or of a kind without namespaces.
    pub const fn in_cluster(self) -> Collection {
        Collection { kind: self, namespace: None }
    }
}

impl fmt::Display for ResourceKind {
    /// Plural name and group, as in RBAC and `kubectl`: `pods`, `leases.coordination.k8s.io`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.plural)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

/// All objects of one kind, in one namespace or the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    kind: ResourceKind,
    namespace: Option<DnsLabel>,
}

impl Collection {
    /// The object of this name.
    pub fn object(&self, name: &DnsSubdomain) -> ObjectPath {
        ObjectPath { collection: self.clone(), name: name.clone() }
    }

    /// The kind of its objects.
    pub const fn kind(&self) -> ResourceKind {
        self.kind
    }

    /// Its namespace, or `None` for the whole cluster.
    pub const fn namespace(&self) -> Option<&DnsLabel> {
        self.namespace.as_ref()
    }

    /// The path of its URL, such as `/api/v1/namespaces/default/pods`.
    pub(super) fn url_path(&self) -> String {
        let ResourceKind { group, version, plural } = self.kind;
        let root = if group.is_empty() { "/api".to_owned() } else { format!("/apis/{group}") };
        match &self.namespace {
            Some(namespace) => format!("{root}/{version}/namespaces/{namespace}/{plural}"),
            None => format!("{root}/{version}/{plural}"),
        }
    }
}

/// One object: its collection and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPath {
    collection: Collection,
    name: DnsSubdomain,
}

impl ObjectPath {
    /// Its collection.
    pub const fn collection(&self) -> &Collection {
        &self.collection
    }

    /// Its name.
    pub const fn name(&self) -> &DnsSubdomain {
        &self.name
    }
}

/// An RBAC verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Read one.
    Get,
    /// Read many.
    List,
    /// Receive changes of many.
    Watch,
    /// Create one.
    Create,
    /// Replace one.
    Update,
    /// Change a part of one.
    Patch,
    /// Delete one.
    Delete,
}

impl Verb {
    /// Whether the request changes nothing. Then it may be repeated after any failure.
    pub(super) const fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
        })
    }
}

/// The name of a request in errors: `update pods/status default/web-0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestName {
    /// The verb.
    pub verb: Verb,
    /// The kind.
    pub kind: ResourceKind,
    /// The subresource, such as `status`.
    pub subresource: Option<&'static str>,
    /// The namespace, if the kind has any.
    pub namespace: Option<DnsLabel>,
    /// The object's name, unless the request is about many.
    pub name: Option<DnsSubdomain>,
}

impl RequestName {
    pub(super) fn of_collection(verb: Verb, collection: &Collection) -> Self {
        Self {
            verb,
            kind: collection.kind,
            subresource: None,
            namespace: collection.namespace.clone(),
            name: None,
        }
    }

    pub(super) fn of_object(verb: Verb, object: &ObjectPath) -> Self {
        Self { name: Some(object.name.clone()), ..Self::of_collection(verb, &object.collection) }
    }

    /// The right that the request needs, as an RBAC rule grants it: `"update" on pods/status in namespace default`.
    pub(super) fn right(&self) -> String {
        let scope = match &self.namespace {
            Some(namespace) => format!("in namespace {namespace}"),
            None => "in the whole cluster".to_owned(),
        };
        format!("\"{}\" on {} {scope}", self.verb, self.resource())
    }

    fn resource(&self) -> String {
        let ResourceKind { group, plural, .. } = self.kind;
        let sub = self.subresource.map(|sub| format!("/{sub}")).unwrap_or_default();
        let group = if group.is_empty() { String::new() } else { format!(".{group}") };
        format!("{plural}{group}{sub}")
    }
}

impl fmt::Display for RequestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource())?;
        match (&self.namespace, &self.name) {
            (Some(namespace), Some(name)) => write!(f, " {namespace}/{name}"),
            (Some(namespace), None) => write!(f, " in namespace {namespace}"),
            (None, Some(name)) => write!(f, " {name}"),
            (None, None) => Ok(()),
        }
    }
}
