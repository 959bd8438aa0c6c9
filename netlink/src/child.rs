//! Runs a short task in a detached child process, so that the caller's process can end before the task does.
#![allow(unsafe_code)] // fork, _exit and close_range: std has no wrappers for them

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout},
    unistd::pipe2,
};

/// How long to wait until the child has closed its descriptors. It takes some hundred microseconds, on an overloaded node longer.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Runs `enter` and then `task` in a child process, and does not wait for `task`. A thread would not do: it ends with the caller's process.
/// If `enter` fails, `task` does not run.
///
/// When this returns, the child has no descriptor of the caller any more, except after a wait of [`CLOSE_LIMIT`]:
///
/// - Container runtimes read a plugin's stdout until every writer has closed it, so an inherited one would make them wait for the child.
/// - A runtime may unmount the pod's namespace as soon as the plugin has ended. umount(2) fails with EBUSY while a process has the mounted
///   file open.
///
/// `enter` has all descriptors of the caller, `task` has none.
///
/// Both may only make system calls. After fork in a process with threads, any lock may be held forever, also the allocator's.
pub(crate) fn spawn_detached(enter: impl FnOnce() -> nix::Result<()>, task: impl FnOnce()) -> io::Result<()> {
    // The child closes its end of the pipe after all other descriptors.
    let (closed, open) = pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: until `_exit` the child only runs `enter`, `detach`, `close` and `task`, which make async-signal-safe calls alone.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let entered = enter();
            detach(open.as_fd());
            drop(open);
            if entered.is_ok() {
                task();
            }
            // _exit, not exit: exit would run the parent's exit handlers and flush its buffers a second time.
            // SAFETY: ends this process.
            unsafe { libc::_exit(0) }
        }
        // Not waited for its end: when the plugin ends, init adopts and reaps the child.
        _ => {
            drop(open);
            wait_for_end(&closed);
            Ok(())
        }
    }
}

/// Waits until no process has the other end of the pipe open.
fn wait_for_end(pipe: &OwnedFd) {
    let mut polled = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    let limit = PollTimeout::try_from(CLOSE_LIMIT).unwrap_or(PollTimeout::MAX);
    // Nothing is ever written, so that any answer means the end. An error or the limit is not reported: the child runs, and only the
    // runtime may have to repeat its umount.
    while nix::poll::poll(&mut polled, limit) == Err(Errno::EINTR) {}
}

/// Makes this process the leader of a new session, with `/dev/null` as standard streams and no other descriptor but `keep`.
fn detach(keep: BorrowedFd<'_>) {
    let keep = keep.as_raw_fd().unsigned_abs();
    // SAFETY: these calls only concern descriptors of this process, which uses none of them afterwards but `keep`. Errors are
    // ignored: they leave a descriptor open until the child ends, at most some hundred milliseconds later.
    unsafe {
        // A new session: signals to the plugin's process group, such as the kill at a deadline, do not reach the child.
        libc::setsid();
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        for standard in 0..3 {
            libc::dup2(null, standard);
        }
        // By number, since musl has no close_range().
        if keep > 3 {
            libc::syscall(libc::SYS_close_range, 3, keep - 1, 0);
        }
        libc::syscall(libc::SYS_close_range, keep.max(2) + 1, u32::MAX, 0);
    }
}
