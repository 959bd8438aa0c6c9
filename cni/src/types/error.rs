//! CNI error objects (CNI spec 1.1.0, section 5, "Error").

use std::fmt;

use serde_json::Value;

use crate::json;
use crate::types::version::Version;

/// The class of a failure. The spec reserves the numbers 1 to 99; 8 and 999 come from the reference implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// 1: the plugin does not support the configuration's `cniVersion`.
    IncompatibleVersion,
    /// 2: a field of the configuration is not supported; the message names key and value.
    UnsupportedField,
    /// 3: the container does not exist; the runtime need not clean up.
    UnknownContainer,
    /// 4: a `CNI_*` variable is missing or invalid.
    InvalidEnvironment,
    /// 5: an I/O operation failed.
    Io,
    /// 6: the JSON cannot be decoded.
    Decoding,
    /// 7: the configuration is well-formed JSON, but invalid.
    InvalidConfig,
    /// 8: the path is no network namespace, or it is the plugin's own.
    InvalidNetns,
    /// 11: a transient failure; the runtime should retry later.
    TryAgainLater,
    /// 50: STATUS only; the plugin cannot serve ADD.
    NotAvailable,
    /// 51: STATUS only; as 50, and existing containers may lose connectivity.
    LimitedConnectivity,
    /// 999: any other failure.
    Internal,
    /// Any other code of a delegate; it is passed on unchanged.
    Other(u32),
}

impl Code {
    /// The number in the error object.
    pub fn number(self) -> u32 {
        match self {
            Code::IncompatibleVersion => 1,
            Code::UnsupportedField => 2,
            Code::UnknownContainer => 3,
            Code::InvalidEnvironment => 4,
            Code::Io => 5,
            Code::Decoding => 6,
            Code::InvalidConfig => 7,
            Code::InvalidNetns => 8,
            Code::TryAgainLater => 11,
            Code::NotAvailable => 50,
            Code::LimitedConnectivity => 51,
            Code::Internal => 999,
            Code::Other(n) => n,
        }
    }

    /// The code with this number.
    pub fn from_number(number: u32) -> Code {
        match number {
            1 => Code::IncompatibleVersion,
            2 => Code::UnsupportedField,
            3 => Code::UnknownContainer,
            4 => Code::InvalidEnvironment,
            5 => Code::Io,
            6 => Code::Decoding,
            7 => Code::InvalidConfig,
            8 => Code::InvalidNetns,
            11 => Code::TryAgainLater,
            50 => Code::NotAvailable,
            51 => Code::LimitedConnectivity,
            999 => Code::Internal,
            n => Code::Other(n),
        }
    }
}

/// What a plugin prints on standard output when a verb fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CniError {
    /// The class of the failure.
    pub code: Code,
    /// What failed, on which object, and what to do.
    pub msg: String,
    /// Further details; empty if there are none.
    pub details: String,
}

impl CniError {
    /// An error with a message and no details.
    pub fn new(code: Code, msg: impl Into<String>) -> Self {
        CniError { code, msg: msg.into(), details: String::new() }
    }

    /// The same error with details.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// The same error with `context` and a colon before its message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.msg = format!("{context}: {}", self.msg);
        self
    }

    /// The error object as a plugin prints it. `version` is that of the configuration, or [`Version::CURRENT`] if it is not known yet.
    pub fn to_json(&self, version: Version) -> String {
        let mut object = serde_json::json!({ "cniVersion": version.as_str(), "code": self.code.number(), "msg": self.msg });
        if let (false, Some(map)) = (self.details.is_empty(), object.as_object_mut()) {
            map.insert("details".into(), Value::String(self.details.clone()));
        }
        json::pretty(&object)
    }

    /// Whether `text` is a JSON object with a `code` above 0, which no result has.
    pub(crate) fn is_error_object(text: &[u8]) -> bool {
        // Nearly every output is a result. Its text is searched first, so that it is not parsed once more.
        let has_code = || text.to_ascii_lowercase().windows(6).any(|six| six == b"\"code\"");
        let code = |mut object: serde_json::Map<String, Value>| {
            json::fold_keys(&mut object, &["code"]);
            object.get("code").and_then(Value::as_u64)
        };
        has_code() && json::parse_object(text).is_ok_and(|object| code(object).is_some_and(|code| code > 0))
    }

    /// Reads an error object: a JSON object with a `code` above 0 or a `msg`. `None` for anything else, results included.
    pub fn from_json(text: &[u8]) -> Option<CniError> {
        let mut value: Value = serde_json::from_slice(text).ok()?;
        let map = value.as_object_mut()?;
        json::fold_keys(map, &["code", "msg", "details"]);
        let code = map.get("code").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        let text = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (msg, details) = (text("msg"), text("details"));
        if code.unwrap_or(0) == 0 && msg.is_empty() {
            return None;
        }
        Some(CniError { code: Code::from_number(code.unwrap_or(999)), msg, details })
    }
}

impl fmt::Display for CniError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        if !self.details.is_empty() {
            write!(f, "; {}", self.details)?;
        }
        Ok(())
    }
}

impl std::error::Error for CniError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_object_carries_the_version_and_omits_empty_details() {
        let text = CniError::new(Code::InvalidConfig, "bad").to_json(Version::V0_3_1);
        assert_eq!(text, "{\n    \"cniVersion\": \"0.3.1\",\n    \"code\": 7,\n    \"msg\": \"bad\"\n}");
    }

    #[test]
    fn error_object_is_read_back_with_its_code_and_details() {
        let error = CniError::new(Code::Other(120), "bad").with_details("more");
        assert_eq!(CniError::from_json(error.to_json(Version::V1_1_0).as_bytes()), Some(error));
    }

    #[test]
    fn a_result_is_no_error_object() {
        assert_eq!(CniError::from_json(br#"{"cniVersion":"1.0.0","ips":[]}"#), None);
        assert_eq!(CniError::from_json(b"panic: x"), None);
    }

    #[test]
    fn an_error_object_is_one_by_its_code() {
        for yes in [r#"{"code":7,"msg":"x"}"#, r#"{ "Code" : 999 }"#] {
            assert!(CniError::is_error_object(yes.as_bytes()), "{yes}");
        }
        for no in ["", "{}", r#"{"code":0}"#, r#"{"msg":"x"}"#, r#"{"dns":{"domain":"code"}}"#, r#"["code"]"#]
        {
            assert!(!CniError::is_error_object(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn every_number_is_read_back() {
        for n in (0..120).chain([999]) {
            assert_eq!(Code::from_number(n).number(), n);
        }
    }
}
