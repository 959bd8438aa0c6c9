//! Where pods and definitions are read, and reports written: the daemon of the node, or the API server. Requests to the daemon block; those to
//! the API server are async, have a deadline and run on the caller's tokio runtime. None of them decides anything about networks.

mod claims;
mod connect;
mod daemon;
mod rights;

pub(crate) use claims::{read_claims, read_slices, write_network_data};
pub(crate) use connect::{connect, credentials};
pub(crate) use daemon::{Daemon, Reported, Unanswered};
pub(crate) use nad::api::{PodObject, SourceError, read_definitions, read_pod, send_events, write_status};
pub use rights::RIGHTS;
#[cfg(test)]
pub(crate) use rights::tests::granted;

#[cfg(test)]
mod tests;
