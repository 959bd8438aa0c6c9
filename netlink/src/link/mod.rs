//! Network interfaces: what they are, how they are looked up, changed and created.

mod change;
mod create;
mod lookup;
mod mode;
mod model;
mod parse;

pub use create::{IpvlanSpec, MacvlanSpec};
pub use mode::{IpvlanFlag, IpvlanMode, MacvlanMode, UnknownMode};
pub use model::{Link, LinkKind};
