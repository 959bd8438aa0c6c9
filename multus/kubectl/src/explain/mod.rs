//! What a pod asked for, what it got, and why anything is missing.

mod asked;
mod attached;
mod explanation;
mod facts;
mod model;
mod problem;
mod problems;
mod refused;
mod render;
mod symptoms;

pub use explanation::explain;
pub use facts::{ClaimFacts, EventFacts, Facts, Lookup, PodFacts};
pub use render::render;

#[cfg(test)]
mod tests;
