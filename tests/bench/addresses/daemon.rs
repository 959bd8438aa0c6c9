//! The daemon of a node as a process.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use whereabouts::rpc::wire::SOCKET;

use crate::node::KUBECONFIG;

/// Longer than a run: the pods of the benchmark do not exist, and the leader must not reclaim their addresses.
const GRACE_SECONDS: &str = "86400";

/// The time in which a daemon must start, and end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running daemon. It ends when the value is dropped, and by the kernel when the benchmark dies.
pub struct Daemon {
    child: Child,
    port: u16,
}

impl Daemon {
    /// Starts the daemon of the node `name` and waits until it serves. The calling thread must be of the node and must live as long as the
    /// daemon: the kernel kills the daemon when the thread that started it ends (PR_SET_PDEATHSIG).
    pub fn start(program: &Path, name: &str, port: u16) -> Daemon {
        let program = program.to_str().expect("a path in UTF-8");
        let (own, listen) =
            (["--node", name, "--grace", GRACE_SECONDS], format!("--listen=127.0.0.1:{port}"));
        let command = [&[program, "--kubeconfig", KUBECONFIG][..], &own, &[&listen]].concat();
        Daemon::run(&command, Path::new(SOCKET), port)
    }

    /// The same for any daemon that listens on `socket`.
    #[allow(clippy::disallowed_methods)] // the benchmark stands in for the kubelet
    pub fn run(command: &[&str], socket: &Path, port: u16) -> Daemon {
        let log = File::create("/run/bench/daemon.log").expect("the node's own folder");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .args(command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("setpriv (util-linux) can be run");
        let mut daemon = Daemon { child, port };
        let end = Instant::now() + PATIENCE;
        while UnixStream::connect(socket).is_err() {
            let ended = daemon.child.try_wait().expect("a child");
            if ended.is_some() || Instant::now() > end {
                panic!("{command:?}: {}", std::fs::read_to_string("/run/bench/daemon.log").unwrap());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        daemon
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// User and system time of its living threads since the start. /proc/PID/stat counts in steps of 10 ms, which is longer than a call.
    pub fn cpu(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("the daemon lives");
        // The first field is the time on a processor in nanoseconds. A thread may end meanwhile.
        let time = |task: std::fs::DirEntry| {
            let schedstat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            schedstat.split_whitespace().next()?.parse::<u64>().ok()
        };
        let sum: u64 = tasks.flatten().filter_map(time).sum();
        assert!(sum > 0, "this kernel does not count the time of threads (CONFIG_SCHED_INFO)");
        Duration::from_nanos(sum)
    }

    /// Resident memory now, in KiB.
    pub fn resident(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a living process");
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.pid())).expect("the daemon lives")
    }

    /// The sum of a metric over its labels. The calling thread must be of the node.
    pub fn shown(port: u16, name: &str) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the daemon serves its metrics");
        write!(stream, "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        let values =
            page.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit(' ').next());
        values.filter_map(|value| value.trim().parse::<f64>().ok()).sum::<f64>() as u64
    }

    /// The port of its metrics.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // On SIGTERM a leader releases its lease, so the next one need not wait for its end.
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        let _ = kill(pid, Signal::SIGTERM);
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
