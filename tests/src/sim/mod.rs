//! A simulation of the allocation of addresses: the real code of plugin, daemon and leader, an API server in memory ([`fake_api`]), a clock
//! that jumps to the next event, and random numbers that follow from a seed. Nothing else: no file, no socket, no other thread.
//!
//! | module | answers |
//! |---|---|
//! | [`faults`] | what goes wrong between a client and the API server? |
//! | [`server`] | how do clients reach the API server, through the faults? |
//! | [`world`] | who does what? |
//! | [`history`] | what happened, and what must never have happened? |
//! | [`sabotage`] | which rules are broken on purpose, to see that the simulation finds it? |
//!
//! `tests/simulation` runs seeds.

pub mod faults;
pub mod history;
pub mod sabotage;
pub mod server;
pub mod world;
