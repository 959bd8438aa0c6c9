//! The pods of this node and the definitions of the cluster, as far as the account may list and watch them.
//!
//! What is not here must be read from the API server: nothing follows from an object that is missing. So an empty cache is right too, only slow.

mod content;
mod follow;
mod pod;
#[cfg(test)]
mod tests;

pub(crate) use content::{Cache, Contact};
pub(crate) use follow::{Observation, follow_definitions, follow_pods};
pub(crate) use pod::{CachedPod, PodName};
