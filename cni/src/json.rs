//! JSON as Go reads it. Existing configurations were written for Go's decoder, which matches object keys in any case, treats `null` as
//! absent, uses the last of two equal keys and ignores unknown keys. This module does the same, so that those configurations keep working.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

mod bad_value;

pub use bad_value::BadValue;
use bad_value::explained;

/// Renames each key of `object` that differs from one of `known` only in case, and removes `null` members. Of several such keys the
/// last value is kept. Unknown keys stay unchanged.
pub fn fold_keys(object: &mut Map<String, Value>, known: &[&str]) {
    if is_folded(object, known) {
        return;
    }
    // The map keeps insertion order, and inserting an existing key keeps its position: "last one is kept" follows from the loop.
    let old = std::mem::take(object);
    for (key, value) in old {
        let name = known.iter().find(|k| k.eq_ignore_ascii_case(&key)).map_or(key, |k| (*k).to_owned());
        if !value.is_null() {
            object.insert(name, value);
        }
    }
}

/// The keys of `object` that are none of `known`, in any case. Programs ignore such keys, so that a typing error goes unseen. A key with a "/"
/// is another program's (such as `cni.dev/attachments`), and counts as known.
pub fn unknown_keys(object: &Map<String, Value>, known: &[&str]) -> Vec<String> {
    let is_known = |key: &str| key.contains('/') || known.iter().any(|k| k.eq_ignore_ascii_case(key));
    object.keys().filter(|key| !is_known(key)).cloned().collect()
}

/// Whether [`fold_keys`] would change nothing. Nearly every object is like that, and then it is not copied.
fn is_folded(object: &Map<String, Value>, known: &[&str]) -> bool {
    let has_other_case =
        |key: &String| !known.contains(&key.as_str()) && known.iter().any(|k| k.eq_ignore_ascii_case(key));
    !object.iter().any(|(key, value)| value.is_null() || has_other_case(key))
}

/// Reads `object` as `T` after [`fold_keys`] with `known`.
///
/// # Errors
/// A member has the wrong type or is missing.
pub fn decode<T: DeserializeOwned>(object: &Map<String, Value>, known: &[&str]) -> Result<T, BadValue> {
    if is_folded(object, known) {
        return T::deserialize(object).or_else(|_| explained(&Value::Object(object.clone())));
    }
    let mut object = object.clone();
    fold_keys(&mut object, known);
    decode_value(&Value::Object(object))
}

/// Reads `value` as `T`.
///
/// # Errors
/// It, or a member, has the wrong type.
pub(crate) fn decode_value<T: DeserializeOwned>(value: &Value) -> Result<T, BadValue> {
    T::deserialize(value).or_else(|_| explained(value))
}

/// Parses `text` as one JSON object.
///
/// # Errors
/// `text` is no JSON, or another kind of value.
pub fn parse_object(text: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    serde_json::from_slice(text)
}

/// The text of `value` with an indent of four spaces, as in Go's results, error objects and network-status. No newline at the end.
pub fn pretty<T: Serialize>(value: &T) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    // Writing to memory fails only for maps with keys other than strings; no caller prints one.
    if value.serialize(&mut serializer).is_err() {
        return String::from("{}");
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The same value with the members of every object sorted by name.
pub(crate) fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut members: Vec<(String, Value)> = map.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn folded(mut value: Value, known: &[&str]) -> Value {
        fold_keys(value.as_object_mut().unwrap(), known);
        value
    }

    #[test]
    fn keys_match_in_any_case_and_the_last_value_is_kept() {
        let value = folded(json!({"CNIVERSION": "1", "cniversion": "2", "Other": 3}), &["cniVersion"]);
        assert_eq!(value, json!({"cniVersion": "2", "Other": 3}));
    }

    #[test]
    fn unknown_keys_are_those_that_match_in_no_case() {
        let object = json!({"MTU": 1, "mtu": 2, "mut": 3, "cni.dev/attachments": []});
        assert_eq!(unknown_keys(object.as_object().unwrap(), &["mtu"]), ["mut"]);
    }

    #[test]
    fn null_members_are_removed() {
        assert_eq!(folded(json!({"name": "a", "NAME": null, "x": null}), &["name"]), json!({"name": "a"}));
    }

    #[test]
    fn pretty_has_four_spaces_and_no_newline() {
        assert_eq!(pretty(&json!({"a": [1]})), "{\n    \"a\": [\n        1\n    ]\n}");
    }

    #[test]
    fn sorting_reaches_every_level() {
        let text = sorted(json!({"b": [{"d": 1, "c": 2}], "a": 0})).to_string();
        assert_eq!(text, r#"{"a":0,"b":[{"c":2,"d":1}]}"#);
    }
}
