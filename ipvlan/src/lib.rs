//! The `ipvlan` CNI plugin: gives a pod an interface on one of the node's interfaces, with the MAC address of that interface.
//!
//! | module | question it answers |
//! |---|---|
//! | [`conf`] | what the configuration says |
//! | `chained` | which master and addresses an earlier plugin's result supplies |
//! | `siblings` | which mode and flag the master's other links have |
//! | `link` | how ADD creates and configures the link; the crate `attach` removes it |
//! | `check` | whether the link still matches `prevResult` |
//! | `plugin` | what each verb does |
//!
//! Must never: depend on Kubernetes, distinguish IPAM plugins, leave a link that ADD did not report, change the mode or flag of other pods'
//! links.

mod chained;
mod check;
pub mod conf;
mod link;
mod plugin;
mod siblings;

pub use plugin::Ipvlan;
