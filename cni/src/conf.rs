//! What a plugin reads on standard input (CNI spec 1.1.0, "Plugin configuration objects").

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::names::{NetworkName, PluginType};
use crate::result::{CniResult, Dns, RawResult};
use crate::{CniError, Code, Version, json};

/// Keys of the spec; their case is folded at the top level of every conf.
const KNOWN: &[&str] =
    &["cniVersion", "name", "type", "args", "capabilities", "runtimeConfig", "ipam", "dns", "prevResult"];

/// A plugin's configuration: what the spec defines as fields, everything else in [`NetConf::decode`].
#[derive(Clone, Debug)]
pub struct NetConf {
    /// The version that the result must have.
    pub cni_version: Version,
    /// The network's name.
    pub name: NetworkName,
    /// `ipam`, or `None` where there is none or it has no `type`: the plugin then gives no addresses.
    pub ipam: Option<Ipam>,
    /// `dns`.
    pub dns: Dns,
    /// `runtimeConfig`: what the runtime passes for the capabilities that the conf declares.
    pub runtime_config: Map<String, Value>,
    /// `args.cni`: what the user asks of this attachment.
    pub args_cni: Map<String, Value>,
    object: Map<String, Value>,
}

/// The part of a conf that is about addresses.
#[derive(Clone, Debug)]
pub struct Ipam {
    /// `ipam.type`, the plugin that is delegated to.
    pub plugin_type: PluginType,
    /// All of `ipam`.
    pub object: Map<String, Value>,
}

/// The two fields that must be right before anything else is looked at.
pub(crate) struct Head {
    pub(crate) object: Map<String, Value>,
    pub(crate) name: NetworkName,
    pub(crate) version_text: String,
}

impl Head {
    /// Code 6 where `stdin` is not a JSON object or its fields are of the wrong type, 7 for a missing or wrong name.
    pub(crate) fn parse(stdin: &[u8]) -> Result<Head, CniError> {
        let mut object = json::parse_object(stdin).map_err(|e| undecodable("network config", &e))?;
        json::fold_keys(&mut object, KNOWN);
        let name = NetworkName::parse(text(&object, "name")?)?;
        let version_text = text(&object, "cniVersion")?.to_owned();
        Ok(Head { name, version_text, object })
    }
}

impl NetConf {
    /// Reads a conf; see [`CniError::code`] 6 and 7 for what is refused. The version must be a published one.
    pub fn parse(stdin: &[u8]) -> Result<NetConf, CniError> {
        let head = Head::parse(stdin)?;
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

    /// Reads the plugin's own keys as `T`, their case folded to the spelling in `known`. Code 6 for a wrong type.
    pub fn decode<T: DeserializeOwned>(&self, known: &[&str]) -> Result<T, CniError> {
        json::decode(&self.object, known).map_err(|e| undecodable("network config", &e))
    }

    /// `prevResult`, read with the conf's version where it names none. Code 6 where it is not a result.
    pub fn prev_result(&self) -> Result<Option<CniResult>, CniError> {
        let Some(value) = self.object.get("prevResult") else { return Ok(None) };
        let raw = RawResult::from_value(value.clone(), self.cni_version);
        raw.and_then(|raw| raw.parse())
            .map(Some)
            .map_err(|e| CniError::new(Code::Decoding, format!("could not parse prevResult: {e}")))
    }

    /// The whole object, the case of the spec's keys folded.
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
    let value = object.get(key).cloned().map(serde_json::from_value);
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

fn undecodable(what: &str, error: &serde_json::Error) -> CniError {
    CniError::new(Code::Decoding, format!("error unmarshall {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(stdin: &str) -> Code {
        NetConf::parse(stdin.as_bytes()).unwrap_err().code
    }

    #[test]
    fn what_is_not_a_json_object_is_code_6() {
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
    fn a_missing_or_wrong_name_is_code_7() {
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
    fn an_ipam_without_type_gives_no_addresses() {
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
