//! The three pipes of a running plugin: feeds standard input, reads standard output and standard error, until the plugin ends or a
//! limit is passed.
//!
//! One thread serves all three, without blocking. Blocking reads and writes in turn would deadlock: the plugin waits until we read
//! its output, and we wait until it reads its input. A pipe holds only 64 KiB.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The most bytes that are read of a plugin's standard output, and of its standard error.
pub(super) const MAX_OUTPUT: usize = 1 << 20;

/// The longest wait for a pipe. After each wait we look whether the plugin has ended: if it left a child that holds the pipes open,
/// poll(2) does not report the end.
const TICK: Duration = Duration::from_millis(50);

/// The pause when all pipes are closed. The plugin then ends at once, and nothing is left to poll.
const EXIT_TICK: Duration = Duration::from_micros(200);

/// How a run ended.
pub(super) enum Outcome {
    /// The plugin ended by itself.
    Ended { status: ExitStatus, stdout: Vec<u8>, stderr: Vec<u8> },
    /// The plugin still runs at the deadline.
    TimedOut,
    /// The plugin wrote more than [`MAX_OUTPUT`] bytes. It may still run.
    TooMuch,
}

pub(super) struct Pipes<'a> {
    stdin: Input<'a>,
    stdout: Output<ChildStdout>,
    stderr: Output<ChildStderr>,
}

impl<'a> Pipes<'a> {
    pub(super) fn of(child: &mut Child, input: &'a [u8]) -> io::Result<Self> {
        let pipes = Pipes {
            stdin: Input { pipe: child.stdin.take(), rest: input },
            stdout: Output { pipe: child.stdout.take(), bytes: Vec::new() },
            stderr: Output { pipe: child.stderr.take(), bytes: Vec::new() },
        };
        let fds = [fd(&pipes.stdin.pipe), fd(&pipes.stdout.pipe), fd(&pipes.stderr.pipe)];
        fds.into_iter().flatten().try_for_each(set_nonblocking)?;
        Ok(pipes)
    }

    /// Serves the pipes until the plugin ends, or the deadline or the output limit is passed.
    pub(super) fn pump(mut self, child: &mut Child, deadline: Instant) -> io::Result<Outcome> {
        loop {
            // The order matters: the look at the process comes before the read. If it has ended, that read gets its last bytes.
            let ended = child.try_wait()?;
            self.step()?;
            if self.stdout.bytes.len() > MAX_OUTPUT || self.stderr.bytes.len() > MAX_OUTPUT {
                return Ok(Outcome::TooMuch);
            }
            if let Some(status) = ended {
                return Ok(Outcome::Ended { status, stdout: self.stdout.bytes, stderr: self.stderr.bytes });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Outcome::TimedOut);
            }
            self.wait(left)?;
        }
    }

    /// Writes and reads everything that is possible without waiting.
    fn step(&mut self) -> io::Result<()> {
        self.stdin.feed()?;
        self.stdout.drain()?;
        self.stderr.drain()
    }

    /// Waits until a pipe is ready, at most `left` and at most a tick.
    fn wait(&self, left: Duration) -> io::Result<()> {
        if self.stdout.pipe.is_none() && self.stderr.pipe.is_none() {
            std::thread::sleep(left.min(EXIT_TICK));
            return Ok(());
        }
        let mut fds = Vec::with_capacity(3);
        fds.extend(fd(&self.stdin.pipe).map(|fd| PollFd::new(fd, PollFlags::POLLOUT)));
        fds.extend(fd(&self.stdout.pipe).map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        fds.extend(fd(&self.stderr.pipe).map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let timeout = PollTimeout::try_from(left.min(TICK)).unwrap_or(PollTimeout::ZERO);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Standard input of the plugin. The pipe is `None` once it is closed.
struct Input<'a> {
    pipe: Option<ChildStdin>,
    rest: &'a [u8],
}

impl Input<'_> {
    /// Writes as much as the pipe takes. Closes it after the last byte, so that the plugin sees the end of its input.
    fn feed(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        while !self.rest.is_empty() {
            match pipe.write(self.rest) {
                Ok(n) => self.rest = self.rest.get(n..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The plugin closed its input or ended: it does not need the rest. Rust ignores SIGPIPE, so this is an error only.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
                Err(error) => return Err(error),
            }
        }
        self.pipe = None;
        Ok(())
    }
}

/// Standard output or standard error of the plugin. The pipe is `None` once its end was read.
struct Output<T> {
    pipe: Option<T>,
    bytes: Vec<u8>,
}

impl<T: Read> Output<T> {
    /// Reads the bytes in the pipe. Stops past [`MAX_OUTPUT`]: a fast writer would keep it busy beyond the deadline.
    fn drain(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let mut buffer = [0; 8192];
        while self.bytes.len() <= MAX_OUTPUT {
            match pipe.read(&mut buffer) {
                Ok(0) => {
                    self.pipe = None;
                    break;
                }
                Ok(n) => self.bytes.extend(buffer.iter().take(n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn fd<T: AsFd>(pipe: &Option<T>) -> Option<BorrowedFd<'_>> {
    pipe.as_ref().map(AsFd::as_fd)
}

/// The flag belongs to our end of the pipe only: the plugin's end still blocks, as plugins expect.
fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}
