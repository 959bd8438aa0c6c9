//! Label and field selectors.

use serde_json::Value;

use super::store::StatusError;

/// The label and field selector of a list or watch.
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
    Equals(String),
    Differs(String),
    Exists,
    Missing,
}

/// The supported fields. A real server supports those of `spec` and `status` for pods, ResourceSlices or CertificateSigningRequests only, and the
/// last three for events only; this one does not check the kind.
const FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "spec.nodeName",
    "status.phase",
    "spec.driver",
    "spec.signerName",
    "involvedObject.kind",
    "involvedObject.name",
    "reason",
];

impl Selector {
    /// Parses `labelSelector` and `fieldSelector`: requirements separated by commas. Sets (`in`, `notin`) are not supported.
    pub fn parse(labels: &str, fields: &str) -> Result<Self, StatusError> {
        let selector = Selector { labels: requirements(labels)?, fields: requirements(fields)? };
        let is_known = |requirement: &Requirement| FIELDS.contains(&requirement.key.as_str());
        match selector.fields.iter().find(|requirement| !is_known(requirement)) {
            Some(Requirement { key, .. }) => {
                Err(StatusError::BadRequest(format!("field label not supported: {key}")))
            }
            None => Ok(selector),
        }
    }

    /// Whether the object matches.
    pub fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| object["metadata"]["labels"][key].as_str();
        let field = |key: &str| {
            let path = format!("/{}", key.replace('.', "/"));
            // The server treats a missing field as empty.
            Some(object.pointer(&path).and_then(Value::as_str).unwrap_or_default())
        };
        self.labels.iter().all(|requirement| requirement.holds(label(&requirement.key)))
            && self.fields.iter().all(|requirement| requirement.holds(field(&requirement.key)))
    }
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        match &self.condition {
            Condition::Equals(wanted) => value == Some(wanted),
            Condition::Differs(unwanted) => value != Some(unwanted),
            Condition::Exists => value.is_some(),
            Condition::Missing => value.is_none(),
        }
    }
}

fn requirements(text: &str) -> Result<Vec<Requirement>, StatusError> {
    text.split(',').filter(|part| !part.is_empty()).map(requirement).collect()
}

fn requirement(text: &str) -> Result<Requirement, StatusError> {
    if text.contains(['(', ')', ' ']) {
        return Err(StatusError::BadRequest(format!("selectors with sets are not supported: {text}")));
    }
    let equals = |value: &str| Condition::Equals(value.to_owned());
    let (key, condition) = if let Some((key, value)) = text.split_once("!=") {
        (key, Condition::Differs(value.to_owned()))
    } else if let Some((key, value)) = text.split_once("==") {
        (key, equals(value))
    } else if let Some((key, value)) = text.split_once('=') {
        (key, equals(value))
    } else if let Some(key) = text.strip_prefix('!') {
        (key, Condition::Missing)
    } else {
        (text, Condition::Exists)
    };
    Ok(Requirement { key: key.to_owned(), condition })
}
