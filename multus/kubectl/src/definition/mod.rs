//! One NetworkAttachmentDefinition, read as an ADD reads it: by multus, by its plugins and by their IPAM plugin, with the same errors.

mod addresses;
mod duplicates;
mod foreign;
mod interface;
mod model;
mod read;
mod report;

pub use model::{AttachedBy, DefinedPool, Definition, InterfacePlugin, LinkKind, MasterIn};
pub use read::read;
