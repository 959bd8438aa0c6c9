//! What the tests of the whole stack share.
//!
//! | module | question it answers |
//! |---|---|
//! | [`place`] | where the binaries, the scripts and Debian's plugins are |
//! | [`driver`] | how a plugin is run as a runtime runs it |
//! | [`cluster`] | how a real cluster is started, asked and taken down |
//! | [`sim`] | how the allocation of addresses is simulated: API server, faults, world, judge |
//! | [`fuzz`] | what is fuzzed, and what must hold of any input |
//!
//! The tests themselves: `layout/` (which crate and which folder may use which), `spec/` (behaviour by CNI version, ours beside the Go plugins, in
//! network namespaces), `e2e/` (a real two-node cluster). `cluster/` is how such a cluster is made, `demo/` what `make demo` does.

// A test that cannot go on fails by panicking.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

pub mod cluster;
pub mod driver;
pub mod fuzz;
pub mod place;
pub mod sim;
