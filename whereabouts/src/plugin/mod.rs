//! The plugin: one process per CNI call.
//!
//! | module | question it answers |
//! |---|---|
//! | `verbs` | what does each CNI verb do? |
//! | `attach` | how do ADD and DEL allocate and release? |
//! | `session` | which configuration, records and credentials does the call use? |
//! | `backend` | does the daemon serve the call, or this process? |
//! | `args` | which pod does `CNI_ARGS` name? |

mod args;
mod attach;
mod backend;
mod session;
mod verbs;

pub use verbs::Whereabouts;
