//! Label and field selectors.

use serde_json::Value;

use super::store::Refused;

/// What a list or watch asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    condition: Condition,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Is(String),
    IsNot(String),
    Exists,
    ExistsNot,
}

/// The fields that can be selected by. Custom resources have the first two only, which no caller gets wrong.
const FIELDS: [&str; 4] = ["metadata.name", "metadata.namespace", "spec.nodeName", "status.phase"];

impl Selector {
    /// Reads `labelSelector` and `fieldSelector`: requirements separated by commas, without sets.
    pub fn parse(labels: &str, fields: &str) -> Result<Self, Refused> {
        let selector = Selector { labels: requirements(labels)?, fields: requirements(fields)? };
        let known = |requirement: &Requirement| FIELDS.contains(&requirement.key.as_str());
        match selector.fields.iter().find(|requirement| !known(requirement)) {
            Some(Requirement { key, .. }) => {
                Err(Refused::BadRequest(format!("field label not supported: {key}")))
            }
            None => Ok(selector),
        }
    }

    /// Whether it asks for this object.
    pub fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| object["metadata"]["labels"][key].as_str();
        let field = |key: &str| {
            let path = format!("/{}", key.replace('.', "/"));
            // A field that is not set is an empty one.
            Some(object.pointer(&path).and_then(Value::as_str).unwrap_or_default())
        };
        self.labels.iter().all(|requirement| requirement.holds(label(&requirement.key)))
            && self.fields.iter().all(|requirement| requirement.holds(field(&requirement.key)))
    }
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        match &self.condition {
            Condition::Is(wanted) => value == Some(wanted),
            Condition::IsNot(unwanted) => value != Some(unwanted),
            Condition::Exists => value.is_some(),
            Condition::ExistsNot => value.is_none(),
        }
    }
}

fn requirements(text: &str) -> Result<Vec<Requirement>, Refused> {
    text.split(',').filter(|part| !part.is_empty()).map(requirement).collect()
}

fn requirement(text: &str) -> Result<Requirement, Refused> {
    if text.contains(['(', ')', ' ']) {
        return Err(Refused::BadRequest(format!("selectors with sets are not supported: {text}")));
    }
    let is = |value: &str| Condition::Is(value.to_owned());
    let (key, condition) = if let Some((key, value)) = text.split_once("!=") {
        (key, Condition::IsNot(value.to_owned()))
    } else if let Some((key, value)) = text.split_once("==") {
        (key, is(value))
    } else if let Some((key, value)) = text.split_once('=') {
        (key, is(value))
    } else if let Some(key) = text.strip_prefix('!') {
        (key, Condition::ExistsNot)
    } else {
        (text, Condition::Exists)
    };
    Ok(Requirement { key: key.to_owned(), condition })
}
