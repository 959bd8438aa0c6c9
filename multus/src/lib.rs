//! multus: gives a Kubernetes pod more than one network. A CNI plugin that runs other CNI plugins: first the one of the cluster's
//! default network, then one for each network that the pod's annotation names.
//!
//! Each folder uses only those above it in this table (`tests/layout` checks it):
//!
//! | module | question it answers |
//! |---|---|
//! | [`network`] | which plugins make a network: inline, from a file, from a NetworkAttachmentDefinition |
//! | `conf` | what does the node's configuration say? |
//! | `log` | what does the log of a call say, and where is it? |
//! | [`request`] | whose sandbox is this, and which networks does its pod request? |
//! | `device` | which device does each network get? |
//! | [`plan`] | which plugins run in which order, for which interface, with which arguments and routes? |
//! | [`record`] | what must DEL know, whatever happens? |
//! | `report` | what do `network-status` and the events of the pod say? |
//! | [`kubelet`] | which devices did the kubelet give to the pod? |
//! | [`explain`] | what does a person read about the networks of a pod? |
//! | `source` | which daemon or API server answers about pods and definitions, and takes reports? |
//! | `error` | what can fail, and which CNI code is it? |
//! | `run` | how are plugins run for a sandbox: attach, detach, check, collect |
//! | `plugin` | how do the verbs of the CNI spec use all of this, with blocking calls? |
//! | [`hotplug`] | how do running pods get the networks that their annotation requests now? |
//!
//! `request`, `device`, `plan` and `report` decide by values alone. Only `network`, `log`, `record`, `kubelet`, `run` and `hotplug` read or
//! write files, only `run` runs plugins, and only `source` and `kubelet` send requests. Those to the daemon block; the others are async, and
//! `plugin` has the runtime that waits for them.

mod conf;
mod device;
mod error;
pub mod explain;
pub mod hotplug;
pub mod kubelet;
mod log;
pub mod network;
pub mod plan;
mod plugin;
pub mod record;
mod report;
pub mod request;
mod run;
mod source;
#[cfg(test)]
mod testing;

pub use plugin::{Multus, Passthru, compress_log};
pub use source::RIGHTS;
