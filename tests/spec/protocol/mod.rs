//! The protocol itself, by the cases of the reference implementation's own tests: results and versions, running a plugin, running a list.

mod invoke;
mod invoke_delegate;
mod list_bench;
mod list_cache;
mod list_chain;
mod list_files;
mod list_plugins;
mod list_single;
mod types_results;
mod types_values;
