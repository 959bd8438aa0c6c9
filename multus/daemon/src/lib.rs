//! The node's daemon of multus, and what puts multus on a node.
//!
//! The daemon knows what the plugin on its node needs of the API server, and writes what the plugin reports. It holds a
//! credential and no other privilege: it runs no program, enters no namespace and makes no interface. Parsing and policy are the plugin's.
//!
//! Each module uses only those above it in this table (`tests/layout` checks it):
//!
//! | module | question it answers |
//! |---|---|
//! | `csr` | which names do those agree on that request a node's certificate and approve it? |
//! | [`approver`] | which requests for a node's certificate are approved? |
//! | [`kubeconfig`] | which credentials does a kubeconfig have, and how are they renewed? |
//! | [`certificate`] | how does a node get a client certificate of its own, and keep it valid? |
//! | [`primary`] | which file has the cluster's default network, and what must `00-multus.conf` say? |
//! | [`install`] | how do programs, credentials and configuration get onto the node, by which of upstream's names? |
//! | [`config`] | what does `daemon-config.json` say? |
//! | [`options`] | which flags and variables are there? |
//! | `rights` | what does the daemon need of the API server? |
//! | `metrics` | what does Prometheus see? |
//! | `cache` | which pods has this node, and which definitions has the cluster? |
//! | `changes` | which pods have other annotations than a program on the node last saw? |
//! | `removal` | is multus removed from the cluster, or only restarted? |
//! | `events` | which events are still to be sent? |
//! | `status` | how does network-status get into a pod, and stay there? |
//! | `serve` | how is a plugin's request answered? |
//! | `run` | how does all of this start and stop? |

pub mod approver;
mod cache;
pub mod certificate;
mod changes;
pub mod config;
mod csr;
mod events;
pub mod install;
pub mod kubeconfig;
mod metrics;
pub mod options;
pub mod primary;
mod removal;
mod rights;
mod run;
mod serve;
mod status;
#[cfg(test)]
mod testing;

pub use rights::RIGHTS;
pub use run::{DaemonError, run};
