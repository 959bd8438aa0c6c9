//! Where an object lives: kind, namespace, name. The path of every URL is made here, from checked names.

use std::fmt;

use crate::names::{DnsLabel, DnsSubdomain};

/// A kind of object, as the API server's URLs spell it. The parts are constants of the program, never input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceKind {
    group: &'static str,
    version: &'static str,
    plural: &'static str,
}

impl ResourceKind {
    /// `core/v1` pods.
    pub const PODS: Self = Self::new("", "v1", "pods");
    /// `core/v1` nodes; they have no namespace.
    pub const NODES: Self = Self::new("", "v1", "nodes");
    /// `core/v1` events.
    pub const EVENTS: Self = Self::new("", "v1", "events");
    /// `coordination.k8s.io/v1` leases.
    pub const LEASES: Self = Self::new("coordination.k8s.io", "v1", "leases");

    /// A kind by API group (empty for core), version and plural, lower-case name.
    pub const fn new(group: &'static str, version: &'static str, plural: &'static str) -> Self {
        Self { group, version, plural }
    }

    /// All objects of this kind in one namespace.
    pub fn in_namespace(self, namespace: &DnsLabel) -> Collection {
        Collection { kind: self, namespace: Some(namespace.clone()) }
    }

    /// All objects of this kind in the cluster: of every namespace, or of a kind that has none.
    pub const fn in_cluster(self) -> Collection {
        Collection { kind: self, namespace: None }
    }
}

impl fmt::Display for ResourceKind {
    /// As RBAC and `kubectl` spell it: `pods`, `leases.coordination.k8s.io`.
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
    /// One object of it.
    pub fn object(&self, name: &DnsSubdomain) -> ObjectPath {
        ObjectPath { collection: self.clone(), name: name.clone() }
    }

    /// What kind its objects are of.
    pub const fn kind(&self) -> ResourceKind {
        self.kind
    }

    /// Its namespace, or `None` for the whole cluster.
    pub const fn namespace(&self) -> Option<&DnsLabel> {
        self.namespace.as_ref()
    }

    /// The URL's path, such as `/api/v1/namespaces/default/pods`.
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
    /// The collection it is of.
    pub const fn collection(&self) -> &Collection {
        &self.collection
    }

    /// Its name.
    pub const fn name(&self) -> &DnsSubdomain {
        &self.name
    }
}

/// What is done to an object, in RBAC's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Read one.
    Get,
    /// Read many.
    List,
    /// Be told of changes to many.
    Watch,
    /// Make one.
    Create,
    /// Replace one.
    Update,
    /// Change a part of one.
    Patch,
    /// Remove one.
    Delete,
}

impl Verb {
    /// True if the request changes nothing, so that it can be sent again whatever became of it.
    pub const fn is_read(self) -> bool {
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

/// A request, as errors name it: `update pods/status default/web-0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestName {
    /// What was to be done.
    pub verb: Verb,
    /// To which kind.
    pub kind: ResourceKind,
    /// To which subresource, such as `status`.
    pub subresource: Option<&'static str>,
    /// In which namespace.
    pub namespace: Option<DnsLabel>,
    /// To which object.
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

    /// The right it needs, as an RBAC rule would grant it: `"update" on pods/status in namespace default`.
    pub fn right(&self) -> String {
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
