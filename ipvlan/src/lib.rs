//! The `ipvlan` CNI plugin: an interface of the pod's own that shares the MAC address of one of the node's interfaces.
//!
//! | module | question it answers |
//! |---|---|
//! | [`conf`] | what the configuration says |
//! | [`chained`] | what an earlier plugin of the chain decides: master and addresses |
//! | [`siblings`] | which mode and flag the master's other links have |
//! | [`link`] | how the link is made; how it is unmade is the same for all, see the crate `attach` |
//! | [`check`] | whether it is still as it was made |
//! | [`plugin`] | which verb does what |
//!
//! Must never: know Kubernetes, know one IPAM plugin from another, leave a link behind that ADD did not report, change the mode or
//! flag of links that other pods have.

pub mod chained;
pub mod check;
pub mod conf;
pub mod link;
pub mod plugin;
pub mod siblings;

pub use plugin::Ipvlan;
