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
//! | [`twin`] | what if a pool is used with `enable_overlapping_ranges` both true and false? |
//! | [`pool`] | which pool, with which scope, does a range's address come from? |
//!
//! From what is ordered to what the API server and this node hold, in the plugin and in the daemon alike:
//!
//! | module | answers |
//! |---|---|
//! | [`order`] | what does an attachment ask for? |
//! | [`allocate`] | how is an order served, all or nothing? |
//! | [`claim`] | how is an address got and given back? (the only writer of claims) |
//! | [`outlook`] | what is known about a pool before the API server is asked? |
//! | [`search`], [`hint`], [`crowd`] | how does a plugin on its own go through a pool, and what does it note? |
//! | [`release`], [`drain`] | how is it given back, and when the API server was away? |
//! | [`adopt`] | what becomes of pools that Whereabouts filled? |
//! | [`node_slice`] | which slice is this node's? |
//! | [`objects`] | what do the custom resources look like? |
//! | [`seen`], [`packed`] | what does the daemon keep of the objects it watches? |
//! | [`record`] | what does this node hold? |
//! | [`source`], [`wire`] | who does the work, and how is it asked? |
//! | [`session`], [`namespace`] | how does a call get its configuration, its records and its namespace? |
//! | [`attach`], [`plugin`] | what does each verb do? |
//!
//! What the leader of the daemons decides, from what is claimed in the whole cluster:
//!
//! | module | answers |
//! |---|---|
//! | [`reclaim`] | which claims outlived their pods? |
//! | [`view`] | what does a pool's object show, and what does it say that no claim says? |
//! | [`slice_plan`] | which node gets which slice of a range? |
//!
//! Names, keys, forms and the texts that tools search for are those of Whereabouts, so that a cluster can change
//! over, and back, with its pools as they are.

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
