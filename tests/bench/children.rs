//! The children of processes.

use std::fmt::Display;
use std::fs::{read_dir, read_to_string};

/// The children of all threads of a process, which is a number or `self` (CONFIG_PROC_CHILDREN). None once it has ended.
pub fn of(process: impl Display) -> Vec<u32> {
    let threads = read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .collect()
}
