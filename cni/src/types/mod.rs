//! The values of the protocol. They know nothing of processes or files.

pub mod args;
mod error;
pub mod names;
mod path;
pub mod result;
mod trust;
pub mod version;

pub use error::{CniError, Code};
pub use path::{FindError, SearchPath};
pub use version::Version;
