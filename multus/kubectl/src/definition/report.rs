//! The findings about one definition.

use std::fmt::Display;

use crate::finding::{Finding, Severity};

/// Collects the findings about one definition.
#[derive(Debug)]
pub(super) struct Report<'a> {
    definition: &'a str,
    findings: Vec<Finding>,
}

impl<'a> Report<'a> {
    pub(super) const fn about(definition: &'a str) -> Self {
        Report { definition, findings: Vec::new() }
    }

    pub(super) fn error(&mut self, message: impl Display, remedy: &str) {
        self.add(Severity::Error, message, remedy);
    }

    pub(super) fn warn(&mut self, message: impl Display, remedy: &str) {
        self.add(Severity::Warning, message, remedy);
    }

    pub(super) fn note(&mut self, message: impl Display, remedy: &str) {
        self.add(Severity::Note, message, remedy);
    }

    pub(super) fn add(&mut self, severity: Severity, message: impl Display, remedy: &str) {
        self.findings.push(Finding::new(severity, &[self.definition], message, remedy));
    }

    /// A warning about keys that have no effect.
    pub(super) fn unknown_keys(&mut self, place: &str, keys: &[String]) {
        if keys.is_empty() {
            return;
        }
        let keys: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
        let message = format!("nobody knows {} of {place}, so that it has no effect", keys.join(", "));
        self.warn(message, "correct the name of the key, or remove it");
    }

    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }
}
