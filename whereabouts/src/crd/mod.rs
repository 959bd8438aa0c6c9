//! What the objects of the API server look like: the custom resources, and what a daemon caches of them. Nothing here asks the API server.

pub mod allocation_state;
pub mod cached;
pub mod interner;
pub mod ip_pool;
pub mod node_slice_pool;
pub mod packed;
pub mod pod;
pub mod reservation;
