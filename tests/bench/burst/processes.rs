//! The daemons and plugins of a node, as the host sees them, and their memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::read_to_string;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::children;

/// The time between two looks at the plugins, which live for some ten milliseconds.
const LOOK: Duration = Duration::from_millis(20);

/// The programs of both subjects that do the work of a call, by the name that the kernel has (15 characters).
const PLUGINS: [&str; 4] = ["multus", "multus-shim", "macvlan", "whereabouts"];

/// The number of parents between a runtime or daemon and the last plugin: multus, macvlan, whereabouts.
const DEPTH: usize = 4;

/// The processes of a node. They are in the control groups below the node's own.
pub struct Node {
    group: String,
}

impl Node {
    /// The node of a cluster.
    pub fn new(cluster: &str, node: &str) -> Node {
        Node { group: format!("/mrs-{cluster}-{node}/") }
    }

    /// The container process with this name. `None` while its container waits to begin again.
    pub fn container(&self, name: &str) -> Option<u32> {
        pids().into_iter().find(|pid| {
            comm(*pid).as_deref() == Some(name)
                && group(*pid, "memory").is_some_and(|group| group.starts_with(&self.group))
        })
    }

    /// The process with this name in the node's network namespace, outside of all containers.
    pub fn service(&self, name: &str, netns: &Path) -> u32 {
        let inode = |path: &Path| {
            std::fs::metadata(path).ok().map(|found| std::os::unix::fs::MetadataExt::ino(&found))
        };
        let wanted = inode(netns);
        let found = pids().into_iter().find(|pid| {
            comm(*pid).as_deref() == Some(name)
                && inode(&PathBuf::from(format!("/proc/{pid}/ns/net"))) == wanted
        });
        found.unwrap_or_else(|| panic!("no process {name} in {}", netns.display()))
    }
}

/// The most memory that the control group of a process held, in bytes. It includes the page cache of files that were read there.
pub fn peak_of_group(pid: u32) -> u64 {
    let group = group(pid, "memory").expect("a living process");
    let v2 = format!("/sys/fs/cgroup{group}/memory.peak");
    let v1 = format!("/sys/fs/cgroup/memory{group}/memory.max_usage_in_bytes");
    let text = read_to_string(v2).or_else(|_| read_to_string(v1)).expect("a memory controller");
    text.trim().parse().expect("a number of bytes")
}

/// The most memory that a process had, in bytes.
pub fn peak_of_process(pid: u32) -> u64 {
    let status = read_to_string(format!("/proc/{pid}/status")).expect("a living process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a process with memory");
    kilobytes(line)
}

/// What the plugins of a node took together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plugins {
    /// The most processes at the same time.
    pub processes: usize,
    /// The most memory at the same time, in bytes. Pages that they share count once.
    pub memory: u64,
}

/// Looks at the plugins until it is stopped.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Plugins>,
}

impl Watch {
    /// Looks at the plugins that `parents` start.
    pub fn start(parents: Vec<u32>) -> Watch {
        let stop = Arc::<AtomicBool>::default();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut most = Plugins::default();
            while !stopped.load(Ordering::Relaxed) {
                let plugins = plugins_of(&parents);
                let memory = plugins.iter().filter_map(|pid| proportional(*pid)).sum();
                most.processes = most.processes.max(plugins.len());
                most.memory = most.memory.max(memory);
                std::thread::sleep(LOOK);
            }
            most
        });
        Watch { stop, thread }
    }

    /// The most that was seen.
    pub fn end(self) -> Plugins {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the thread ends")
    }
}

/// The plugins below these processes.
fn plugins_of(parents: &[u32]) -> BTreeSet<u32> {
    let mut plugins = BTreeSet::new();
    let mut level: Vec<u32> = parents.to_vec();
    for _ in 0..DEPTH {
        level = level.into_iter().flat_map(children::of).collect();
        let is_plugin = |pid: &&u32| comm(**pid).is_some_and(|name| PLUGINS.contains(&name.as_str()));
        plugins.extend(level.iter().filter(is_plugin).copied());
    }
    plugins
}

fn pids() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc is mounted").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn comm(pid: u32) -> Option<String> {
    read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim_end().to_owned())
}

/// The path of a process's control group in the hierarchy with this controller.
fn group(pid: u32, controller: &str) -> Option<String> {
    let groups = read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let by_controllers: BTreeMap<&str, &str> =
        groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':')).collect();
    let own = by_controllers.iter().find(|(names, _)| names.split(',').any(|name| name == controller));
    // The unified hierarchy names no controller.
    own.map(|(_, path)| *path).or_else(|| by_controllers.get("").copied()).map(str::to_owned)
}

/// The memory of a process, in bytes, each page divided by the number of processes that have it. `None` once it has ended.
fn proportional(pid: u32) -> Option<u64> {
    let rollup = read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    rollup.lines().find_map(|line| line.strip_prefix("Pss:")).map(kilobytes)
}

/// A number of bytes from a line such as `  120 kB`.
fn kilobytes(line: &str) -> u64 {
    let number = line.trim().trim_end_matches("kB").trim();
    number.parse::<u64>().expect("a number of kilobytes") << 10
}
