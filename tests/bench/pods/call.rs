//! One call, as a runtime makes it, and its cost.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::children;
use crate::usage::children as cpu_of_children;

/// One call of a plugin.
#[derive(Clone, Debug)]
pub struct Call {
    /// The program.
    pub program: PathBuf,
    /// The variables.
    pub env: Vec<(&'static str, String)>,
    /// The configuration.
    pub stdin: String,
}

/// The cost of a call.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// The time until the runtime has the answer: the process has ended, and stdout and stderr are closed.
    pub wall: Duration,
    /// User and system time of all processes that the call started, with those that outlive it.
    pub cpu: Duration,
}

/// Runs the call, and waits for the children that it leaves before it returns. This process must be their subreaper.
#[allow(clippy::disallowed_methods)] // the benchmark takes the place of the runtime
pub fn timed(call: &Call) -> Cost {
    // The daemons of the nodes are children too.
    let lasting = children::of("self");
    let (before, start) = (cpu_of_children(), Instant::now());
    let mut child = Command::new(&call.program)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .envs(call.env.iter().map(|(key, value)| (*key, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}", call.program.display()));
    child.stdin.take().expect("a pipe").write_all(call.stdin.as_bytes()).expect("the plugin reads");
    let output = child.wait_with_output().expect("the plugin ends");
    let wall = start.elapsed();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{call:?}: {}{}", text(&output.stdout), text(&output.stderr));
    for orphan in children::of("self").into_iter().filter(|pid| !lasting.contains(pid)) {
        let pid = Pid::from_raw(i32::try_from(orphan).expect("a process id"));
        // An error means that another thread has waited for it.
        let _ = waitpid(pid, None);
    }
    Cost { wall, cpu: cpu_of_children().saturating_sub(before) }
}
