//! The end of the program: SIGTERM of the kubelet, or SIGINT. Also the end of children that plugins left.

use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

/// The signals that end the program. As the first process of a container it would ignore them without a handler.
#[derive(Debug)]
pub(super) struct Signals(SignalFd);

/// Whether the program goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// It does.
    GoOn,
    /// It ends.
    End,
}

impl Signals {
    /// Takes the signals of this thread, and of those that it starts. Programs that it starts get them as usual: std unblocks all signals for them.
    pub(super) fn take() -> nix::Result<Signals> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGTERM);
        mask.add(Signal::SIGINT);
        mask.thread_block()?;
        Ok(Signals(SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// Waits for a signal, for `limit` at most. One that came stays, so that the next call ends at once too.
    pub(super) fn wait(&self, limit: Duration) -> Course {
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) | Err(Errno::EINTR) => Course::GoOn,
            // A poll that fails would make the loop spin.
            Ok(_) | Err(_) => Course::End,
        }
    }
}

/// Reaps the children that plugins left: macvlan's announces addresses after its end. The first process of a container inherits them. Only while no
/// plugin runs: its end would be taken from who waits for it.
pub(super) fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}
