//! CNI error objects (CNI spec 1.1.0, "Error").

use std::fmt;

use serde_json::{Value, json};

use crate::Version;

/// Why a verb failed, as the runtime sees it. Numbers 1-99 are the spec's, 8 and 999 the reference implementation's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// 1: the configuration's `cniVersion` is not one this plugin speaks.
    IncompatibleVersion,
    /// 2: a field of the configuration is not supported; the message holds key and value.
    UnsupportedField,
    /// 3: the container does not exist; the runtime need not clean up.
    UnknownContainer,
    /// 4: a `CNI_*` variable is missing or holds what it must not.
    InvalidEnvironment,
    /// 5: reading or writing failed.
    Io,
    /// 6: content that is not the JSON that was expected.
    Decoding,
    /// 7: the configuration is well-formed but cannot be right.
    InvalidConfig,
    /// 8: the network namespace is not one, or the plugin's own.
    InvalidNetns,
    /// 11: a passing condition; the runtime should try again.
    TryAgainLater,
    /// 50: STATUS only, the plugin cannot serve ADD.
    NotAvailable,
    /// 51: STATUS only, as 50, and existing containers may be cut off.
    LimitedConnectivity,
    /// 999: any other failure.
    Internal,
    /// A code of the plugin that was delegated to, passed on as it is.
    Other(u32),
}

impl Code {
    /// The number on the wire.
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

/// What a failed verb answers on standard output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CniError {
    /// The class of the failure.
    pub code: Code,
    /// One sentence: what failed, on which object, what to do.
    pub msg: String,
    /// More of it, or empty.
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

    /// The same error, its message led by `context` and a colon.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.msg = format!("{context}: {}", self.msg);
        self
    }

    /// The error object as a plugin prints it. `cniVersion` is the one the caller asked for, where it is known.
    pub fn to_json(&self, version: Version) -> String {
        let mut object =
            json!({ "cniVersion": version.as_str(), "code": self.code.number(), "msg": self.msg });
        if let (false, Some(map)) = (self.details.is_empty(), object.as_object_mut()) {
            map.insert("details".into(), Value::String(self.details.clone()));
        }
        crate::json::pretty(&object)
    }

    /// Reads an error object. `None` where `text` is not one (a number `code` above 0 or a `msg` is what makes one).
    pub fn from_json(text: &[u8]) -> Option<CniError> {
        let mut value: Value = serde_json::from_slice(text).ok()?;
        let map = value.as_object_mut()?;
        crate::json::fold_keys(map, &["code", "msg", "details"]);
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
    fn a_result_is_not_taken_for_an_error() {
        assert_eq!(CniError::from_json(br#"{"cniVersion":"1.0.0","ips":[]}"#), None);
        assert_eq!(CniError::from_json(b"panic: x"), None);
    }

    #[test]
    fn every_code_survives_its_number() {
        for n in (0..120).chain([999]) {
            assert_eq!(Code::from_number(n).number(), n);
        }
    }
}
