//! A simulation of the allocation of addresses: the code of plugin, daemon and leader as it is, an API server in memory, a clock that jumps
//! to the next thing that happens, and chance that follows from a seed. Nothing else: no file, no socket, no other thread.
//!
//! | module | answers |
//! |---|---|
//! | [`api`] | what does an API server promise? |
//! | [`faults`] | what goes wrong between a client and it? |
//! | [`server`] | how do clients reach it, through the faults? |
//! | [`world`] | who does what? |
//! | [`history`] | what happened, and what must never have happened? |
//! | [`sabotage`] | which rules are broken on purpose, to see that it is noticed? |
//!
//! `tests/simulation` runs seeds.

pub mod api;
pub mod faults;
pub mod history;
pub mod sabotage;
pub mod server;
pub mod world;
