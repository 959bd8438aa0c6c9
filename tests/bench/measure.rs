//! One call and its cost.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use netlink::Netns;

use crate::usage::children;

/// One call of a plugin.
#[derive(Debug)]
pub struct Call<'a> {
    /// The network namespace of the node.
    pub host: &'a Netns,
    /// The program of the plugin.
    pub program: PathBuf,
    /// The variables.
    pub env: [(&'static str, String); 5],
    /// The conf.
    pub stdin: String,
}

/// The cost of a call.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// The time from before the start of the process until its end.
    pub wall: Duration,
    /// User and system time of the plugin and of every process that it waited for.
    pub cpu: Duration,
}

/// Runs the call and measures it. No other child may run at the same time.
pub fn timed(call: &Call<'_>) -> Cost {
    let measure = || {
        let (before, start) = (children(), Instant::now());
        let mut child = spawn(call);
        feed(&mut child, call);
        let output = child.wait_with_output().expect("the plugin ends");
        let wall = start.elapsed();
        assert!(output.status.success(), "{call:?}: {}", String::from_utf8_lossy(&output.stdout));
        Cost { wall, cpu: children().saturating_sub(before) }
    };
    call.host.run(measure).expect("the node's namespace can be entered")
}

/// The peak memory of the plugin's own process, in KiB: the kernel's high-water mark, read until the process ends. `getrusage` would return
/// that of this process if it is larger, because the plugin's process begins as a copy of it.
pub fn peak_memory(call: &Call<'_>) -> u64 {
    let measure = || {
        let mut child = spawn(call);
        let status = format!("/proc/{}/status", child.id());
        let mut most = 0;
        feed(&mut child, call);
        while let Some(now) = std::fs::read_to_string(&status).ok().as_deref().and_then(high_water_mark) {
            most = most.max(now);
        }
        let output = child.wait_with_output().expect("the plugin ends");
        assert!(output.status.success(), "{call:?}: {}", String::from_utf8_lossy(&output.stdout));
        most
    };
    call.host.run(measure).expect("the node's namespace can be entered")
}

/// `VmHWM` of a process; none after its end.
fn high_water_mark(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[allow(clippy::disallowed_methods)] // the benchmark takes the place of the runtime
fn spawn(call: &Call<'_>) -> Child {
    Command::new(&call.program)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(call.env.iter().map(|(key, value)| (*key, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}", call.program.display()))
}

fn feed(child: &mut Child, call: &Call<'_>) {
    // VERSION closes the pipe without reading it.
    let _ = child.stdin.take().expect("a pipe").write_all(call.stdin.as_bytes());
}
