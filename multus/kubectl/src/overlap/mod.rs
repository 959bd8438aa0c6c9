//! What is wrong between definitions, and between definitions and nodes. Each may be right by itself.

mod addresses;
mod links;
mod masters;
mod nodes;
mod pairs;
mod surroundings;

pub use links::present_on_node;
pub use pairs::check;
pub use surroundings::{NodeFacts, Surroundings};

#[cfg(test)]
mod tests;
