//! Finding and running a plugin: the only place that starts a process. Each run has a deadline, bounded output and a process group
//! of its own, so that a plugin that hangs, shouts or leaves children behind cannot take its caller with it.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::names::PluginType;
use crate::{CniError, Code};

/// Most bytes that are taken of a plugin's standard output, and of its standard error.
pub const MAX_OUTPUT: usize = 1 << 20;

/// How often a run looks whether the plugin has ended while something else still holds its output open.
const TICK: Duration = Duration::from_millis(50);

/// How long a plugin file that is being written ("text file busy") is waited for.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// The folders of `CNI_PATH`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPath(Vec<PathBuf>);

impl SearchPath {
    /// Splits at `:`; empty pieces are dropped.
    pub fn parse(text: &str) -> Self {
        SearchPath(text.split(':').filter(|p| !p.is_empty()).map(PathBuf::from).collect())
    }

    /// The same path with `folder` first.
    #[must_use]
    pub fn with_first(&self, folder: &Path) -> Self {
        let rest = self.0.iter().filter(|p| p.as_path() != folder).cloned();
        SearchPath(std::iter::once(folder.to_owned()).chain(rest).collect())
    }

    /// As `CNI_PATH` has it.
    pub fn to_text(&self) -> String {
        self.0.iter().map(|p| p.to_string_lossy().into_owned()).collect::<Vec<_>>().join(":")
    }

    /// The first regular file of that name.
    pub fn find(&self, plugin: &PluginType) -> Result<PathBuf, ExecError> {
        let files = self.0.iter().map(|folder| folder.join(plugin.as_str()));
        let mut found = files.filter(|file| std::fs::metadata(file).is_ok_and(|m| m.is_file()));
        found.next().ok_or_else(|| ExecError::NotFound { plugin: plugin.clone(), path: self.clone() })
    }
}

/// Why a plugin gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// No folder of the path has it.
    #[error("failed to find plugin {:?} in path [{}]", plugin.as_str(), path.0.iter().map(|p| p.to_string_lossy()).collect::<Vec<_>>().join(" "))]
    NotFound {
        /// The plugin looked for.
        plugin: PluginType,
        /// Where.
        path: SearchPath,
    },
    /// It could not be started, or its pipes failed.
    #[error("plugin {} could not be run: {source}", program.display())]
    Io {
        /// The file.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It was killed because its time was over.
    #[error("plugin {} did not answer within its {} s and was killed", program.display(), limit.as_secs())]
    TimedOut {
        /// The file.
        program: PathBuf,
        /// The time it had.
        limit: Duration,
    },
    /// It was killed because it wrote more than [`MAX_OUTPUT`] bytes.
    #[error("plugin {} wrote more than {MAX_OUTPUT} bytes and was killed", program.display())]
    TooMuchOutput {
        /// The file.
        program: PathBuf,
    },
    /// It ended with a failure, and this is its error object (or what could be made of its output).
    #[error("{0}")]
    Failed(CniError),
}

impl ExecError {
    /// The error as the caller of a delegating plugin should see it: a delegate's own code and details are kept.
    pub fn to_cni(&self) -> CniError {
        match self {
            ExecError::Failed(error) => error.clone(),
            ExecError::TimedOut { .. } => CniError::new(Code::TryAgainLater, self.to_string()),
            ExecError::Io { .. } | ExecError::NotFound { .. } | ExecError::TooMuchOutput { .. } => {
                CniError::new(Code::Internal, self.to_string())
            }
        }
    }
}

/// One run of a plugin.
#[derive(Debug)]
pub struct Run<'a> {
    /// The file.
    pub program: &'a Path,
    /// Variables laid over this process's own.
    pub env: &'a [(&'a str, String)],
    /// What it reads on standard input.
    pub stdin: &'a [u8],
    /// When it is killed.
    pub deadline: Instant,
}

impl Run<'_> {
    /// Runs the plugin and returns its standard output. Its standard error goes to ours when it succeeds.
    pub fn output(&self) -> Result<Vec<u8>, ExecError> {
        let started = Instant::now();
        let mut child = self.spawn().map_err(|source| self.io(source))?;
        let result = Pipes::of(&mut child, self.stdin)
            .and_then(|pipes| pipes.pump(&mut child, self.deadline))
            .map_err(|source| self.io(source));
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(error) => {
                kill(&mut child);
                return Err(error);
            }
        };
        match outcome {
            Outcome::TimedOut => {
                kill(&mut child);
                let limit = self.deadline.saturating_duration_since(started);
                Err(ExecError::TimedOut { program: self.program.to_owned(), limit })
            }
            Outcome::TooMuch => {
                kill(&mut child);
                Err(ExecError::TooMuchOutput { program: self.program.to_owned() })
            }
            Outcome::Ended { status, stdout, stderr } if status.success() => {
                // A plugin's remarks belong in the runtime's log; where they cannot go there they are lost, not fatal.
                let _ = io::stderr().write_all(&stderr);
                Ok(stdout)
            }
            Outcome::Ended { status, stdout, stderr } => {
                Err(ExecError::Failed(failure(status, &stdout, &stderr)))
            }
        }
    }

    /// Starts it; a file that is just being replaced is waited for.
    #[allow(clippy::disallowed_methods)] // this is cni::exec
    fn spawn(&self) -> io::Result<Child> {
        let patience = self.deadline.min(Instant::now() + BUSY_WAIT);
        loop {
            let started = std::process::Command::new(self.program)
                .envs(self.env.iter().map(|(k, v)| (*k, v.as_str())))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .process_group(0)
                .spawn();
            match started {
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && Instant::now() < patience => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                other => return other,
            }
        }
    }

    fn io(&self, source: io::Error) -> ExecError {
        ExecError::Io { program: self.program.to_owned(), source }
    }
}

enum Outcome {
    Ended { status: ExitStatus, stdout: Vec<u8>, stderr: Vec<u8> },
    TimedOut,
    TooMuch,
}

struct Pipes<'a> {
    stdin: Option<(std::process::ChildStdin, &'a [u8])>,
    stdout: Option<Source<std::process::ChildStdout>>,
    stderr: Option<Source<std::process::ChildStderr>>,
    read: [Vec<u8>; 2],
}

struct Source<T>(T);

impl<T: Read + AsFd> Source<T> {
    /// Reads what is there. `false` at the end.
    fn drain(&mut self, into: &mut Vec<u8>) -> io::Result<bool> {
        let mut buffer = [0; 8192];
        loop {
            match self.0.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(n) => into.extend(buffer.iter().take(n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if into.len() > MAX_OUTPUT {
                return Ok(true);
            }
        }
    }
}

impl<'a> Pipes<'a> {
    fn of(child: &mut Child, input: &'a [u8]) -> io::Result<Self> {
        let stdin = child.stdin.take().map(|pipe| (pipe, input));
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        for fd in [
            stdin.as_ref().map(|(p, _)| p.as_fd()),
            stdout.as_ref().map(AsFd::as_fd),
            stderr.as_ref().map(AsFd::as_fd),
        ]
        .into_iter()
        .flatten()
        {
            set_nonblocking(fd)?;
        }
        Ok(Pipes {
            stdin,
            stdout: stdout.map(Source),
            stderr: stderr.map(Source),
            read: [Vec::new(), Vec::new()],
        })
    }

    /// Feeds and reads until the plugin has ended, or its time or its output is over.
    fn pump(mut self, child: &mut Child, deadline: Instant) -> io::Result<Outcome> {
        loop {
            self.step()?;
            let [stdout, stderr] = &self.read;
            if stdout.len() > MAX_OUTPUT || stderr.len() > MAX_OUTPUT {
                return Ok(Outcome::TooMuch);
            }
            if let Some(status) = child.try_wait()? {
                self.step()?;
                let [stdout, stderr] = self.read;
                return Ok(Outcome::Ended { status, stdout, stderr });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Outcome::TimedOut);
            }
            self.wait(left)?;
        }
    }

    /// Moves what can be moved without waiting.
    fn step(&mut self) -> io::Result<()> {
        if let Some((pipe, rest)) = &mut self.stdin
            && !feed(pipe, rest)?
        {
            self.stdin = None;
        }
        let [stdout, stderr] = &mut self.read;
        if let Some(source) = &mut self.stdout
            && !source.drain(stdout)?
        {
            self.stdout = None;
        }
        if let Some(source) = &mut self.stderr
            && !source.drain(stderr)?
        {
            self.stderr = None;
        }
        Ok(())
    }

    /// Waits until a pipe is ready, at most a tick; with every pipe closed the end of the process is near, so a shorter one.
    fn wait(&self, left: Duration) -> io::Result<()> {
        let mut fds = Vec::with_capacity(3);
        fds.extend(self.stdin.as_ref().map(|(p, _)| PollFd::new(p.as_fd(), PollFlags::POLLOUT)));
        fds.extend(self.stdout.as_ref().map(|s| PollFd::new(s.0.as_fd(), PollFlags::POLLIN)));
        fds.extend(self.stderr.as_ref().map(|s| PollFd::new(s.0.as_fd(), PollFlags::POLLIN)));
        if self.stdout.is_none() && self.stderr.is_none() {
            std::thread::sleep(left.min(Duration::from_micros(200)));
            return Ok(());
        }
        let timeout = PollTimeout::try_from(left.min(TICK)).unwrap_or(PollTimeout::ZERO);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Writes what the pipe takes. `false` when all is written or the plugin does not read.
fn feed(pipe: &mut std::process::ChildStdin, rest: &mut &[u8]) -> io::Result<bool> {
    while !rest.is_empty() {
        match pipe.write(rest) {
            Ok(n) => *rest = rest.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Ends the plugin and every process it started, and reaps it.
fn kill(child: &mut Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // Gone already is as good.
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let _ = child.wait();
}

/// What a failed plugin said, as an error object: its own where it printed one, otherwise code 999 and at most 1024 characters of its output.
pub fn failure(status: ExitStatus, stdout: &[u8], stderr: &[u8]) -> CniError {
    if let Some(error) = CniError::from_json(stdout) {
        return error;
    }
    let how = status.signal().map_or_else(
        || format!("exit status {}", status.code().unwrap_or(-1)),
        |signal| format!("signal {signal}"),
    );
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(1024).collect::<String>();
    let msg = if stdout.iter().any(|b| !b.is_ascii_whitespace()) {
        format!(
            "netplugin failed but error parsing its diagnostic message {:?}: not a CNI error object",
            text(stdout)
        )
    } else if stderr.is_empty() {
        format!("netplugin failed with no error message: {how}")
    } else {
        format!("netplugin failed: {:?}: {how}", text(stderr))
    };
    CniError::new(Code::Internal, msg)
}

#[cfg(test)]
mod tests;
