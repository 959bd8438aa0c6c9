//! `kubectl multus`: says what the networks of pods are, and what is wrong with them. Only `migrate --apply` and `--back` change anything.
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
//! | `migrate` | what would changing over from Multus and Whereabouts change, and what blocks it? |
//! | `write` | how are the images of workloads changed? |
//! | `run` | how do the commands use all of this? |
//!
//! All but `cluster`, `write` and `run` decide by values alone. Only `cluster` and `write` send requests, only `write` changes anything, and only
//! `run` reads files.

mod age;
mod check;
mod cluster;
mod definition;
mod explain;
mod failure;
mod finding;
mod migrate;
mod options;
mod overlap;
mod pools;
mod run;
mod write;

pub use failure::Failure;
pub use run::{Environment, Outcome, main};
