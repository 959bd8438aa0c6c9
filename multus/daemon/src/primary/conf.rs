//! A configuration of the default network, as its plugin's agent wrote it.

use std::collections::BTreeSet;

use cni::version::{UnknownVersion, Version};
use serde_json::{Map, Value};

/// The plugin types of multus itself.
const SELF: &[&str] = &["multus", "multus-shim"];

/// A whole configuration: of one plugin, or a list of plugins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PrimaryConf {
    /// The object as written.
    pub object: Map<String, Value>,
    /// `name`.
    pub name: String,
    /// The newest version that the configuration names.
    pub version: Version,
    /// The capabilities that it, or one of its plugins, declares.
    pub capabilities: BTreeSet<String>,
    /// Whose plugin it is.
    pub plugin: Plugin,
}

/// Whose plugin a configuration names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plugin {
    /// Another program's.
    Foreign,
    /// Multus itself: as a delegate it would call itself without end.
    Multus,
}

/// A file is no whole configuration of a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfError {
    /// The text is no JSON object. Some agents write the file in place, so the rest may follow.
    #[error("it is not one whole JSON object, so it may be half written: {reason}")]
    NotWhole {
        /// The parser's reason.
        reason: String,
    },
    /// A key is missing or has the wrong type.
    #[error("{0}")]
    Key(String),
    /// The version is unknown.
    #[error("cniVersion: {0}")]
    Version(#[from] UnknownVersion),
}

impl PrimaryConf {
    /// Reads a configuration. Keys match in any case, as in Go.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ConfError> {
        let object = cni::json::parse_object(bytes)
            .map_err(|error| ConfError::NotWhole { reason: error.to_string() })?;
        let folded = folded(&object);
        let name = text(&folded, "name")?.unwrap_or_default();
        let plugins = plugins(&folded)?;
        let types = plugins
            .iter()
            .map(|plugin| match text(plugin, "type")? {
                Some(name) if !name.is_empty() => Ok(name),
                _ => Err(ConfError::Key("a plugin has no \"type\"".to_owned())),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let is_own = types.iter().any(|name| SELF.contains(&name.as_str()));
        let mut capabilities = BTreeSet::new();
        for plugin in &plugins {
            declared(plugin, &mut capabilities)?;
        }
        let version = version(&folded)?;
        let plugin = if is_own { Plugin::Multus } else { Plugin::Foreign };
        Ok(Self { object, name, version, capabilities, plugin })
    }
}

fn folded(object: &Map<String, Value>) -> Map<String, Value> {
    let mut object = object.clone();
    let known = ["name", "type", "plugins", "capabilities", "cniVersion", "cniVersions"];
    cni::json::fold_keys(&mut object, &known);
    object
}

/// The plugins of a list, or the only one.
fn plugins(object: &Map<String, Value>) -> Result<Vec<Map<String, Value>>, ConfError> {
    let Some(list) = object.get("plugins") else { return Ok(vec![object.clone()]) };
    let wrong =
        || ConfError::Key("\"plugins\" must be a list of objects with at least one element".to_owned());
    let list = list.as_array().filter(|list| !list.is_empty()).ok_or_else(wrong)?;
    list.iter().map(|plugin| plugin.as_object().map(folded).ok_or_else(wrong)).collect()
}

/// Adds the capabilities that `plugin` sets to true.
fn declared(plugin: &Map<String, Value>, all: &mut BTreeSet<String>) -> Result<(), ConfError> {
    let Some(value) = plugin.get("capabilities") else { return Ok(()) };
    let wrong = || ConfError::Key("\"capabilities\" must be an object of true and false".to_owned());
    for (name, is_set) in value.as_object().ok_or_else(wrong)? {
        if is_set.as_bool().ok_or_else(wrong)? {
            all.insert(name.clone());
        }
    }
    Ok(())
}

fn version(object: &Map<String, Value>) -> Result<Version, ConfError> {
    let wrong = || ConfError::Key("\"cniVersions\" must be a list of texts".to_owned());
    let more = match object.get("cniVersions") {
        None => Vec::new(),
        Some(list) => {
            let list = list.as_array().ok_or_else(wrong)?;
            list.iter().map(|v| v.as_str().ok_or_else(wrong)).collect::<Result<_, _>>()?
        }
    };
    let one = text(object, "cniVersion")?.unwrap_or_default();
    // Upstream refuses such a file too. A conf without the key would be one of version 0.1.0, which no primary plugin writes.
    if one.is_empty() && more.is_empty() {
        return Err(ConfError::Key("it has no \"cniVersion\": add the key".to_owned()));
    }
    Ok(Version::newest_of(more.into_iter().chain([one.as_str()]))?)
}

fn text(object: &Map<String, Value>, key: &str) -> Result<Option<String>, ConfError> {
    match object.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(ConfError::Key(format!("{key:?} must be a text"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALICO: &str = r#"{"name": "k8s-pod-network", "cniVersion": "0.3.1", "plugins": [
        {"type": "calico", "ipam": {"type": "calico-ipam"}},
        {"type": "portmap", "snat": true, "capabilities": {"portMappings": true}},
        {"type": "bandwidth", "capabilities": {"bandwidth": true, "off": false}}]}"#;

    fn parse(text: &str) -> Result<PrimaryConf, ConfError> {
        PrimaryConf::parse(text.as_bytes())
    }

    #[test]
    fn a_list_gives_its_version_and_the_capabilities_of_all_plugins() {
        let conf = parse(CALICO).unwrap();
        assert_eq!((conf.name.as_str(), conf.version), ("k8s-pod-network", Version::V0_3_1));
        assert_eq!(conf.capabilities.into_iter().collect::<Vec<_>>(), ["bandwidth", "portMappings"]);
        assert_eq!(conf.plugin, Plugin::Foreign);
    }

    #[test]
    fn a_single_plugin_and_antreas_version_are_read() {
        let conf =
            parse(r#"{"cniVersion":"0.3.0","name":"antrea","type":"antrea","capabilities":{"x":true}}"#)
                .unwrap();
        assert_eq!((conf.version, conf.capabilities.len()), (Version::V0_3_0, 1));
    }

    #[test]
    fn every_part_of_a_file_that_is_being_written_is_not_whole() {
        for end in 0..CALICO.len() {
            assert!(matches!(parse(&CALICO[..end]), Err(ConfError::NotWhole { .. })), "{end}");
        }
        // A shorter text written over a longer one, before the file is cut.
        let over = format!("{CALICO}\"}}]}}");
        assert!(matches!(parse(&over), Err(ConfError::NotWhole { .. })));
    }

    #[test]
    fn keys_match_in_any_case() {
        let conf = parse(
            r#"{"CNIVersion":"1.0.0","Name":"n","Plugins":[{"Type":"x","Capabilities":{"ips":true}}]}"#,
        );
        let conf = conf.unwrap();
        assert_eq!((conf.name.as_str(), conf.version, conf.capabilities.len()), ("n", Version::V1_0_0, 1));
    }

    #[test]
    fn the_newest_known_version_of_a_list_counts() {
        let of =
            |keys: &str| parse(&format!(r#"{{{keys}, "name": "n", "type": "x"}}"#)).map(|conf| conf.version);
        assert_eq!(of(r#""cniVersions": ["0.4.0", "1.0.0", "9.9.9"]"#), Ok(Version::V1_0_0));
        assert_eq!(of(r#""cniVersion": "0.4.0", "cniVersions": ["0.3.1"]"#), Ok(Version::V0_4_0));
        assert!(matches!(of(r#""cniVersion": "9.9.9""#), Err(ConfError::Version(_))));
        assert!(of(r#""x": 1"#).unwrap_err().to_string().contains("cniVersion"));
    }

    #[test]
    fn multus_itself_is_recognised() {
        for own in SELF {
            let single = format!(r#"{{"cniVersion":"0.3.1","name":"n","type":"{own}"}}"#);
            assert_eq!(parse(&single).unwrap().plugin, Plugin::Multus);
            let list = format!(
                r#"{{"cniVersion":"0.3.1","name":"n","plugins":[{{"type":"x"}},{{"type":"{own}"}}]}}"#
            );
            assert_eq!(parse(&list).unwrap().plugin, Plugin::Multus);
        }
    }

    #[test]
    fn an_error_names_the_key() {
        for (text, key) in [
            (r#"{"cniVersion":"0.3.1","name":"n","plugins":[]}"#, "plugins"),
            (r#"{"cniVersion":"0.3.1","name":"n","plugins":[3]}"#, "plugins"),
            (r#"{"cniVersion":"0.3.1","name":"n"}"#, "type"),
            (r#"{"cniVersion":3,"name":"n","type":"x"}"#, "cniVersion"),
            (r#"{"cniVersion":"0.3.1","name":"n","type":"x","capabilities":{"a":"yes"}}"#, "capabilities"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
        }
    }
}
