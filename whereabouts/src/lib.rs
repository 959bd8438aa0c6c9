//! IPAM plugin: addresses for pods that are unique in the whole cluster.
//!
//! An address is allocated by a claim: an object whose name contains the address. The API server lets exactly one caller create it.
//!
//! The folders from bottom to top; each uses only those above it in this table:
//!
//! | module | content |
//! |---|---|
//! | [`addr`] | address text and arithmetic, ranges, slices |
//! | [`conf`] | the network's `ipam` object, merged with the node's flat file; requested addresses |
//! | [`crd`] | the custom resources, and the parts of them that the daemon caches |
//! | [`pool`] | names of pools and claims, which address to try next |
//! | [`node_state`] | what the node keeps on disk: records, tombstones, hints |
//! | [`claims`] | creates, takes over, adopts and releases claims; the only writer of them |
//! | [`rpc`] | requests and responses between plugin and daemon |
//! | [`plugin`] | the CNI verbs, served by the daemon or by the plugin itself |
//! | [`metrics`] | the daemon's metrics |
//! | [`leader`] | reclaims claims, writes IPPools and node slices, for the whole cluster |
//! | [`daemon`] | serves the plugins of its node from a pool cache, and may lead |
//!
//! Decisions are functions of values (`addr`, `crd`, `pool`, most of `conf`, and the rules of `leader`). The other modules use files, sockets
//! and the API server.
//!
//! Names, keys, formats and the texts that tools match on are those of Whereabouts, so that a cluster can change to this implementation
//! and back with its pools as they are.

pub mod addr;
pub mod claims;
pub mod conf;
pub mod crd;
pub mod daemon;
pub mod leader;
pub mod metrics;
pub mod node_state;
pub mod plugin;
pub mod pool;
pub mod rpc;
