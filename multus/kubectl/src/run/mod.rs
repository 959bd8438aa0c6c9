//! From the command line to the output.

mod answer;
mod change_over;
mod check;
mod command;
mod explain;
mod files;
mod migrate;
mod migrate_facts;
mod pace;
mod pools;

pub use answer::Outcome;
pub use command::{Environment, main};

#[cfg(test)]
mod tests;

#[cfg(test)]
mod migrate_tests;
