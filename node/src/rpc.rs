//! How a plugin asks its node's daemon: a unix socket, one line of JSON each way, one request per connection.
//!
//! The request is sent as it is; what comes back is `{"answer": ...}`, or `{"refused": "why"}` if the daemon does not understand it.
//!
//! The socket is root's alone: its mode says so, and the daemon asks the kernel who is at the other end. A client may hang
//! up at any time; what it asked for is done all the same, so that a request has one outcome, not two halves.

mod call;
mod serve;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use call::{RpcError, call};
pub use serve::{BindError, Listener, bind, serve};

/// The longest request, and the longest answer, in bytes. A pod with all its networks takes a hundredth of it.
pub const MAX_MESSAGE: usize = 1 << 20;

/// How long a client may take to send its request, or to take its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the daemon sends.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reply<A> {
    /// The answer.
    Answer(A),
    /// The request is none that this daemon understands. Nothing was done.
    Refused(String),
}

#[cfg(test)]
mod tests;
