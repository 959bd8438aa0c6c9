//! A simulation of address allocation. It runs the real code of plugin, daemon and leader against an API server in memory ([`fake_api`]),
//! on a clock that jumps to the next event, with random numbers from a seed. It uses no file, no socket and no second thread, so a seed
//! repeats.
//!
//! | module | answers |
//! |---|---|
//! | [`faults`] | What goes wrong between a client and the API server? |
//! | [`server`] | How do clients reach the API server, through the faults? |
//! | [`world`] | Which pods, nodes and processes are there, and what do they do? |
//! | [`history`] | What happened, and which property did not hold? |
//! | [`broken_rule`] | Which rule is broken on purpose, to prove that the simulation detects it? |
//!
//! `tests/simulation` runs seeds.

pub mod broken_rule;
pub mod faults;
pub mod history;
pub mod server;
pub mod world;
