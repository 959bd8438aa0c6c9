//! The `macvlan` CNI plugin: gives a pod an interface on the wire of one of the node's interfaces, with a MAC address of its own.
//!
//! | module | question it answers |
//! |---|---|
//! | [`conf`] | what the configuration says |
//! | `chained` | which interface of an earlier plugin is the master |
//! | `stable_mac` | which MAC address belongs to a pod's name |
//! | `link` | how ADD creates and configures the link; the crate `attach` removes it |
//! | `check` | whether the link still matches `prevResult` |
//! | `plugin` | what each verb does |
//!
//! Must never: depend on Kubernetes, distinguish IPAM plugins, leave a link that ADD did not report.

mod chained;
mod check;
pub mod conf;
mod link;
mod plugin;
mod stable_mac;

pub use plugin::Macvlan;
