//! Running other plugins.

pub mod cache;
pub mod chain;
pub mod delegate;
pub mod exec;
pub mod list;
mod pipes;
