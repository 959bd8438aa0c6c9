//! The configuration of a plugin on standard input (CNI spec 1.1.0, section 1, "Plugin configuration objects").

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::json;
use crate::types::names::{NetworkName, PluginType};
use crate::types::result::{CniResult, Dns, RawResult};
use crate::types::{CniError, Code, Version};

/// The keys of the spec at the top level. Configurations may write them in any case.
const KNOWN: &[&str] =
    &["cniVersion", "name", "type", "args", "capabilities", "runtimeConfig", "ipam", "dns", "prevResult"];

/// The configuration of a plugin: keys of the spec as fields, the plugin's own keys through [`NetConf::decode`].
#[derive(Clone, Debug)]
pub struct NetConf {
    /// The version of the configuration, and of the result.
    pub cni_version: Version,
    /// The name of the network.
    pub name: NetworkName,
    /// `ipam`. `None` if it is missing or has no `type`: the plugin then assigns no addresses.
    pub ipam: Option<Ipam>,
    /// `dns`.
    pub dns: Dns,
    /// `runtimeConfig`: values from the runtime for the capabilities that the configuration declares.
    pub runtime_config: Map<String, Value>,
    /// `args.cni`: values from the user for this attachment.
    pub args_cni: Map<String, Value>,
    object: Map<String, Value>,
}

/// The key `ipam` of a configuration.
#[derive(Clone, Debug)]
pub struct Ipam {
    /// `ipam.type`: the IPAM plugin to run.
    pub plugin_type: PluginType,
    /// The whole object.
    pub object: Map<String, Value>,
}

/// The two fields that are checked before all others. The version stays text here: the checks of a verb compare its number first, and
/// only then is an unknown version an error.
pub(crate) struct Head {
    pub(crate) object: Map<String, Value>,
    pub(crate) name: NetworkName,
    pub(crate) version_text: String,
}

/// Reads `stdin` as a JSON object, with the spec's keys in the spec's case. Code 6 if it is none.
pub(crate) fn parse_object(stdin: &[u8]) -> Result<Map<String, Value>, CniError> {
    let mut object = json::parse_object(stdin)
        .map_err(|e| CniError::new(Code::Decoding, format!("error unmarshall network config: {e}")))?;
    json::fold_keys(&mut object, KNOWN);
    Ok(object)
}

/// The key `cniVersion`, empty if it is missing. Code 6 if it is no text.
pub(crate) fn version_text(object: &Map<String, Value>) -> Result<&str, CniError> {
    text(object, "cniVersion")
}

impl Head {
    /// Code 6 if a field has the wrong type, 7 for a missing or invalid name.
    pub(crate) fn from_object(object: Map<String, Value>) -> Result<Head, CniError> {
        let name = NetworkName::parse(text(&object, "name")?)?;
        let version_text = version_text(&object)?.to_owned();
        Ok(Head { name, version_text, object })
    }
}

impl NetConf {
    /// Reads a configuration.
    ///
    /// # Errors
    /// Code 6 if `stdin` is not a JSON object or a field has the wrong type, 7 for an invalid name or IPAM type, 1 for a version that
    /// was never published.
    pub fn parse(stdin: &[u8]) -> Result<NetConf, CniError> {
        let head = Head::from_object(parse_object(stdin)?)?;
        let version = Version::from_conf(Some(&head.version_text))
            .map_err(|e| CniError::new(Code::IncompatibleVersion, e.to_string()))?;
        NetConf::from_head(head, version)
    }

    pub(crate) fn from_head(head: Head, cni_version: Version) -> Result<NetConf, CniError> {
        let Head { name, object, .. } = head;
        let ipam = member_object(&object, "ipam")?.map(Ipam::from_object).transpose()?.flatten();
        let dns = decode_member(&object, "dns")?.unwrap_or_default();
        let runtime_config = member_object(&object, "runtimeConfig")?.unwrap_or_default();
        let mut args = member_object(&object, "args")?.unwrap_or_default();
        json::fold_keys(&mut args, &["cni"]);
        let args_cni = member_object(&args, "cni")?.unwrap_or_default();
        Ok(NetConf { cni_version, name, ipam, dns, runtime_config, args_cni, object })
    }

    /// Reads the plugin's own keys as `T`. Keys match those in `known` in any case.
    ///
    /// # Errors
    /// Code 6 for a wrong type.
    pub fn decode<T: DeserializeOwned>(&self, known: &[&str]) -> Result<T, CniError> {
        json::decode(&self.object, known).map_err(|e| undecodable("network config", &e))
    }

    /// Reads `prevResult`. Without a `cniVersion` of its own it has that of the configuration.
    ///
    /// # Errors
    /// Code 6 if it is not a result.
    pub fn prev_result(&self) -> Result<Option<CniResult>, CniError> {
        let Some(value) = self.object.get("prevResult") else { return Ok(None) };
        let raw = RawResult::from_value(value.clone(), self.cni_version);
        raw.and_then(|raw| raw.parse())
            .map(Some)
            .map_err(|e| CniError::new(Code::Decoding, format!("could not parse prevResult: {e}")))
    }

    /// The keys that are neither the spec's nor in `own`, the plugin's. They are ignored.
    pub fn unknown_keys(&self, own: &[&str]) -> Vec<String> {
        json::unknown_keys(&self.object, &[KNOWN, own].concat())
    }

    /// The whole object, with the spec's keys in the spec's case.
    pub fn object(&self) -> &Map<String, Value> {
        &self.object
    }
}

impl Ipam {
    fn from_object(mut object: Map<String, Value>) -> Result<Option<Ipam>, CniError> {
        json::fold_keys(&mut object, &["type"]);
        match text(&object, "type")? {
            "" => Ok(None),
            name => Ok(Some(Ipam { plugin_type: PluginType::parse(name)?, object })),
        }
    }
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Result<&'a str, CniError> {
    match object.get(key) {
        None => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(wrong_type(key, "a string", other)),
    }
}

fn member_object(object: &Map<String, Value>, key: &str) -> Result<Option<Map<String, Value>>, CniError> {
    match object.get(key) {
        None => Ok(None),
        Some(Value::Object(member)) => Ok(Some(member.clone())),
        Some(other) => Err(wrong_type(key, "an object", other)),
    }
}

fn decode_member<T: DeserializeOwned>(object: &Map<String, Value>, key: &str) -> Result<Option<T>, CniError> {
    let value = object.get(key).map(json::decode_value);
    value.transpose().map_err(|e| undecodable(&format!("{key:?} of the network config"), &e))
}

fn wrong_type(key: &str, expected: &str, found: &Value) -> CniError {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    CniError::new(
        Code::Decoding,
        format!("error unmarshall network config: {key:?} must be {expected}, found {found}"),
    )
}

fn undecodable(what: &str, error: &json::BadValue) -> CniError {
    CniError::new(Code::Decoding, format!("error unmarshall {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(stdin: &str) -> Code {
        NetConf::parse(stdin.as_bytes()).unwrap_err().code
    }

    #[test]
    fn text_that_is_no_json_object_and_wrong_types_are_code_6() {
        for bad in [
            "",
            "banana",
            "[]",
            "{\"name\":",
            "3",
            r#"{"name": 7}"#,
            r#"{"name":"a","ipam":[]}"#,
            r#"{"name":"a","args":1}"#,
        ] {
            assert_eq!(code(bad), Code::Decoding, "{bad}");
        }
    }

    #[test]
    fn a_missing_or_invalid_name_is_code_7() {
        assert_eq!(code(r#"{"cniVersion":"1.0.0"}"#), Code::InvalidConfig);
        assert_eq!(code(r#"{"name":"te%%st"}"#), Code::InvalidConfig);
    }

    #[test]
    fn keys_match_in_any_case() {
        let conf = NetConf::parse(
            br#"{"Name":"a","CNIVERSION":"0.4.0","IPAM":{"Type":"static"},"RuntimeConfig":{"mac":"x"}}"#,
        )
        .unwrap();
        assert_eq!((conf.name.as_str(), conf.cni_version), ("a", Version::V0_4_0));
        assert_eq!(conf.ipam.unwrap().plugin_type.as_str(), "static");
        assert_eq!(conf.runtime_config["mac"], "x");
    }

    #[test]
    fn an_ipam_without_type_counts_as_absent() {
        for ipam in ["{}", r#"{"type":""}"#, "null"] {
            assert!(
                NetConf::parse(format!(r#"{{"name":"a","ipam":{ipam}}}"#).as_bytes()).unwrap().ipam.is_none()
            );
        }
    }

    #[test]
    fn an_ipam_type_with_a_path_is_refused() {
        assert_eq!(code(r#"{"name":"a","ipam":{"type":"../../bin/sh"}}"#), Code::InvalidConfig);
    }
}
