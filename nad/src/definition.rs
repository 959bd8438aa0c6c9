//! NetworkAttachmentDefinitions: `k8s.cni.cncf.io/v1`, whose `spec.config` is a CNI configuration as text.

use std::collections::BTreeMap;
use std::fmt;

use node::client::{ObjectPath, ResourceKind};
use node::names::{DnsLabel, DnsSubdomain};
use serde::{Deserialize, Serialize};

/// The namespace and name of a definition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NadRef {
    /// Its namespace.
    pub namespace: DnsLabel,
    /// Its name.
    pub name: DnsSubdomain,
}

impl NadRef {
    /// The path of the definition at the API server.
    pub fn object(&self) -> ObjectPath {
        NetworkAttachmentDefinition::KIND.in_namespace(&self.namespace).object(&self.name)
    }
}

impl fmt::Display for NadRef {
    /// `<namespace>/<name>`, as network-status has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A definition. A missing field is empty, so that one incomplete object does not fail a whole list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkAttachmentDefinition {
    /// The names and the UID of the object.
    pub metadata: Metadata,
    /// Its network.
    pub spec: Spec,
}

/// The part of the object's metadata that we use. The rest, with `managedFields` as its largest part, is skipped unparsed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The UID, which the API server gives.
    pub uid: String,
    /// The annotations.
    pub annotations: Option<Annotations>,
}

/// The annotations of a definition that we use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Annotations {
    /// The resource whose devices attachments to this network get, such as `example.com/nic`.
    #[serde(rename = "k8s.v1.cni.cncf.io/resourceName")]
    pub resource_name: Option<String>,
}

/// The `spec` of a definition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spec {
    /// A CNI configuration as JSON text. If it is empty, the node has a configuration file with the definition's name.
    pub config: String,
}

/// The answer of the API server about one definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lookup {
    /// It exists.
    Found(NetworkAttachmentDefinition),
    /// It does not exist; this is the message of the API server.
    Absent(String),
}

/// The answers about all definitions. Empty without access to an API server.
pub type Definitions = BTreeMap<NadRef, Lookup>;

impl NetworkAttachmentDefinition {
    /// The kind of these objects.
    pub const KIND: ResourceKind =
        ResourceKind::new("k8s.cni.cncf.io", "v1", "network-attachment-definitions");

    /// The resource of which each attachment needs a device; `None` if attachments need none.
    pub fn resource_name(&self) -> Option<&str> {
        let name = self.metadata.annotations.as_ref()?.resource_name.as_deref();
        name.filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(object: Value) -> NetworkAttachmentDefinition {
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_definition_has_names_a_uid_and_a_configuration() {
        let object = json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"namespace": "default", "name": "net.a", "uid": "u-1", "managedFields": [{"manager": "m"}]},
            "spec": {"config": "{}"}});
        let Metadata { namespace, name, uid, .. } = read(object.clone()).metadata;
        assert_eq!((namespace.as_str(), name.as_str(), uid.as_str()), ("default", "net.a", "u-1"));
        assert_eq!(read(object).spec.config, "{}");
    }

    #[test]
    fn missing_fields_are_empty() {
        for object in [json!({}), json!({"metadata": {}, "spec": {}}), json!({"metadata": {"labels": {}}})] {
            assert_eq!(read(object), NetworkAttachmentDefinition::default());
        }
    }

    #[test]
    fn a_definition_may_name_a_resource() {
        let named = |annotations: Value| {
            read(json!({"metadata": {"annotations": annotations}})).resource_name().map(str::to_owned)
        };
        let key = "k8s.v1.cni.cncf.io/resourceName";
        assert_eq!(named(json!({key: "example.com/nic", "other": "x"})).as_deref(), Some("example.com/nic"));
        for none in [json!(null), json!({}), json!({key: ""}), json!({"other": "x"})] {
            assert_eq!(named(none.clone()), None, "{none}");
        }
    }

    #[test]
    fn a_reference_is_shown_as_namespace_and_name() {
        let nad =
            NadRef { namespace: DnsLabel::new("ns").unwrap(), name: DnsSubdomain::new("net.a").unwrap() };
        assert_eq!(nad.to_string(), "ns/net.a");
        assert_eq!(nad.object().collection().kind(), NetworkAttachmentDefinition::KIND);
    }
}
