//! macvlan, behaviour by behaviour: what the reference implementation's tests ask for (M1 to M8), of ours and of the Go plugin, in every
//! version each speaks; then what only ours promises.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod crash;
mod endurance;
mod macvlan_bench;
mod macvlan_beyond;
mod macvlan_chain;
mod macvlan_crash;
mod macvlan_endurance;
mod macvlan_ipam;
mod macvlan_names;
mod macvlan_refused;
mod macvlan_shared;
mod macvlan_wire;
mod support;
