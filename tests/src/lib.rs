//! Helpers of the tests of the whole stack.
//!
//! | module | question it answers |
//! |---|---|
//! | [`place`] | where are the binaries, the scripts and Debian's plugins? |
//! | [`driver`] | how does a test run a plugin, as a runtime does? |
//! | [`cluster`] | how does a test start, query and take down a real cluster? |
//! | [`page`] | how do several benchmarks share a page? |
//! | [`device_plugin`] | how does a test give devices to a real kubelet? |
//! | [`sim`] | how is the allocation of addresses simulated: API server, faults, nodes, checks? |
//! | [`fuzz`] | what is fuzzed, and what must hold for any input? |
//!
//! The tests: `layout/` (which crate and which folder may use which), `corpus.rs` (kept fuzzing inputs), `spec/` (plugins and library in network namespaces,
//! ours beside Debian's Go plugins), `simulation/` and `model/` (the allocation of addresses under faults), `e2e/` (a real two-node cluster).
//! `cluster/` has the scripts that make such a cluster, `vm/` those that run tests in a virtual machine, `demo/` those of `make demo`.

// A helper that cannot continue panics, which fails the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

pub mod cluster;
pub mod device_plugin;
pub mod driver;
pub mod fuzz;
pub mod page;
pub mod place;
pub mod sim;
