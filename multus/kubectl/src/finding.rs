//! What a check finds.

use std::fmt;

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Pods of this network do not start.
    Error,
    /// It works, but perhaps not as its author expects.
    Warning,
    /// Something that a check cannot know.
    Note,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The definitions that it is about, as `<namespace>/<name>`.
    pub definitions: Vec<String>,
    /// What is wrong.
    pub message: String,
    /// What to do; empty if the message says it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        })
    }
}

impl Finding {
    /// A finding about some definitions.
    pub fn new(
        severity: Severity,
        definitions: &[&str],
        message: impl fmt::Display,
        remedy: impl Into<String>,
    ) -> Self {
        let definitions = definitions.iter().map(|name| (*name).to_owned()).collect();
        Finding { severity, definitions, message: message.to_string(), remedy: remedy.into() }
    }
}
