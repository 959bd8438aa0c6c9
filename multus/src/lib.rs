//! multus: gives a Kubernetes pod more than one network. A CNI plugin that runs other CNI plugins: first the one of the cluster's
//! default network, then one for each network that the pod's annotation names.
//!
//! | module | question it answers |
//! |---|---|
//! | [`conf`] | what does the node's configuration say? |
//! | [`pod`] | whose sandbox is this, and what does its pod ask for? |
//! | [`selection`] | which networks does an annotation name, and with what requests? |
//! | [`network`], [`ondisk`], [`nad`] | which plugins make a network: inline, from a file, from a NetworkAttachmentDefinition |
//! | [`demand`] | where does each network of this pod come from? |
//! | [`plan`] | which plugins run in which order, for which interface, with which arguments? |
//! | [`routes`] | which default routes go, which come? |
//! | [`record`] | what must DEL know, whatever happens? |
//! | [`sandbox`] | what do all verbs need to run plugins for a sandbox? |
//! | [`attach`], [`detach`], [`check`], [`gc`] | how are ADD, DEL, CHECK and GC run? |
//! | [`status`] | what is the `network-status` annotation? |
//! | [`events`] | what does the pod's owner read? |
//! | [`source`] | who tells of pods and networks, and takes the status? |
//! | [`device`] | where is a device's description passed on? |
//! | [`error`] | what can fail, and which CNI code is it? |
//! | [`plugin`] | how do the verbs of the CNI spec come together? |
//!
//! `selection`, `demand`, `plan`, `routes` and `status` are functions of values. Only `source` asks the API server, only `attach`,
//! `detach`, `check` and `gc` run plugins.

pub mod attach;
pub mod check;
pub mod conf;
pub mod demand;
pub mod detach;
pub mod device;
pub mod error;
pub mod events;
pub mod gc;
pub mod nad;
pub mod network;
pub mod ondisk;
pub mod plan;
pub mod plugin;
pub mod pod;
pub mod record;
pub mod routes;
pub mod sandbox;
pub mod selection;
pub mod source;
pub mod status;
#[cfg(test)]
mod testing;
