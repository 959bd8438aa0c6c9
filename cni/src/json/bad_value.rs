//! The error for a JSON value that has the wrong type: serde's own says what it expected, but neither where nor, for most types, what was
//! there.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

/// The most characters of a value that a message shows.
const SHOWN: usize = 100;

/// A JSON value that cannot be read. The message names the key, the value, and what was expected.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadValue(String);

impl BadValue {
    /// The error for a whole text of the wrong kind.
    pub(crate) fn expected(kind: &str, found: &Value) -> BadValue {
        BadValue(format!("expected {kind}, found {}", shown(found)))
    }
}

/// Reads `value` as `T`, with the path to the cause of an error. Slower than serde alone, so only for a value that serde has refused.
pub(super) fn explained<T: DeserializeOwned>(value: &Value) -> Result<T, BadValue> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let found = lookup(value, error.path());
        BadValue(message(&error.path().to_string(), found, &error.inner().to_string()))
    })
}

fn lookup<'v>(value: &'v Value, path: &Path) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, segment| match segment {
        Segment::Map { key } => value.get(key),
        Segment::Seq { index } => value.get(index),
        Segment::Enum { .. } | Segment::Unknown => None,
    })
}

/// `path` is "." for the whole value; `cause` is serde's message.
fn message(path: &str, found: Option<&Value>, cause: &str) -> String {
    let key = if path == "." { String::new() } else { format!("{path:?} ") };
    // The value itself is shown, so that serde's description of it is left out.
    let wanted = cause.strip_prefix("invalid type: ").or_else(|| cause.strip_prefix("invalid value: "));
    match (wanted.and_then(|text| text.rsplit_once(", expected ")), found) {
        (Some((_, expected)), Some(found)) => {
            format!("{key}must be {}, found {}", plain(expected), shown(found))
        }
        // Of an object or a list the cause says enough, such as a missing member.
        (None, Some(found)) if !found.is_object() && !found.is_array() => {
            format!("{key}must not be {}: {cause}", shown(found))
        }
        _ if key.is_empty() => cause.to_owned(),
        _ => format!("{key}cannot be read: {cause}"),
    }
}

/// What serde expected, in words for someone who does not know Rust.
fn plain(expected: &str) -> &str {
    match expected {
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0",
        "a sequence" => "a list",
        "a map" => "an object",
        other if other.starts_with("struct ") => "an object",
        other => other,
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        scalar => {
            let text = scalar.to_string();
            let cut: String = text.chars().take(SHOWN).collect();
            if cut.len() == text.len() { text } else { format!("{cut}..") }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Outer {
        mtu: i64,
        #[serde(default)]
        list: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Inner {
        address: std::net::IpAddr,
    }

    fn error(value: &Value) -> String {
        explained::<Outer>(value).unwrap_err().to_string()
    }

    #[test]
    fn the_message_names_key_value_and_what_was_expected() {
        assert_eq!(error(&json!({"mtu": "1480"})), r#""mtu" must be a whole number, found "1480""#);
        assert_eq!(error(&json!({"mtu": [1]})), r#""mtu" must be a whole number, found a list"#);
        assert_eq!(error(&json!({"mtu": 1, "list": {}})), r#""list" must be a list, found an object"#);
        assert_eq!(error(&json!({"mtu": 1, "list": [7]})), r#""list[0]" must be an object, found 7"#);
        let nested = error(&json!({"mtu": 1, "list": [{"address": "1.2.3.4"}, {"address": "x"}]}));
        assert_eq!(nested, r#""list[1].address" must not be "x": invalid IP address syntax"#);
    }

    #[test]
    fn a_missing_key_is_named_with_the_object_that_lacks_it() {
        assert_eq!(error(&json!({})), "missing field `mtu`");
        let nested = error(&json!({"mtu": 1, "list": [{}]}));
        assert_eq!(nested, r#""list[0]" cannot be read: missing field `address`"#);
    }

    #[test]
    fn a_long_value_is_cut() {
        let text = error(&json!({"mtu": "x".repeat(5000)}));
        assert!(text.len() < 200 && text.ends_with(".."), "{text}");
    }
}
