//! The format of a message.

use serde::{Deserialize, Serialize};

/// The longest request and the longest response, in bytes without the line end. A pod with all its networks takes a hundredth of it.
pub(super) const MAX_MESSAGE: usize = 1 << 20;

/// The daemon's response.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reply<A> {
    /// The answer.
    Answer(A),
    /// The daemon does not understand the request, and did nothing. With the reason.
    Refused(String),
}
