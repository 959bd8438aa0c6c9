//! The Container Network Interface protocol, spec 0.1.0 to 1.1.0, for plugins and for programs that run plugins.
//!
//! The folders `types/`, `plugin/` and `invoke/` group the files; `plugin/` uses `types/`, and `invoke/` uses both. Other crates use the
//! module names below, without the folder.
//!
//! | folder | module | question it answers |
//! |---|---|---|
//! | `types/` | [`names`] | which container ids, interface, network and plugin names are allowed? |
//! | | [`version`] | which spec versions exist, and how do they compare? |
//! | | [`args`] | what is in `CNI_ARGS`? |
//! | | [`result`] | what is a result of ADD, in every version's form? |
//! | | `error` | what is an error object, and which codes exist? |
//! | | `path`, `trust` | in which folders are plugins, and which of their files may be run? |
//! | `plugin/` | [`plugin`] | how does a plugin binary run: environment, stdin, version checks, verb, answer? |
//! | | [`env`](mod@env) | which `CNI_*` variables does each verb need? |
//! | | [`conf`], [`master`] | what does a plugin read on standard input, and in its key `master`? |
//! | | [`check`] | which part of `prevResult` does CHECK compare an attachment with? |
//! | `invoke/` | [`exec`] | how is another plugin run: deadline, bounded output, process group? |
//! | | [`delegate`] | how does a plugin run its IPAM plugin? |
//! | | [`list`], [`chain`] | what is a network configuration list, and how is one run? |
//! | | [`cache`] | where do runtimes and meta-plugins keep results between ADD and DEL? |
//! | `src/` | [`json`] | how do Go programs read JSON: keys in any case, `null` is absent? |
//! | | [`crash`] | where can a fault test kill this process? |
//!
//! This crate must not know Kubernetes, use netlink or be async.

pub mod crash;
pub mod json;
pub mod plugin;

mod invoke;
mod types;

pub use invoke::{cache, chain, delegate, exec, list};
pub use plugin::{check, conf, env, master};
pub use types::{CniError, Code, Version, args, names, result, version};
