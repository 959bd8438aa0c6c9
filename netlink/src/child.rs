//! Child processes: tasks that outlive the caller's process, and programs that do not.
#![allow(unsafe_code)] // fork, _exit, close_range, prctl and pre_exec: std has no safe wrappers for them

use std::{
    io,
    mem::ManuallyDrop,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::process::CommandExt as _,
    },
    process::Command,
    time::Duration,
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

/// Makes `/dev/null` the standard streams. An error leaves a stream as it is.
///
/// # Safety
/// Nothing may rely on what descriptors 0 to 2 were before.
unsafe fn silence() {
    // SAFETY: open and dup2 take no memory of ours but the path.
    unsafe {
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        for standard in 0..3 {
            libc::dup2(null, standard);
        }
        if null > 2 {
            libc::close(null);
        }
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
        silence();
        // By number, since musl has no close_range().
        if keep > 3 {
            libc::syscall(libc::SYS_close_range, 3, keep - 1, 0);
        }
        libc::syscall(libc::SYS_close_range, keep.max(2) + 1, u32::MAX, 0);
    }
}

/// Which process runs the task of [`after_answer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// A child. Nobody waits for it.
    Child,
    /// The caller's process, because there can be no child. The runtime waits for it.
    Caller,
}

/// Runs `task` after a plugin's answer was written, in a child process that the kernel ends after `limit`, and does not wait for it. The
/// caller's process must do nothing but end afterwards, or call this again.
///
/// The child is a copy of this process, and goes on with its memory and its descriptors: `task` may use a connection that it made before. So
/// the caller's copy of `task` is never dropped, which could close the connection under the child. What else the caller has open must be
/// closed before: the child would keep a network namespace alive. Descriptors that the process was started with are closed in the child.
///
/// The standard streams become `/dev/null` in both processes, before the fork: a runtime reads a plugin's stdout until every writer has closed
/// it. Flush them before.
///
/// The caller's process runs the task itself if it has other threads, which do not exist in a copy and whose locks stay taken there, and if
/// the kernel refuses a process.
pub fn after_answer(limit: Duration, task: impl FnOnce(Runner)) {
    let task = ManuallyDrop::new(task);
    // SAFETY: only descriptors 0 to 2 change, which no Rust value owns.
    unsafe { silence() };
    if !is_single_threaded() {
        return ManuallyDrop::into_inner(task)(Runner::Caller);
    }
    // SAFETY: this process has one thread, so the child may do everything that this process may.
    match unsafe { libc::fork() } {
        -1 => ManuallyDrop::into_inner(task)(Runner::Caller),
        0 => {
            let seconds = u32::try_from(limit.as_secs()).unwrap_or(u32::MAX).max(1);
            // SAFETY: these calls change only this process. SIGALRM may be ignored or blocked by inheritance.
            unsafe {
                // A new session: signals for the plugin's process group, such as the kill at a deadline, do not reach the child.
                libc::setsid();
                libc::signal(libc::SIGALRM, libc::SIG_DFL);
                let mut alarm: libc::sigset_t = std::mem::zeroed();
                libc::sigemptyset(&raw mut alarm);
                libc::sigaddset(&raw mut alarm, libc::SIGALRM);
                libc::sigprocmask(libc::SIG_UNBLOCK, &raw const alarm, std::ptr::null_mut());
                libc::alarm(seconds);
            }
            close_inherited();
            ManuallyDrop::into_inner(task)(Runner::Child);
            // SAFETY: ends this process. Not `exit`, which would run the caller's exit handlers a second time.
            unsafe { libc::_exit(0) }
        }
        // Not waited for: when this process ends, init adopts and reaps the child.
        _ => {}
    }
}

/// Closes the descriptors that this program was started with: those without `FD_CLOEXEC`, which std and the crates set on every descriptor
/// that they open. The runtime may wait for one of them as it does for stdout.
fn close_inherited() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    // Collected before the first is closed: the directory is a descriptor too.
    let numbers: Vec<i32> = numbers.filter(|number| *number > 2).collect();
    for number in numbers {
        // SAFETY: fcntl(2) reads a flag. A descriptor without it belongs to no value of this process, so closing it invalidates none.
        unsafe {
            let flags = libc::fcntl(number, libc::F_GETFD);
            if flags != -1 && flags & libc::FD_CLOEXEC == 0 {
                libc::close(number);
            }
        }
    }
}

/// Whether this is the only thread. False if that cannot be read.
fn is_single_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

/// Makes the kernel kill the program that `command` starts (SIGKILL) when the thread that starts it ends. That thread must wait for the
/// program, as `cni::exec` does; then only the death of the caller's process ends it early.
///
/// Without this, a plugin whose caller was killed goes on, and can claim an address after the DEL that the runtime sent meanwhile.
///
/// The program's own children are not killed, nor is a set-user-ID program: the kernel clears the signal on fork, and for such a program.
pub fn end_with_caller(command: &mut Command) {
    let caller = std::process::id();
    let prepare = move || {
        // SAFETY: prctl(2) with these arguments changes only the signal of this process.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } == -1 {
            return Err(io::Error::last_os_error());
        }
        // The caller may have ended between fork and prctl: then no signal comes any more.
        if std::os::unix::process::parent_id() != caller {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure only makes system calls, and neither allocates nor locks.
    unsafe { command.pre_exec(prepare) };
}
