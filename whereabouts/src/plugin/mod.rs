//! The plugin: one process per CNI call.
//!
//! | module | question it answers |
//! |---|---|
//! | `verbs` | what does each CNI verb do? |
//! | `attach` | what do ADD and DEL request, and what does ADD answer? |
//! | `session` | which configuration, records and credentials does the call use? |
//! | `attachments` | in which order are record and claims written and deleted? |
//! | `backend` | does the daemon serve the call, or this process? |
//! | `transport` | how are the daemon and the API server reached? |
//! | `args` | which pod does `CNI_ARGS` name? |

mod args;
mod attach;
pub mod attachments;
mod backend;
mod session;
pub mod transport;
mod verbs;

pub use verbs::Whereabouts;
