//! Networks: which plugins make one, and where its configuration is read from.

mod definition;
mod on_disk;
mod types;

pub use definition::{DefinitionError, of_definition};
pub(crate) use on_disk::files_of;
pub use on_disk::{OnDiskError, auxiliary, by_name, by_path};
pub use types::{Network, is_self};
