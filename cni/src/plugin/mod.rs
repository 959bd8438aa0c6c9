//! Everything that the `main` of a plugin needs.

pub mod check;
pub mod conf;
mod contract;
pub mod env;
mod gates;
pub mod master;
mod run;

pub use contract::{About, Call, Plugin, ValidAttachment};
pub use run::{main, run};
