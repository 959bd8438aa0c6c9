//! The network that a NetworkAttachmentDefinition makes.

use std::path::Path;

use nad::{NadRef, NetworkAttachmentDefinition};
use serde_json::Value;

use super::on_disk::{self, OnDiskError};
use super::types::Network;

/// A definition exists, but makes no network.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// Its `spec.config` is not JSON.
    #[error("GetCNIConfig: err in getCNIConfigFromSpec: failed to unmarshal Spec.Config: {reason}")]
    Config {
        /// What is wrong.
        reason: String,
    },
    /// It has no `spec.config`, and the node has no usable file for it.
    #[error("GetCNIConfig: err in GetCNIConfigFromFile: {0}")]
    OnDisk(#[from] OnDiskError),
    /// Its configuration is JSON, but not a network.
    #[error("{reason}")]
    NotANetwork {
        /// What is wrong.
        reason: String,
    },
}

/// Returns the network of the definition `nad_ref`. Without `spec.config` the configuration is in a file of `conf_dir`. A configuration
/// without a name gets the name of the definition.
pub fn of_definition(
    nad_ref: &NadRef,
    definition: &NetworkAttachmentDefinition,
    conf_dir: &Path,
) -> Result<Network, DefinitionError> {
    let resource_name = definition.resource_name().map(str::to_owned);
    let config = &definition.spec.config;
    if config.is_empty() {
        let found = on_disk::by_name(conf_dir, nad_ref.name.as_str())?;
        return Ok(Network { label: nad_ref.to_string(), resource_name, ..found });
    }
    let mut object = cni::json::parse_object(config.as_bytes())
        .map_err(|e| DefinitionError::Config { reason: e.to_string() })?;
    cni::json::fold_keys(&mut object, &["name"]);
    // An empty name counts as missing, as in Go. `null` does too: `fold_keys` removes it.
    if object.get("name").is_none_or(|name| name.as_str() == Some("")) {
        object.insert("name".to_owned(), Value::String(nad_ref.name.to_string()));
    }
    let network = Network::from_object(object, Some(nad_ref.to_string()))
        .map_err(|e| DefinitionError::NotANetwork { reason: e.to_string() })?;
    Ok(Network { resource_name, ..network })
}

#[cfg(test)]
mod tests {
    use nad::Spec;
    use node::names::{DnsLabel, DnsSubdomain};
    use serde_json::json;

    use super::*;

    fn nad_ref() -> NadRef {
        NadRef { namespace: DnsLabel::new("default").unwrap(), name: DnsSubdomain::new("net.a").unwrap() }
    }

    fn read(config: &str) -> Result<Network, DefinitionError> {
        let spec = Spec { config: config.into() };
        let definition = NetworkAttachmentDefinition { spec, ..NetworkAttachmentDefinition::default() };
        of_definition(&nad_ref(), &definition, Path::new("/nowhere"))
    }

    #[test]
    fn a_configuration_without_a_name_gets_the_name_of_the_definition() {
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
    fn a_configuration_that_makes_no_network_is_an_error() {
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
    fn the_configuration_of_a_definition_without_one_is_a_file_of_the_node() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("1.conf");
        node::files::write_atomic(&file, br#"{"name":"net.a","type":"a"}"#, 0o600).unwrap();
        let definition = serde_json::from_value(json!({"metadata": {"name": "net.a"}})).unwrap();
        assert_eq!(of_definition(&nad_ref(), &definition, folder.path()).unwrap().label, "default/net.a");
    }
}
