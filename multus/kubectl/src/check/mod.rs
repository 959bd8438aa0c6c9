//! What would go wrong with definitions: of the cluster, or of files before they are applied.

mod documents;
mod render;
mod report;

pub use documents::{Documents, parse};
pub use render::render;
pub use report::{Input, Report, check};

#[cfg(test)]
mod tests;
