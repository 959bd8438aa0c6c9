//! Runs a short task in a detached child process, so that the caller's process can end before the task does.
#![allow(unsafe_code)] // fork, _exit and close_range: std has no wrappers for them

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

/// Runs `task` in a child process, and does not wait for it. A thread would not do: it ends with the caller's process.
///
/// The child keeps no descriptor but `fd`: container runtimes read a plugin's stdout until every writer has closed it, so an
/// inherited one would make them wait for the child.
///
/// `task` may only make system calls. After fork in a process with threads, any lock may be held forever, also the allocator's.
pub(crate) fn spawn_detached(fd: BorrowedFd<'_>, task: impl FnOnce()) -> io::Result<()> {
    // SAFETY: until `_exit` the child only runs `detach` and `task`, which make async-signal-safe calls alone.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            detach(fd);
            task();
            // _exit, not exit: exit would run the parent's exit handlers and flush its buffers a second time.
            // SAFETY: ends this process.
            unsafe { libc::_exit(0) }
        }
        // Not waited for: when the plugin ends, init adopts and reaps the child.
        _ => Ok(()),
    }
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
