//! From `main` to the daemon's own code: command line, log, runtime, signals.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;
use tokio::signal::unix::{SignalKind, signal};
use tracing::Level;

use crate::files::{Appended, COMPRESS_AFTER, Compression, LogFile};
use crate::rng;

/// The constants of a program.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// The name of its binary.
    pub name: &'static str,
    /// Its version, as in Cargo.toml.
    pub version: &'static str,
    /// The text for `--help`, with a line end.
    pub usage: &'static str,
}

/// What a program logs, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// How much.
    pub level: Level,
    /// Where.
    pub target: LogTarget,
}

/// Where a program logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// To standard error.
    Stderr,
    /// To standard error and to this file.
    Both(LogFile),
    /// To this file. To standard error if it cannot be written.
    File(LogFile),
}

/// What the command line requests.
#[derive(Debug, Clone, PartialEq)]
pub enum Command<O> {
    /// Run the daemon with these options.
    Run(O),
    /// Print the usage.
    Help,
    /// Print name and version.
    Version,
}

/// A future that completes when the daemon must stop: at SIGTERM, which the kubelet sends, or SIGINT.
pub type Shutdown = BoxFuture<'static, ()>;

/// The program failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError<E: std::error::Error + 'static> {
    /// The usage or the version cannot be printed.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    /// The kernel refused an epoll instance or a timer.
    #[error("cannot start the async runtime: {0}; check the limit on open files (ulimit -n)")]
    Runtime(io::Error),
    /// A signal handler cannot be installed.
    #[error("cannot handle {name}: {source}")]
    Signal {
        /// The signal, such as "SIGTERM".
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The daemon itself failed.
    #[error(transparent)]
    Daemon(E),
}

/// [`run_with_log`] at the level INFO.
///
/// # Errors
/// [`RunError`].
pub fn run<O, E, F>(
    program: &Program,
    command: Command<O>,
    daemon: impl FnOnce(O, Shutdown) -> F,
) -> Result<(), RunError<E>>
where
    E: std::error::Error + 'static,
    F: Future<Output = Result<(), E>>,
{
    run_with_log(program, command, |_| Log { level: Level::INFO, target: LogTarget::Stderr }, daemon)
}

/// Runs a program: prints what `command` requests, or runs `daemon` with its options and the [`Shutdown`] until it returns.
///
/// It logs as `log` says for the options, but at the level DEBUG if the environment variable `DEBUG` is set, to any value. The daemon runs on
/// one thread. Call this once per process.
///
/// # Errors
/// [`RunError`].
pub fn run_with_log<O, E, F>(
    program: &Program,
    command: Command<O>,
    log: impl FnOnce(&O) -> Log,
    daemon: impl FnOnce(O, Shutdown) -> F,
) -> Result<(), RunError<E>>
where
    E: std::error::Error + 'static,
    F: Future<Output = Result<(), E>>,
{
    let Some(options) = options_or_print(program, command, &mut io::stdout()).map_err(RunError::Output)?
    else {
        return Ok(());
    };
    rng::seed_from_kernel();
    let Log { level, target } = log(&options);
    let level = log_level(level, std::env::var_os("DEBUG").as_deref());
    let writer = LogWriter { target, is_broken: AtomicBool::new(false) };
    tracing_subscriber::fmt().with_writer(std::sync::Arc::new(writer)).with_max_level(level).init();
    until_signal(options, daemon)
}

/// Writes each event, which `fmt` formats as a whole, to its places.
struct LogWriter {
    target: LogTarget,
    /// Whether the file could not be written. It is tried once.
    is_broken: AtomicBool,
}

impl Write for &LogWriter {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let is_in_file = match &self.target {
            LogTarget::Stderr => false,
            LogTarget::Both(file) | LogTarget::File(file) => self.append(file, event),
        };
        if !is_in_file || matches!(self.target, LogTarget::Both(_)) {
            io::stderr().write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogWriter {
    /// Whether the event is in the file now.
    fn append(&self, file: &LogFile, event: &[u8]) -> bool {
        if self.is_broken.load(Ordering::Relaxed) {
            return false;
        }
        match file.append(&String::from_utf8_lossy(event), crate::clock::now()) {
            Ok(Appended::ToFile) => true,
            Ok(Appended::ToNewFile) => {
                if file.rotation.compression == Compression::Gzip {
                    compress_later(file.clone());
                }
                true
            }
            Err(error) => {
                self.is_broken.store(true, Ordering::Relaxed);
                let _ = writeln!(io::stderr(), "logFile: {error}");
                false
            }
        }
    }
}

/// Compresses the rotated files on a thread of its own: it takes seconds, and the daemon's only thread serves requests.
fn compress_later(file: LogFile) {
    let compress = move || {
        std::thread::sleep(COMPRESS_AFTER);
        if let Err(error) = file.compress_backups() {
            let _ = writeln!(io::stderr(), "logOptions.compress: {error}");
        }
    };
    if let Err(error) = std::thread::Builder::new().name("compress-log".to_owned()).spawn(compress) {
        let _ = writeln!(io::stderr(), "logOptions.compress: cannot start a thread: {error}");
    }
}

/// The options to run with, or `None` after printing the usage or the version.
fn options_or_print<O>(
    program: &Program,
    command: Command<O>,
    out: &mut impl Write,
) -> io::Result<Option<O>> {
    match command {
        Command::Run(options) => return Ok(Some(options)),
        Command::Help => out.write_all(program.usage.as_bytes())?,
        Command::Version => writeln!(out, "{}, multus-rs v{}", program.name, program.version)?,
    }
    out.flush()?;
    Ok(None)
}

fn log_level(wanted: Level, debug: Option<&OsStr>) -> Level {
    if debug.is_some() { Level::DEBUG } else { wanted }
}

/// Runs `daemon` on a runtime of this thread. One thread is enough: the daemon waits for the API server most of the time, and a second one costs
/// memory on every node.
fn until_signal<O, E, F>(options: O, daemon: impl FnOnce(O, Shutdown) -> F) -> Result<(), RunError<E>>
where
    E: std::error::Error + 'static,
    F: Future<Output = Result<(), E>>,
{
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Runtime)?;
    runtime.block_on(async {
        // Before the daemon starts: a signal that arrives earlier than the handler kills the process.
        let failed = |name| move |source| RunError::Signal { name, source };
        let mut terminate = signal(SignalKind::terminate()).map_err(failed("SIGTERM"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed("SIGINT"))?;
        let shutdown = async move {
            tokio::select! {
                biased;
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        daemon(options, Box::pin(shutdown)).await.map_err(RunError::Daemon)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, raise};

    const PROGRAM: Program = Program { name: "x-daemon", version: "1.2", usage: "x-daemon: a daemon\n" };

    fn printed(command: Command<u8>) -> (Option<u8>, String) {
        let mut out = Vec::new();
        let options = options_or_print(&PROGRAM, command, &mut out).unwrap();
        (options, String::from_utf8(out).unwrap())
    }

    #[test]
    fn help_and_version_are_printed_and_nothing_runs() {
        assert_eq!(printed(Command::Help), (None, "x-daemon: a daemon\n".to_owned()));
        assert_eq!(printed(Command::Version), (None, "x-daemon, multus-rs v1.2\n".to_owned()));
        assert_eq!(printed(Command::Run(7)), (Some(7), String::new()));
    }

    #[test]
    fn the_debug_variable_counts_with_any_value() {
        assert_eq!(log_level(Level::INFO, None), Level::INFO);
        assert_eq!(log_level(Level::ERROR, None), Level::ERROR);
        assert_eq!(log_level(Level::INFO, Some(OsStr::new(""))), Level::DEBUG);
        assert_eq!(log_level(Level::INFO, Some(OsStr::new("0"))), Level::DEBUG);
    }

    // One test: a signal reaches every handler in the process.
    #[test]
    fn sigterm_and_sigint_complete_the_shutdown() {
        for sent in [Signal::SIGTERM, Signal::SIGINT] {
            let stopped = until_signal(sent, |sent, shutdown| async move {
                raise(sent)?;
                shutdown.await;
                Ok::<(), io::Error>(())
            });
            stopped.unwrap();
        }
    }

    #[test]
    fn the_daemons_own_error_is_returned() {
        let failed = until_signal((), |(), _| async { Err::<(), _>(io::Error::other("no socket")) });
        assert_eq!(failed.unwrap_err().to_string(), "no socket");
    }
}
