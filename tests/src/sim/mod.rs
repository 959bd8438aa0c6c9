//! A simulation of address allocation. It runs the code of plugin, daemon and leader as they are against an API server in memory
//! ([`fake_api`]), on a clock that jumps to the next event, with random numbers from a seed. The nodes' files are real files in memory. It uses
//! no socket and no second thread, so a seed repeats. In place of the plugin's process there is a task, which is dropped where a process would
//! be killed; it differs from the process in its way to daemon and API server only ([`world::node::NodeTransport`]).
//!
//! | module | answers |
//! |---|---|
//! | [`faults`] | What goes wrong between a client and the API server? |
//! | [`server`] | How do clients reach the API server, through the faults? |
//! | [`world`] | Which pods, nodes and processes are there, and what do they do? |
//! | [`history`] | What happened? |
//! | [`checker`] | Which property did not hold? |
//! | [`broken_rule`] | Which rule is broken on purpose, to prove that the simulation detects it? |
//!
//! `tests/simulation` runs seeds.
//!
//! # What it has found
//!
//! A property that no fault violates proves nothing. Rules that a run can break on purpose are in [`broken_rule`], and a test says for each that
//! it is detected. These faults were in the code itself when the simulation began to run the plugin's own code, and each is a change that a person
//! may make again:
//!
//! | fault | property that failed ([`checker::Violation`]) |
//! |---|---|
//! | the late DEL of a sandbox removes the note of the address that the next sandbox has by then | `Moved` |
//! | a claim whose take-over succeeded but whose response was lost is taken for another pod's, and forgotten | `NotReleased` |
//! | a plugin without a daemon, whose caller was killed, goes on after the DEL and takes the claim of the next sandbox | `OwnerChanged` |
//! | as before, but the daemon crashed in between, so that the plugin went on by itself | `OwnerChanged` |
//! | after a return to Whereabouts and back an ADD does not see the entries that Whereabouts wrote (before ADD wrote entries) | `Duplicate` |
//! | after a return to Whereabouts and back the leader gives the claim of a new sandbox to the container of an older entry (seed 1) | `OwnerChanged` |
//! | after a return the pod's next sandbox takes over a claim whose address Whereabouts gave to another pod, where networks of one range differ in their setting | `Duplicate` |
//! | a DEL that comes a minute late, after a return, deletes a claim that Whereabouts left to the pod's later sandbox | `Duplicate` |
//! | the DEL of that later sandbox looks for its claim before another node writes it into the claim, so the claim stays | `NotReleased` |
//! | the leader removes the entry of a pod that was deleted by force while its sandbox still uses the address | `Duplicate` |
//! | an entry of a pod that is gone gets a claim again and again, because the claim alone is reclaimed | `Leaked` |

#![allow(clippy::result_large_err)] // a violation ends the run, so its size costs nothing

pub mod broken_rule;
pub mod checker;
pub mod faults;
pub mod history;
pub mod server;
pub mod world;
