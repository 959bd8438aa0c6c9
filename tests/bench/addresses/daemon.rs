//! A node's daemon as a real process.

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

/// No claim outlives its pod for so long that a run sees it: the pods here are names only.
const GRACE_SECONDS: &str = "86400";

/// How long a daemon may take to start and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// The kernel counts in hundredths of a second, on every machine.
const TICKS_PER_SECOND: u64 = 100;

/// A running daemon; ends with the value, and with the benchmark however that ends.
pub struct Daemon {
    child: Child,
    port: u16,
}

impl Daemon {
    /// Starts the daemon of the node `name` on one of its threads, which must live as long, and waits until it serves.
    #[allow(clippy::disallowed_methods)] // the benchmark stands in for the kubelet
    pub fn start(program: &Path, name: &str, port: u16) -> Daemon {
        let log = File::create("/run/bench/daemon.log").expect("the node's own folder");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(["--kubeconfig", KUBECONFIG, "--node", name, "--grace", GRACE_SECONDS])
            .arg(format!("--listen=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("setpriv (util-linux) can be run");
        let mut daemon = Daemon { child, port };
        let end = Instant::now() + PATIENCE;
        while UnixStream::connect(SOCKET).is_err() {
            let ended = daemon.child.try_wait().expect("a child");
            if ended.is_some() || Instant::now() > end {
                panic!("the daemon of {name}: {}", std::fs::read_to_string("/run/bench/daemon.log").unwrap());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        daemon
    }

    /// User and system time since its start.
    pub fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        // The name of the program may have blanks in it; what follows it has not.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = [11, 12].map(|n: usize| fields[n].parse::<u64>().unwrap()).iter().sum();
        Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
    }

    /// Resident memory now, in KiB.
    pub fn resident(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a living process");
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("the daemon lives")
    }

    /// A number that it shows, added up over its labels. To be called inside the node.
    pub fn shown(port: u16, name: &str) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the daemon shows its numbers");
        write!(stream, "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        let values =
            page.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit(' ').next());
        values.filter_map(|value| value.trim().parse::<f64>().ok()).sum::<f64>() as u64
    }

    /// Where it shows its numbers.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It gives up its lease, so that the next one need not wait.
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
