//! The requests to the API server. Every function has a deadline and runs on the caller's tokio runtime. None of them decides anything
//! about networks.

mod connect;
mod definitions;
mod error;
mod events;
mod pod;
mod rights;
mod status;
mod within;

pub(crate) use connect::connect;
pub(crate) use definitions::read_definitions;
pub(crate) use error::SourceError;
pub(crate) use events::send_events;
pub(crate) use pod::{PodObject, read_pod};
pub use rights::RIGHTS;
#[cfg(test)]
pub(crate) use rights::tests::granted;
pub(crate) use status::write_status;

#[cfg(test)]
mod tests;
