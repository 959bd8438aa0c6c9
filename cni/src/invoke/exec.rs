//! One run of another plugin. Only this module starts processes. Each run has a deadline, bounded output and its own process group,
//! so that a plugin that hangs, prints without end or leaves children cannot block its caller.

use std::io::{self, ErrorKind, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::pipes::{MAX_OUTPUT, Outcome, Pipes};
use crate::types::{CniError, Code};
pub use crate::types::{FindError, SearchPath};

/// How long a start is retried while another process writes to the plugin's file. An upgrade copies a binary in less.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// The pause between two such starts.
const BUSY_RETRY: Duration = Duration::from_millis(100);

/// See [`prepare_with`].
static PREPARE: OnceLock<fn(&mut Command)> = OnceLock::new();

/// Makes every later [`Run`] of this process prepare its command with `prepare`, which may do what this crate cannot (unsafe code). For a
/// plugin's `main`. The first call counts.
pub fn prepare_with(prepare: fn(&mut Command)) {
    // A second call has nothing to add.
    let _ = PREPARE.set(prepare);
}

/// A run gave no output.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The plugin could not be started: nothing of it ran.
    #[error("plugin {} could not be run: {source}", program.display())]
    NotStarted {
        /// The plugin's file.
        program: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A pipe to the plugin failed. It was killed.
    #[error("plugin {} could not be run: {source}", program.display())]
    Io {
        /// The plugin's file.
        program: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The plugin was killed at the deadline.
    #[error("plugin {} did not answer within its {} s and was killed", program.display(), limit.as_secs())]
    TimedOut {
        /// The plugin's file.
        program: PathBuf,
        /// The time from start to deadline.
        limit: Duration,
    },
    /// The plugin wrote too much on standard output or standard error. It was killed unless it had ended.
    #[error("plugin {} wrote more than {MAX_OUTPUT} bytes, the limit of a plugin's output", program.display())]
    TooMuchOutput {
        /// The plugin's file.
        program: PathBuf,
    },
    /// The plugin printed this error object, with a failure or with exit status 0; see [`failure`].
    #[error("{0}")]
    Failed(CniError),
    /// The plugin exited with a failure without an error object, or a signal ended it. This error describes it; see [`failure`].
    #[error("{0}")]
    Crashed(CniError),
}

impl ExecError {
    /// Whether the plugin did not start, or ended by itself and said why. After any other failure it may have done a part of its
    /// work.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            ExecError::NotStarted { .. } | ExecError::Failed(_) => true,
            ExecError::Io { .. }
            | ExecError::TimedOut { .. }
            | ExecError::TooMuchOutput { .. }
            | ExecError::Crashed(_) => false,
        }
    }
}

impl From<ExecError> for CniError {
    /// The error for the caller of a delegating plugin. The code and the details of a delegate's own error are kept.
    fn from(error: ExecError) -> Self {
        match error {
            ExecError::Failed(error) | ExecError::Crashed(error) => error,
            ExecError::TimedOut { .. } => CniError::new(Code::TryAgainLater, error.to_string()),
            ExecError::NotStarted { .. } | ExecError::Io { .. } | ExecError::TooMuchOutput { .. } => {
                CniError::new(Code::Internal, error.to_string())
            }
        }
    }
}

/// One run of a plugin.
#[derive(Debug)]
pub struct Run<'a> {
    /// The plugin's file.
    pub program: &'a Path,
    /// Variables that are added to this process's environment, or replace its values. The rest is inherited.
    pub env: &'a [(&'a str, String)],
    /// The bytes for standard input.
    pub stdin: &'a [u8],
    /// When the plugin is killed.
    pub deadline: Instant,
}

impl Run<'_> {
    /// Runs the plugin and returns its standard output. If it succeeds, its standard error is copied to ours.
    ///
    /// # Errors
    /// [`ExecError`]. The plugin does not run any more when this returns.
    pub fn output(&self) -> Result<Vec<u8>, ExecError> {
        let started = Instant::now();
        let program = || self.program.to_owned();
        let mut child =
            self.spawn().map_err(|source| ExecError::NotStarted { program: program(), source })?;
        let result =
            Pipes::of(&mut child, self.stdin).and_then(|pipes| pipes.pump(&mut child, self.deadline));
        match result {
            // Some plugins print their error and exit with 0. Their ADD gave nothing, and their DEL released nothing.
            Ok(Outcome::Ended { status, stdout, .. })
                if status.success() && CniError::is_error_object(&stdout) =>
            {
                Err(ExecError::Failed(failure(status, &stdout, &[])))
            }
            Ok(Outcome::Ended { status, stdout, stderr }) if status.success() => {
                // The runtime logs a plugin's standard error. If it cannot be written, the remarks are lost, but the attachment
                // is made: that is no reason to fail.
                let _ = io::stderr().write_all(&stderr);
                Ok(stdout)
            }
            Ok(Outcome::Ended { status, stdout, stderr }) => {
                let error = failure(status, &stdout, &stderr);
                let is_own = status.code().is_some() && CniError::from_json(&stdout).is_some();
                Err(if is_own { ExecError::Failed(error) } else { ExecError::Crashed(error) })
            }
            Ok(Outcome::TimedOut) => {
                kill(&mut child);
                let limit = self.deadline.saturating_duration_since(started);
                Err(ExecError::TimedOut { program: program(), limit })
            }
            Ok(Outcome::TooMuch) => {
                kill(&mut child);
                Err(ExecError::TooMuchOutput { program: program() })
            }
            Err(source) => {
                kill(&mut child);
                Err(self.io(source))
            }
        }
    }

    /// Starts the process, with retries while the file is busy.
    #[allow(clippy::disallowed_methods)] // the one place that may start a process
    fn spawn(&self) -> io::Result<Child> {
        let give_up = self.deadline.min(Instant::now() + BUSY_WAIT);
        loop {
            let mut command = Command::new(self.program);
            // The variables of a trace (`TRACEPARENT`, `TRACESTATE`, `BAGGAGE`) are among those that the plugin inherits.
            command
                .envs(self.env.iter().map(|(k, v)| (*k, v.as_str())))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                // A new group with the child's own pid. `kill` then reaches the plugin's children too, and a signal for our group
                // does not reach the plugin.
                .process_group(0);
            if let Some(prepare) = PREPARE.get() {
                prepare(&mut command);
            }
            match command.spawn() {
                // ETXTBSY: another process has the file open for writing, or a thread of ours forked while it had. Both pass.
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && Instant::now() < give_up => {
                    std::thread::sleep(BUSY_RETRY);
                }
                other => return other,
            }
        }
    }

    fn io(&self, source: io::Error) -> ExecError {
        ExecError::Io { program: self.program.to_owned(), source }
    }
}

/// Kills the plugin and every process in its group, and reaps the plugin.
fn kill(child: &mut Child) {
    // Once it is reaped, the kernel can give its pid to another process, and the signal would hit that one.
    let is_reaped = matches!(child.try_wait(), Ok(Some(_)));
    if let (false, Ok(pid)) = (is_reaped, i32::try_from(child.id())) {
        // SIGKILL, because a plugin that ignored its deadline may ignore SIGTERM. An error means that the group is gone.
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    // Without this the plugin would stay a zombie. It does not block: the process was killed.
    let _ = child.wait();
}

/// Makes an error of a failed plugin's output: its own error object if it printed one. Otherwise code 999 and at most 1024 characters
/// of its output, in the words of the reference implementation.
pub fn failure(status: ExitStatus, stdout: &[u8], stderr: &[u8]) -> CniError {
    if let Some(error) = CniError::from_json(stdout) {
        return error;
    }
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    };
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
