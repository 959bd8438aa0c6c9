//! From the command line to the output.

mod answer;
mod check;
mod command;
mod explain;
mod files;
mod pools;

pub use answer::Outcome;
pub use command::{Environment, main};

#[cfg(test)]
mod tests;
