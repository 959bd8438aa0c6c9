//! Puts multus on a node: the programs, the credentials, the configuration.
//!
//! | module | question it answers |
//! |---|---|
//! | `programs` | how does a program replace an older one while that runs? |
//! | `upkeep` | how do credentials and configuration stay up to date? |
//! | `flags` | how do Go's command lines look? |
//! | `thin` | which flags has upstream's entry point without a daemon, and what does it do? |
//! | `once` | which flags have the commands that end? |
//! | `generator` | which flags has upstream's program for a kubeconfig with a certificate, and what does it do? |
//! | `entry` | which of upstream's programs is called? |
//!
//! Upstream's images have a program for each of these. Here they are names of one: [`Entry::of`].

mod entry;
mod flags;
mod generator;
mod once;
pub mod programs;
pub mod thin;
mod upkeep;

pub use entry::{Entry, EntryError};
pub use upkeep::{InPlace, Plan, PlanError, Upkeep, UpkeepError, Watch};
