//! ipvlan: the reference implementation's own cases (I1 to I5) for ours and the Go plugin, then what only ours promises. Also macvlan on
//! masters that need the kernel modules dummy and 8021q.

mod beyond;
mod crash;
mod del;
mod endurance;
mod failures;
mod masters;
mod names;
mod shared;
mod siblings;
mod support;
mod traffic;
