//! macvlan: the reference implementation's own cases (M1 to M8) for ours and the Go plugin in every version each speaks, then what only ours
//! promises.

mod beyond;
mod chain;
mod conf;
mod crash;
mod dhcp;
mod endurance;
mod ipam;
mod names;
mod pod;
mod refused;
mod shared;
mod wire;
