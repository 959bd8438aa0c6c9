//! The custom resources as the API server stores them, and the parts of them that the daemon caches. Nothing here sends a request.

pub mod allocation_state;
pub mod cached;
pub(crate) mod interner;
pub mod ip_pool;
pub(crate) mod node_slice_pool;
pub(crate) mod packed;
pub mod reservation;
pub mod rights;
