//! How full the address pools are, and who holds their addresses.

mod gather;
mod model;
mod render;

pub use gather::gather;
pub use model::{HeldBy, PoolUse};
pub use render::render;

#[cfg(test)]
mod tests;
