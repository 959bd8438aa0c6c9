//! Files that a reader sees whole or not at all, and reads that have a limit.
//!
//! | module | question it answers |
//! |---|---|
//! | `file` | how is one file written atomically, read up to a limit, removed? |
//! | `dir` | how does a private directory of records work? |
//! | `log_file` | how do several processes append to one log file, and who rotates it? |
//! | `error` | why did a file operation fail? |
//!
//! A write goes to a temp file in the same directory and ends with a rename. After a crash a reader finds the old bytes or the new
//! ones, never a part of them. Only a log file is appended to.

mod dir;
mod error;
mod file;
mod log_file;

pub use dir::Dir;
pub use error::FileError;
pub use file::{read_bounded, remove_if_exists, remove_temps, remove_with_temps, replace, write_atomic};
pub use log_file::{Appended, COMPRESS_AFTER, Compression, LogFile, Rotation};

#[cfg(test)]
mod tests;
