//! ipvlan, behaviour by behaviour: what the reference implementation's tests ask for (I1 to I5), of ours and of the Go plugin; then what
//! only ours promises. With them what macvlan does on masters that hosts without the kernel modules dummy and 8021q cannot have.
//! Needs a kernel with all of these: `tests/vm/test` runs it in one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod crash;
mod endurance;
mod ipvlan_bench;
mod ipvlan_beyond;
mod ipvlan_crash;
mod ipvlan_del;
mod ipvlan_endurance;
mod ipvlan_failures;
mod ipvlan_masters;
mod ipvlan_names;
mod ipvlan_shared;
mod ipvlan_siblings;
mod ipvlan_traffic;
// Shared with macvlan's tests, which use all of it.
#[allow(dead_code)]
mod support;
