//! Network configuration lists (CNI spec 1.1.0, section 1, "Network configuration format").

use serde_json::{Map, Value};

use crate::json;
use crate::types::names::{NetworkName, PluginType};
use crate::types::{CniError, Code, Version};

/// The keys of the spec at the top level. Configurations may write them in any case.
const KNOWN: &[&str] = &[
    "cniVersion",
    "cniVersions",
    "name",
    "type",
    "disableCheck",
    "disableGC",
    "loadOnlyInlinedPlugins",
    "plugins",
];

/// The keys beside `plugins` that a list does not have. They are ignored: no plugin gets them.
pub fn unknown_keys(list: &Map<String, Value>) -> Vec<String> {
    json::unknown_keys(list, KNOWN)
}

/// The plugins that together attach one network. The configuration of a single plugin counts as a list of one.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkList {
    /// The name of the network.
    pub name: NetworkName,
    /// The version for every plugin of the list.
    pub cni_version: Version,
    /// Whether CHECK may be called (`disableCheck`).
    pub check: Allowed,
    /// Whether GC may be called (`disableGC`).
    pub gc: Allowed,
    /// The plugins, in the order of ADD; at least one.
    pub plugins: Vec<PluginConf>,
}

/// Whether a verb may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Allowed {
    Yes,
    No,
}

/// One plugin of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginConf {
    /// The plugin's file name.
    pub plugin_type: PluginType,
    /// The capabilities that the configuration declares as `true`.
    pub capabilities: Vec<String>,
    /// The configuration as written.
    pub object: Map<String, Value>,
}

impl NetworkList {
    /// Reads a list, or the configuration of a single plugin.
    ///
    /// # Errors
    /// Code 6 if the JSON has another shape, 7 for a missing or invalid name or type, 1 for an unknown version.
    pub fn parse(text: &[u8]) -> Result<NetworkList, CniError> {
        let object = json::parse_object(text)
            .map_err(|e| CniError::new(Code::Decoding, format!("error parsing configuration list: {e}")))?;
        NetworkList::from_object(object)
    }

    /// As [`NetworkList::parse`], for JSON that is read already.
    pub fn from_object(mut object: Map<String, Value>) -> Result<NetworkList, CniError> {
        json::fold_keys(&mut object, KNOWN);
        let name = match object.get("name") {
            None => return Err(invalid("error parsing configuration list: no name")),
            Some(Value::String(name)) => NetworkName::parse(name)?,
            Some(other) => {
                return Err(decoding(format!("error parsing configuration list: invalid name type {other}")));
            }
        };
        let cni_version = version_of(&object)?;
        if object.get("type").and_then(Value::as_str).is_some_and(|t| !t.is_empty()) {
            let plugins = vec![PluginConf::from_object(object)?];
            return Ok(NetworkList { name, cni_version, check: Allowed::Yes, gc: Allowed::Yes, plugins });
        }
        let plugins = match object.get("plugins") {
            Some(Value::Array(items)) if !items.is_empty() => {
                items.iter().map(plugin_of).collect::<Result<_, _>>()?
            }
            Some(Value::Array(_)) | None => {
                return Err(invalid(
                    "error parsing configuration list: no plugins in list (a conf has 'type' or 'plugins')",
                ));
            }
            Some(other) => {
                return Err(decoding(format!(
                    "error parsing configuration list: invalid 'plugins' type {other}"
                )));
            }
        };
        let (check, gc) = (allowed(&object, "disableCheck")?, allowed(&object, "disableGC")?);
        Ok(NetworkList { name, cni_version, check, gc, plugins })
    }
}

impl PluginConf {
    fn from_object(object: Map<String, Value>) -> Result<PluginConf, CniError> {
        // The plugin reads its configuration itself, so the copy is folded and the original stays as written.
        let mut folded = object.clone();
        json::fold_keys(&mut folded, &["type", "capabilities"]);
        let plugin_type = match folded.get("type") {
            None => return Err(invalid("error parsing configuration: missing 'type'")),
            Some(Value::String(text)) => PluginType::parse(text)?,
            Some(other) => {
                return Err(decoding(format!("error parsing configuration: invalid 'type' {other}")));
            }
        };
        let capabilities = match folded.get("capabilities") {
            None => Vec::new(),
            Some(Value::Object(map)) => {
                map.iter().filter(|(_, on)| **on == Value::Bool(true)).map(|(name, _)| name.clone()).collect()
            }
            Some(other) => {
                return Err(decoding(format!("error parsing configuration: invalid 'capabilities' {other}")));
            }
        };
        Ok(PluginConf { plugin_type, capabilities, object })
    }

    /// The configuration for the plugin's standard input: as written, with name and version of the list, the result of the plugins
    /// before it, and those of the runtime's `offers` whose capability it declares (CNI spec 1.1.0, section 3, "Deriving execution
    /// configuration from plugin configuration").
    pub fn request(
        &self,
        list: &NetworkList,
        offers: &Map<String, Value>,
        prev_result: Option<&Value>,
    ) -> Map<String, Value> {
        let mut object = self.object.clone();
        // Without this a "NAME" of the configuration would stand beside our "name", and the plugin might read that one.
        json::fold_keys(&mut object, &["cniVersion", "name", "prevResult", "runtimeConfig"]);
        object.insert("name".into(), list.name.as_str().into());
        object.insert("cniVersion".into(), list.cni_version.as_str().into());
        if let Some(result) = prev_result {
            object.insert("prevResult".into(), result.clone());
        }
        let wanted = self.capabilities.iter().filter_map(|key| Some((key.clone(), offers.get(key)?.clone())));
        let runtime_config: Map<String, Value> = wanted.collect();
        if !runtime_config.is_empty() {
            object.insert("runtimeConfig".into(), Value::Object(runtime_config));
        }
        object
    }
}

fn plugin_of(value: &Value) -> Result<PluginConf, CniError> {
    match value {
        Value::Object(object) => PluginConf::from_object(object.clone()),
        other => Err(decoding(format!(
            "error parsing configuration list: a plugin must be an object, found {other}"
        ))),
    }
}

/// The newest known version in `cniVersions` and `cniVersion`.
fn version_of(object: &Map<String, Value>) -> Result<Version, CniError> {
    let mut wanted: Vec<&str> = Vec::new();
    match object.get("cniVersions") {
        None => {}
        Some(Value::Array(items)) => {
            for item in items {
                let text = item
                    .as_str()
                    .ok_or_else(|| decoding(format!("'cniVersions' must be strings, found {item}")))?;
                wanted.push(text);
            }
        }
        Some(other) => return Err(decoding(format!("'cniVersions' must be a list, found {other}"))),
    }
    match object.get("cniVersion") {
        None => {}
        Some(Value::String(text)) => wanted.push(text),
        Some(other) => return Err(decoding(format!("'cniVersion' must be a string, found {other}"))),
    }
    Version::newest_of(wanted).map_err(|e| CniError::new(Code::IncompatibleVersion, e.to_string()))
}

/// Reads a key that disables a verb: a boolean, or "true" or "false" as text in any case.
fn allowed(object: &Map<String, Value>, disable: &str) -> Result<Allowed, CniError> {
    match object.get(disable) {
        None | Some(Value::Bool(false)) => Ok(Allowed::Yes),
        Some(Value::Bool(true)) => Ok(Allowed::No),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Allowed::No),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Allowed::Yes),
        Some(other) => Err(decoding(format!(
            "error parsing configuration list: {disable:?} must be true or false, found {other}"
        ))),
    }
}

fn invalid(msg: impl Into<String>) -> CniError {
    CniError::new(Code::InvalidConfig, msg)
}

fn decoding(msg: impl Into<String>) -> CniError {
    CniError::new(Code::Decoding, msg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: Value) -> Result<NetworkList, CniError> {
        NetworkList::parse(value.to_string().as_bytes())
    }

    #[test]
    fn a_single_conf_is_a_list_of_one() {
        let list = parse(json!({"cniVersion": "0.3.1", "name": "n", "type": "macvlan", "capabilities": {"ips": true, "mac": false}})).unwrap();
        assert_eq!((list.plugins.len(), list.cni_version), (1, Version::V0_3_1));
        assert_eq!(list.plugins[0].capabilities, ["ips"]);
    }

    #[test]
    fn each_invalid_list_has_its_error() {
        for (bad, msg) in [
            (json!({"plugins": [{"type": "a"}]}), "no name"),
            (json!({"name": "n"}), "no plugins in list"),
            (json!({"name": "n", "plugins": []}), "no plugins in list"),
            (json!({"name": "n", "plugins": [null]}), "a plugin must be an object, found null"),
            (json!({"name": "n", "plugins": [{}]}), "missing 'type'"),
            (json!({"name": "n", "plugins": {}}), "invalid 'plugins' type"),
            (json!({"name": "n", "plugins": [{"type": "../x"}]}), "invalid plugin name"),
            (json!({"name": "n", "plugins": [{"type": 3}]}), "invalid 'type'"),
            (json!({"name": 3, "plugins": [{"type": "a"}]}), "invalid name type"),
            (json!({"name": "n/a", "plugins": [{"type": "a"}]}), "invalid characters found in network name"),
            (json!({"name": "n", "disableCheck": 3, "plugins": [{"type": "a"}]}), "must be true or false"),
            (json!({"name": "n", "cniVersion": "9.9.9", "plugins": [{"type": "a"}]}), "unknown CNI version"),
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.msg.contains(msg), "{error} lacks {msg}");
        }
    }

    #[test]
    fn a_key_beside_the_plugins_that_no_plugin_gets_is_unknown() {
        let list = json!({"name": "n", "Plugins": [], "cniVersions": [], "ipam": {}, "master": "eth0"});
        assert_eq!(unknown_keys(list.as_object().unwrap()), ["ipam", "master"]);
    }

    #[test]
    fn booleans_may_be_text() {
        for (value, want) in
            [(json!(true), Allowed::No), (json!("TRUE"), Allowed::No), (json!("false"), Allowed::Yes)]
        {
            let list = parse(
                json!({"name": "n", "disableCheck": value, "disableGC": value, "plugins": [{"type": "a"}]}),
            )
            .unwrap();
            assert_eq!((list.check, list.gc), (want, want));
        }
    }

    #[test]
    fn the_newest_version_of_cni_versions_is_used() {
        let list = parse(json!({"name": "n", "cniVersion": "0.4.0", "cniVersions": ["1.0.0", "0.3.1"], "plugins": [{"type": "a"}]})).unwrap();
        assert_eq!(list.cni_version, Version::V1_0_0);
    }

    #[test]
    fn a_plugin_gets_only_what_it_declares() {
        let list = parse(json!({"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "a", "NAME": "x", "capabilities": {"mac": true}, "extra": 1}]})).unwrap();
        let offers = json!({"mac": "m", "ips": ["i"]});
        let request = list.plugins[0].request(&list, offers.as_object().unwrap(), Some(&json!({"r": 1})));
        let want = json!({"type": "a", "name": "n", "capabilities": {"mac": true}, "extra": 1, "cniVersion": "1.0.0",
            "prevResult": {"r": 1}, "runtimeConfig": {"mac": "m"}});
        assert_eq!(Value::Object(request), want);
        let request = list.plugins[0].request(&list, &Map::new(), None);
        assert!(!request.contains_key("runtimeConfig"));
    }
}
