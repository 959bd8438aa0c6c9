//! A result as JSON: its version, and its conversion to other versions.

use serde_json::{Map, Value};

use super::value::CniResult;
use super::{legacy, modern};
use crate::json;
use crate::types::version::Version;

/// A result as JSON, with its version. A result that needs no conversion is passed on in this form, so that fields which this crate
/// does not know survive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawResult {
    version: Version,
    value: Value,
}

/// JSON is not a result, or a result has no form in a version.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    /// The spec has no such `cniVersion`.
    #[error("unsupported CNI result version {version:?}")]
    UnsupportedVersion {
        /// The value of `cniVersion`.
        version: String,
    },
    /// The JSON does not have the shape of its version.
    #[error("result of CNI version {version} cannot be read: {source}")]
    Malformed {
        /// The version of the result.
        version: Version,
        /// The key, its value and what was expected.
        source: json::BadValue,
    },
    /// Versions before 0.3.0 cannot express a result without addresses.
    #[error("cannot convert: no valid IP addresses")]
    NoAddresses,
}

impl RawResult {
    /// Takes `value` as a result. `null` is an empty result. A result without `cniVersion` has `version`, that of the configuration.
    ///
    /// # Errors
    /// [`ResultError::Malformed`] if `value` is no object, [`ResultError::UnsupportedVersion`]. The other fields are not read yet.
    pub fn from_value(value: Value, version: Version) -> Result<RawResult, ResultError> {
        let mut object = match value {
            Value::Object(object) => object,
            Value::Null => Map::new(),
            other => {
                let source = json::BadValue::expected("an object", &other);
                return Err(ResultError::Malformed { version, source });
            }
        };
        json::fold_keys(&mut object, &["cniVersion"]);
        let version = match object.get("cniVersion").and_then(Value::as_str) {
            None | Some("") => version,
            Some(text) => {
                text.parse().map_err(|_| ResultError::UnsupportedVersion { version: text.to_owned() })?
            }
        };
        object.insert("cniVersion".to_owned(), Value::String(version.as_str().to_owned()));
        Ok(RawResult { version, value: Value::Object(object) })
    }

    /// The version of the JSON form.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The JSON object.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Reads all fields.
    ///
    /// # Errors
    /// [`ResultError::Malformed`].
    pub fn parse(&self) -> Result<CniResult, ResultError> {
        let malformed = |source| ResultError::Malformed { version: self.version, source };
        if self.version <= Version::V0_2_0 {
            legacy::read(&self.value).map_err(malformed)
        } else {
            modern::read(&self.value).map_err(malformed)
        }
    }

    /// Converts the result to `version`. A result that has this version already is returned unread and unchanged.
    ///
    /// # Errors
    /// [`ResultError::Malformed`], [`ResultError::NoAddresses`].
    pub fn to_version(&self, version: Version) -> Result<RawResult, ResultError> {
        if version == self.version {
            return Ok(self.clone());
        }
        self.parse()?.to_raw(version)
    }
}

impl CniResult {
    /// The result in the JSON form of `version`, with the key order and the omitted fields of Go's types.
    ///
    /// # Errors
    /// [`ResultError::NoAddresses`], up to 0.2.0 only.
    pub fn to_raw(&self, version: Version) -> Result<RawResult, ResultError> {
        let value = match version {
            Version::V0_1_0 | Version::V0_2_0 => {
                legacy::write(self, version).ok_or(ResultError::NoAddresses)?
            }
            _ => modern::write(self, version),
        };
        Ok(RawResult { version, value })
    }
}
