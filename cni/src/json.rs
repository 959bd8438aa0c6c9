//! JSON as the field writes it. Confs in use were only ever read by Go, which matches object keys in any case, takes `null` for
//! absent, lets the last of two equal keys win and keeps quiet about keys it does not know; here the same is done on purpose.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Renames the keys of `object` that spell one of `known` in another case, later ones winning over earlier ones, and drops
/// `null` members. Unknown keys stay as they are.
pub fn fold_keys(object: &mut Map<String, Value>, known: &[&str]) {
    if is_folded(object, known) {
        return;
    }
    let old = std::mem::take(object);
    for (key, value) in old {
        let name = known.iter().find(|k| k.eq_ignore_ascii_case(&key)).map_or(key, |k| (*k).to_owned());
        if !value.is_null() {
            object.insert(name, value);
        }
    }
}

fn is_folded(object: &Map<String, Value>, known: &[&str]) -> bool {
    let misspelt =
        |key: &String| !known.contains(&key.as_str()) && known.iter().any(|k| k.eq_ignore_ascii_case(key));
    !object.iter().any(|(key, value)| value.is_null() || misspelt(key))
}

/// Reads `object` as `T` after folding `known` keys (see [`fold_keys`]).
pub fn decode<T: DeserializeOwned>(
    object: &Map<String, Value>,
    known: &[&str],
) -> Result<T, serde_json::Error> {
    if is_folded(object, known) {
        return T::deserialize(object);
    }
    let mut object = object.clone();
    fold_keys(&mut object, known);
    serde_json::from_value(Value::Object(object))
}

/// Parses `text` as one JSON object.
pub fn parse_object(text: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    serde_json::from_slice(text)
}

/// `value` with the indent of four spaces that results, errors and network-status have; no newline at the end.
pub fn pretty<T: Serialize>(value: &T) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    // Writing to memory fails only for maps whose keys are not strings; the types printed here have none.
    if value.serialize(&mut serializer).is_err() {
        return String::from("{}");
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The same value with the members of every object in the order of their names.
pub fn sorted(value: Value) -> Value {
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
    fn keys_match_in_any_case_and_the_last_wins() {
        let value = folded(json!({"CNIVERSION": "1", "cniversion": "2", "Other": 3}), &["cniVersion"]);
        assert_eq!(value, json!({"cniVersion": "2", "Other": 3}));
    }

    #[test]
    fn null_is_absent() {
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
