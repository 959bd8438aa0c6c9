//! How addresses are allocated and released, for the plugin and for the daemon.
//!
//! | module | question it answers |
//! |---|---|
//! | `allocate` | how is an allocation request served, all addresses or none? |
//! | `acquire` | how is one address claimed? |
//! | `take_over` | how does a pod's new sandbox get the claim of the old one? |
//! | `naming` | how are the claims of a pool named? |
//! | `adopt` | how do allocations that Whereabouts wrote get claims? |
//! | `pool_entry` | how does a request take an address where Whereabouts looks at the pool's object only? |
//! | `node_slice` | which slice of a range belongs to this node? |
//! | `restore` | who has the address of a claim that was deleted by hand, and how is it made again? |
//! | `release` | how are addresses released, and are they still held? |
//! | `later_sandbox` | did Whereabouts give the address to a later sandbox of the pod? |
//! | `upstream` | how is an attachment released that Whereabouts made? |
//! | `tombstones` | how are addresses released that a DEL could not release? |
//! | `status` | can an address be allocated now? |
//! | `store` | which requests about claims are there? |
//! | `error` | why was no address allocated? |

pub(crate) mod acquire;
pub(crate) mod adopt;
pub mod allocate;
pub mod error;
pub(crate) mod later_sandbox;
pub(crate) mod naming;
pub(crate) mod node_slice;
pub(crate) mod pool_entry;
pub mod release;
pub(crate) mod restore;
pub(crate) mod status;
pub mod store;
pub(crate) mod take_over;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod tombstones;
mod upstream;
