//! The protocol itself, case by case as the reference implementation's own tests have it: results and versions, running a plugin, running
//! a list. See README.md beside this file for which case is where.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod invoke;
mod invoke_delegate;
mod list_bench;
mod list_cache;
mod list_chain;
mod list_files;
mod list_plugins;
mod list_single;
// Shared with macvlan's tests, which use all of both.
#[allow(dead_code)]
mod macvlan_bench;
#[allow(dead_code)]
mod support;
mod types_results;
mod types_values;
