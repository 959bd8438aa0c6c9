//! The network's `ipam` object, completed by the node's flat file.
//!
//! Both are parsed as Go's `encoding/json` does it: keys in any case, the last of equal keys wins, `null` is absent, unknown keys are
//! ignored. They are merged as Whereabouts does it: a value that is empty, zero or false in the network's configuration comes from the flat
//! file.
//!
//! Two differences are deliberate:
//!
//! - Users who are not root on the nodes write network configurations. So these cannot make the plugin write a log file or sleep, and the
//!   files that they name must be in a CNI configuration directory.
//! - An ignored `range_start` or `range_end` is reported in [`Conf::warnings`].

mod error;
pub(crate) mod families;
pub(crate) mod files;
mod network;
mod raw;
pub mod request;
mod resolved;
mod settings;

pub use error::{CONF_DIRS, ConfError, JsonFile, Warning};
pub use network::{FlatFile, Network};
pub use raw::unknown_keys;
pub use resolved::Conf;
pub use settings::{OverlappingRanges, StaticAddress};

#[cfg(test)]
mod tests;
