//! A whole interface: which addresses, routes and settings it shall have, how it gets them, and whether it still has them.

mod compare;
mod configure;
mod plan;
mod predecessor;

pub use compare::{Missing, missing};
pub use configure::{configure, detect_conflicts};
pub use plan::{Ipv6Autoconf, Plan};
pub use predecessor::{may_end_creating, retry};
