//! Addresses for pods, unique in the whole cluster. One address is one claim: an object named after the
//! address, which the API server lets exactly one caller create.
//!
//! From what is configured to what is claimed, each step a function of values:
//!
//! | module | answers |
//! |---|---|
//! | [`conf`] | what does the network's `ipam` object say, completed by the node's flat file? |
//! | [`conf_files`] | where on the node is that flat file? (the only one here that reads files) |
//! | [`ip`] | which address does this text mean, and how is it written? |
//! | [`range`] | which addresses may a pool give out? |
//! | [`slices`] | which part of a range belongs to a node? |
//! | [`choose`] | which address to claim next? |
//! | [`naming`] | what are the pool's and the claim's objects called? |
//! | [`pool`] | which pool, with which scope, does a range's address come from? |
//!
//! From what is claimed to what the API server and this node hold:
//!
//! | module | answers |
//! |---|---|
//! | [`objects`] | what do the custom resources look like? |
//! | [`claim`] | how is an address got and given back? (the only writer of claims) |
//! | [`adopt`] | what becomes of pools that Whereabouts filled? |
//! | [`node_slice`] | which slice is this node's? |
//! | [`record`], [`hint`] | what does this node hold, and where does it look first? |
//! | [`session`] | how does a call get its configuration, its pod and its connection? |
//! | [`attach`], [`plugin`] | what does each verb do? |
//!
//! Names, keys, forms and the texts that tools search for are those of Whereabouts, so that a cluster can change
//! over, and back, with its pools as they are.

pub mod adopt;
pub mod attach;
pub mod choose;
pub mod claim;
pub mod conf;
pub mod conf_files;
pub mod hint;
pub mod ip;
pub mod naming;
pub mod node_slice;
pub mod objects;
pub mod plugin;
pub mod pool;
pub mod range;
pub mod record;
pub mod session;
pub mod slices;
