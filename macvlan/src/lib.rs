//! The `macvlan` CNI plugin: an interface of the pod's own on the wire of one of the node's interfaces.
//!
//! | module | question it answers |
//! |---|---|
//! | [`conf`] | what the configuration says |
//! | [`chained`] | what earlier plugins of the chain decide |
//! | [`stable_mac`] | which MAC address goes with a pod's name |
//! | [`link`] | how the link is made; how it is unmade is the same for all, see the crate `attach` |
//! | [`check`] | whether it is still as it was made |
//! | [`plugin`] | which verb does what |
//!
//! Must never: know Kubernetes, know one IPAM plugin from another, leave a link behind that ADD did not report.

pub mod chained;
pub mod check;
pub mod conf;
pub mod link;
pub mod plugin;
pub mod stable_mac;

pub use plugin::Macvlan;
