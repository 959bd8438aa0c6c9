//! The Container Network Interface protocol, spec 0.1.0 to 1.1.0: what a plugin, and a program that runs plugins, need of it.
//!
//! | module | question it answers |
//! |---|---|
//! | [`names`] | which container ids, interface, network and plugin names are allowed |
//! | [`version`] | which spec versions exist, how they compare |
//! | [`json`] | how the field's JSON is read: keys in any case, `null` is absent |
//! | [`env`] | what the `CNI_*` variables must hold for each verb |
//! | [`args`] | what is in `CNI_ARGS` |
//! | [`conf`], [`master`] | what a plugin reads on standard input; its key `master` |
//! | [`result`] | the result of ADD, in every version's form |
//! | [`error`] | error objects and their codes |
//! | [`plugin`] | how a plugin binary runs: environment, stdin, gates, verbs, answer |
//! | [`exec`] | how another plugin is found and run: deadline, bounded output |
//! | [`check`] | which part of `prevResult` an attachment is compared with |
//! | [`delegate`] | IPAM delegation from inside a plugin |
//! | [`list`], [`chain`] | network configuration lists, and running one |
//! | [`cache`] | the result cache that runtimes and meta-plugins share |
//! | [`crash`] | where a fault test may kill this process |
//!
//! Must never: know Kubernetes, talk netlink, be async.

pub mod args;
pub mod cache;
pub mod chain;
pub mod check;
pub mod conf;
pub mod crash;
pub mod delegate;
pub mod env;
pub mod error;
pub mod exec;
mod files;
pub mod json;
pub mod list;
pub mod master;
pub mod names;
pub mod plugin;
pub mod result;
pub mod version;

pub use error::{CniError, Code};
pub use version::Version;
