//! What a command answers.

use std::process::ExitCode;

/// The namespace of a pod or definition if nothing names one.
pub(super) const DEFAULT_NAMESPACE: &str = "default";

/// What a command found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing that must be corrected.
    Right,
    /// An error.
    Wrong,
}

impl Outcome {
    /// The exit code of the process.
    pub const fn exit_code(self) -> ExitCode {
        match self {
            Outcome::Right => ExitCode::SUCCESS,
            Outcome::Wrong => ExitCode::FAILURE,
        }
    }
}

/// The text that a command prints, and what it found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) outcome: Outcome,
}

impl Answer {
    pub(super) const fn right(text: String) -> Self {
        Answer { text, outcome: Outcome::Right }
    }
}
