//! One call of the plugin.

mod args;
mod attach;
mod session;
mod source;
mod verbs;

pub use args::pod;
pub use attach::{add, del};
pub use source::Source;
pub use verbs::Whereabouts;
