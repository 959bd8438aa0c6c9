//! A whole interface: which addresses, routes and settings it shall have, how it gets them, and whether it still has them.

mod compare;
mod configure;
mod plan;

pub use compare::{Missing, missing};
pub use configure::{configure, detect_conflicts};
pub use plan::{Ipv6Autoconf, Plan};
