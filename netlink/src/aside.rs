//! Work that the caller does not wait for, although its process ends at once.
#![allow(unsafe_code)] // fork: a thread ends with the process, and what it does here must not

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

/// Runs `task` in a child process that nobody waits for and that keeps nothing of the caller's open but `fd`, above all not the pipes
/// at whose end somebody waits. `task` must be short, and may do no more than make system calls: another thread may have held any lock,
/// the allocator's too, when the child was made.
pub(crate) fn in_child(fd: BorrowedFd<'_>, task: impl FnOnce()) -> io::Result<()> {
    // SAFETY: the child runs `detach`, `task` and `_exit`, which make system calls only, as is allowed after fork in a process with threads.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            detach(fd);
            task();
            // SAFETY: ends this process without running anything else of it.
            unsafe { libc::_exit(0) }
        }
        _ => Ok(()),
    }
}

fn detach(keep: BorrowedFd<'_>) {
    let keep = keep.as_raw_fd().unsigned_abs();
    // SAFETY: system calls on descriptors of this process alone, none of which is used afterwards but `keep`. Failures leave more open
    // for a moment, which is all.
    unsafe {
        libc::setsid();
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        for standard in 0..3 {
            libc::dup2(null, standard);
        }
        if keep > 3 {
            libc::syscall(libc::SYS_close_range, 3, keep - 1, 0);
        }
        libc::syscall(libc::SYS_close_range, keep.max(2) + 1, u32::MAX, 0);
    }
}
