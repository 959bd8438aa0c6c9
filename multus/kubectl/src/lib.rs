//! `kubectl multus`: says what the networks of pods are, and what is wrong with them. It changes nothing.
//!
//! Each module uses only those above it in this table (`tests/layout` checks it):
//!
//! | module | question it answers |
//! |---|---|
//! | `options` | what does the command line request? |
//! | `failure` | why did a command not run? |
//! | `finding` | what does a check find? |
//! | `cluster` | how are objects read from the API server? |
//! | `definition` | what does one NetworkAttachmentDefinition make, and what would an ADD say about it? |
//! | `overlap` | what is wrong between definitions, and between definitions and nodes? |
//! | `check` | what would go wrong, of the cluster or of a file? |
//! | `age` | how long ago was something? |
//! | `pools` | how full is a pool, and who holds its addresses? |
//! | `explain` | what did a pod ask for, what did it get, and why is anything missing? |
//! | `run` | how do the commands use all of this? |
//!
//! All but `cluster` and `run` decide by values alone. Only `cluster` sends requests, and only `run` reads files.

mod age;
mod check;
mod cluster;
mod definition;
mod explain;
mod failure;
mod finding;
mod options;
mod overlap;
mod pools;
mod run;

pub use failure::Failure;
pub use run::{Environment, Outcome, main};
