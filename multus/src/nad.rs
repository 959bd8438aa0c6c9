//! NetworkAttachmentDefinitions: `k8s.cni.cncf.io/v1`, whose `spec.config` is a CNI configuration as text.

use std::fmt;
use std::path::Path;

use node::client::{ObjectPath, ResourceKind};
use node::names::{DnsLabel, DnsSubdomain};
use serde::Deserialize;
use serde_json::Value;

use crate::network::Network;
use crate::ondisk::{self, OnDiskError};

const KIND: ResourceKind = ResourceKind::new("k8s.cni.cncf.io", "v1", "network-attachment-definitions");

/// Which definition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NadRef {
    /// Its namespace.
    pub namespace: DnsLabel,
    /// Its name.
    pub name: DnsSubdomain,
}

/// A definition, as far as multus reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Nad {
    /// Its `spec`.
    pub spec: Spec,
}

/// The `spec` of a definition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Spec {
    /// A CNI configuration; empty where it is to be found in `confDir` by the definition's name.
    pub config: String,
}

/// A definition is there but makes no network.
#[derive(Debug, thiserror::Error)]
pub enum NadError {
    /// Its `spec.config` is no CNI configuration.
    #[error("GetCNIConfig: err in getCNIConfigFromSpec: failed to unmarshal Spec.Config: {reason}")]
    Config {
        /// What is wrong.
        reason: String,
    },
    /// It has no `spec.config`, and the node no file for it.
    #[error("GetCNIConfig: err in GetCNIConfigFromFile: {0}")]
    OnDisk(#[from] OnDiskError),
    /// Its configuration is JSON, but no network.
    #[error("{reason}")]
    NotANetwork {
        /// What is wrong.
        reason: String,
    },
}

impl NadRef {
    /// Where the API server has it.
    pub fn object(&self) -> ObjectPath {
        KIND.in_namespace(&self.namespace).object(&self.name)
    }
}

impl fmt::Display for NadRef {
    /// `<namespace>/<name>`, as network-status has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The network that the definition `at` makes. A configuration without a name gets the definition's.
pub fn network(at: &NadRef, nad: &Nad, conf_dir: &Path) -> Result<Network, NadError> {
    if nad.spec.config.is_empty() {
        let found = ondisk::by_name(conf_dir, at.name.as_str())?;
        return Ok(Network { label: at.to_string(), ..found });
    }
    let mut object = cni::json::parse_object(nad.spec.config.as_bytes())
        .map_err(|e| NadError::Config { reason: e.to_string() })?;
    cni::json::fold_keys(&mut object, &["name"]);
    if object.get("name").is_none_or(|name| name.as_str() == Some("")) {
        object.insert("name".to_owned(), Value::String(at.name.to_string()));
    }
    Network::from_object(object, Some(at.to_string()))
        .map_err(|e| NadError::NotANetwork { reason: e.to_string() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at() -> NadRef {
        NadRef { namespace: DnsLabel::new("default").unwrap(), name: DnsSubdomain::new("net.a").unwrap() }
    }

    fn read(config: &str) -> Result<Network, NadError> {
        network(&at(), &Nad { spec: Spec { config: config.into() } }, Path::new("/nowhere"))
    }

    #[test]
    fn a_configuration_without_a_name_gets_the_definitions() {
        for config in
            [r#"{"type":"a"}"#, r#"{"Name":"","type":"a"}"#, r#"{"name":null,"plugins":[{"type":"a"}]}"#]
        {
            let network = read(config).unwrap();
            assert_eq!((network.list.name.as_str(), network.label.as_str()), ("net.a", "default/net.a"));
            assert_eq!(network.object["name"], "net.a", "{config}");
        }
        assert_eq!(read(r#"{"name":"b","type":"a"}"#).unwrap().list.name.as_str(), "b");
    }

    #[test]
    fn a_configuration_that_is_none_is_named() {
        for (config, want) in [
            ("{", "GetCNIConfig: err in getCNIConfigFromSpec: failed to unmarshal Spec.Config: "),
            ("[]", "GetCNIConfig: err in getCNIConfigFromSpec: failed to unmarshal Spec.Config: "),
            (r#"{"plugins":[]}"#, "no plugins in list"),
            (r#"{"plugins":[null]}"#, "a plugin must be an object"),
            (r#"{"type":"multus"}"#, "has multus itself"),
            (r#"{"type":"../sh"}"#, "invalid plugin name"),
            ("", "GetCNIConfig: err in GetCNIConfigFromFile: No networks found in /nowhere"),
        ] {
            let error = read(config).unwrap_err().to_string();
            assert!(error.contains(want), "{config}: {error}");
        }
    }

    #[test]
    fn a_definition_without_configuration_is_looked_up_on_the_node() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("1.conf");
        node::files::write_atomic(&file, br#"{"name":"net.a","type":"a"}"#, 0o600).unwrap();
        let nad: Nad = serde_json::from_value(json!({"metadata": {"name": "net.a"}})).unwrap();
        assert_eq!(network(&at(), &nad, folder.path()).unwrap().label, "default/net.a");
    }
}
