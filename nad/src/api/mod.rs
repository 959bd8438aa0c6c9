//! Requests to the API server about the pods and definitions of this crate. The plugin sends them itself, or the daemon of its node does.
//! Every function has a deadline and runs on the caller's tokio runtime. None of them decides anything about networks.
//!
//! | module | question it answers |
//! |---|---|
//! | `pod` | which pod is behind a sandbox? |
//! | `definitions` | what do these definitions say? |
//! | `status` | how is network-status written? |
//! | `events` | how are events sent? |
//! | `error` | what can fail? |
//! | `within` | how long may one of these take, all attempts together? |

mod definitions;
mod error;
mod events;
mod pod;
mod status;
mod within;

pub use definitions::read_definitions;
pub use error::SourceError;
pub use events::{send_event, send_events};
pub use pod::{PodObject, read_pod};
pub use status::{edit_status, patch_status, write_status};
pub use within::within;
