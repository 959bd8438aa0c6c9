//! The network's `ipam` object, completed by the node's flat file.
//!
//! Both are read as Go's `encoding/json` reads them (keys in any case, the later one wins, `null` is absent, unknown
//! keys do not matter), and merged as the original merges them: what is empty, zero or false in the network's
//! configuration is taken from the flat file.
//!
//! Two things differ on purpose. A network's configuration is written by people who should not be root on the
//! nodes: it cannot make a plugin write a log file or wait, and the files it names must lie in a CNI configuration
//! directory. And `range_start` and `range_end` that are not used are reported in [`Conf::warnings`].

mod error;
pub mod files;
mod network;
mod raw;
pub mod request;
mod resolved;
mod settings;

pub use error::{CONF_DIRS, ConfError, Place, Warning};
pub use network::{FlatFile, Network};
pub use resolved::Conf;
pub use settings::{LogLevel, OverlappingRanges, StaticAddress};

#[cfg(test)]
mod tests;
