//! The plugins and the library that runs them, case by case: what the CNI specification says and what the reference implementation's own
//! tests check, ours beside Debian's Go plugins, in network namespaces. README.md lists which case is where, DIFFERENCES.md where ours answer
//! otherwise.
//!
//! Needs root. `ipvlan` also needs a kernel with ipvlan, dummy and 8021q: `tests/vm/test` runs it in one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod bad_configurations;
mod choices;
mod crash;
mod endurance;
mod ipvlan;
mod macvlan;
mod protocol;
mod restarts;
mod secrets;
mod support;
