//! The record of a sandbox: the file `<cniDir>/<container id>`, written before the first plugin runs and removed after the last one is
//! undone. DEL needs nothing else.

mod content;
mod error;
mod format;
mod store;

pub use content::{Owner, Record, Recorded};
pub use error::RecordError;
pub(crate) use store::{all, remove};
pub use store::{read, write};

#[cfg(test)]
mod tests;
