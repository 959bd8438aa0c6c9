//! Merge patches and JSON patches.

use serde_json::{Map, Value};

/// Why a JSON patch changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// It is not a JSON patch (400).
    #[error("{0}")]
    Malformed(String),
    /// A test fails, or a path does not exist (422).
    #[error("{0}")]
    DoesNotApply(String),
}

/// Applies a merge patch (RFC 7386).
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            fields.shift_remove(key);
        } else {
            merge(fields.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Applies a JSON patch (RFC 6902 without `move` and `copy`): all its operations, or none.
pub fn json(target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let Some(operations) = patch.as_array() else {
        return Err(PatchError::Malformed("a JSON patch must be a list of operations".to_owned()));
    };
    let mut changed = target.clone();
    for operation in operations {
        apply(&mut changed, operation)?;
    }
    *target = changed;
    Ok(())
}

fn apply(target: &mut Value, operation: &Value) -> Result<(), PatchError> {
    let text = |key: &str| operation[key].as_str();
    let (Some(op), Some(path)) = (text("op"), text("path")) else {
        return Err(PatchError::Malformed("an operation must have op and path".to_owned()));
    };
    let missing = || PatchError::DoesNotApply(format!("{op} operation does not apply: {path}"));
    let value = || {
        let value = operation.get("value").cloned();
        value.ok_or_else(|| PatchError::Malformed(format!("{op} of {path} has no value")))
    };
    if op == "test" {
        // As the API server: a test for null holds if there is no such value.
        let holds = target.pointer(path).unwrap_or(&Value::Null) == &value()?;
        return if holds { Ok(()) } else { Err(missing()) };
    }
    let (parent, last) = path.rsplit_once('/').ok_or_else(missing)?;
    // RFC 6901: ~1 first, or ~01 would become a slash.
    let last = last.replace("~1", "/").replace("~0", "~");
    let parent = target.pointer_mut(parent).ok_or_else(missing)?;
    match (parent, op) {
        (Value::Object(fields), "add") => drop(fields.insert(last, value()?)),
        (Value::Object(fields), "replace") => *fields.get_mut(&last).ok_or_else(missing)? = value()?,
        (Value::Object(fields), "remove") => drop(fields.shift_remove(&last).ok_or_else(missing)?),
        (Value::Array(items), "add") if last == "-" => items.push(value()?),
        (Value::Array(items), _) => {
            let index: usize = last.parse().map_err(|_| missing())?;
            let length = items.len();
            match op {
                "add" if index <= length => items.insert(index, value()?),
                "replace" if index < length => items[index] = value()?,
                "remove" if index < length => drop(items.remove(index)),
                _ => return Err(missing()),
            }
        }
        (Value::Object(_), _) => return Err(PatchError::Malformed(format!("unknown operation {op}"))),
        _ => return Err(missing()),
    }
    Ok(())
}
