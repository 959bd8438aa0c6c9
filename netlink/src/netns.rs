//! A network namespace as an open file descriptor. No thread of the caller ever enters one.
#![allow(unsafe_code)] // two ioctls that neither std nor nix wraps

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd},
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::{
    sched::CloneFlags,
    sys::statfs::{NSFS_MAGIC, fstatfs},
};

/// Where the kernel shows the namespace of a thread to itself.
const CURRENT: &str = "/proc/thread-self/ns/net";

/// `SIOCGSKNS` of `linux/sockios.h`: a descriptor of the namespace that a socket is in.
const SIOCGSKNS: libc::Ioctl = 0x894C;

/// Why a namespace could not be opened or entered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetnsError {
    /// Nothing is there: for a removal this is as good as done.
    #[error("network namespace {path:?} does not exist")]
    NotFound {
        /// The path as given.
        path: PathBuf,
    },
    /// Something is there, but no network namespace.
    #[error("{path:?} is not a network namespace")]
    NotANetns {
        /// The path as given.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {op} network namespace {path:?}: {source}")]
    Io {
        /// What was tried.
        op: &'static str,
        /// The path as given.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The code run inside the namespace panicked. Its panic message went to stderr.
    #[error("the work inside network namespace {path:?} panicked")]
    Panicked {
        /// The path as given.
        path: PathBuf,
    },
}

/// An open network namespace. Clones share the file descriptor; the namespace lives at least as long.
#[derive(Debug, Clone)]
pub struct Netns {
    file: Arc<File>,
    path: Arc<Path>,
}

impl Netns {
    /// Opens the namespace at `path`, once: every check is on the open descriptor, so a path that is swapped
    /// meanwhile cannot lead elsewhere.
    pub fn open(path: &Path) -> Result<Self, NetnsError> {
        // O_NONBLOCK: a FIFO at this path must not hold the caller.
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
                return Err(NetnsError::NotFound { path: path.to_owned() });
            }
            Err(source) => return Err(NetnsError::Io { op: "open", path: path.to_owned(), source }),
        };
        if !is_netns(&file) {
            return Err(NetnsError::NotANetns { path: path.to_owned() });
        }
        Ok(Self { file: Arc::new(file), path: path.into() })
    }

    /// The namespace of the calling thread.
    pub fn current() -> Result<Self, NetnsError> {
        Self::open(Path::new(CURRENT))
    }

    /// The namespace of `socket`, which the calling thread has just opened: the same as [`Netns::current`] without a walk through
    /// `/proc`, which takes long the first time.
    pub(crate) fn of_own_socket(socket: BorrowedFd<'_>) -> Result<Self, NetnsError> {
        // SAFETY: SIOCGSKNS takes no argument and writes no memory; the descriptor is open for this call.
        let fd = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) };
        if fd < 0 {
            // Kernels before 4.10, and callers without CAP_NET_ADMIN.
            return Self::current();
        }
        // SAFETY: the kernel has just made this descriptor, and nobody else knows of it.
        let file = unsafe { File::from_raw_fd(fd) };
        Ok(Self { file: Arc::new(file), path: Path::new(CURRENT).into() })
    }

    /// The path it was opened by, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether both are one namespace, whatever their paths.
    pub fn is_same(&self, other: &Self) -> Result<bool, NetnsError> {
        let (one, two) = (self.identity()?, other.identity()?);
        Ok(one == two)
    }

    /// Runs `task` on a thread of its own that has entered the namespace, and waits for its value. The
    /// calling thread stays where it is. Sockets opened by `task` belong to the namespace for good and can be
    /// handed back; child processes it starts begin there.
    ///
    /// A panic of `task` becomes [`NetnsError::Panicked`] (where panics unwind).
    pub fn run<T: Send>(&self, task: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name("netns".into())
                .spawn_scoped(scope, || self.enter().map(|()| task()))
                .map_err(|source| self.io("start a thread for", source))?;
            thread.join().unwrap_or_else(|_panic| Err(NetnsError::Panicked { path: self.path.to_path_buf() }))
        })
    }

    fn enter(&self) -> Result<(), NetnsError> {
        self.enter_for_good().map_err(|errno| self.io("enter", errno.into()))
    }

    /// Puts the calling thread into the namespace. For a thread that ends with its task, as that of `run`, and for a child process
    /// that does nothing else. A system call only.
    #[allow(clippy::disallowed_methods)] // this is the one place
    pub(crate) fn enter_for_good(&self) -> nix::Result<()> {
        nix::sched::setns(&self.file, CloneFlags::CLONE_NEWNET)
    }

    fn identity(&self) -> Result<(u64, u64), NetnsError> {
        let metadata = self.file.metadata().map_err(|source| self.io("stat", source))?;
        Ok((metadata.dev(), metadata.ino()))
    }

    fn io(&self, op: &'static str, source: io::Error) -> NetnsError {
        NetnsError::Io { op, path: self.path.to_path_buf(), source }
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn is_netns(file: &File) -> bool {
    // The ioctl number means other things to other files, so the file system comes first.
    if !fstatfs(file).is_ok_and(|stat| stat.filesystem_type() == NSFS_MAGIC) {
        return false;
    }
    // SAFETY: NS_GET_NSTYPE takes no argument and writes no memory; the descriptor is open for this call.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), libc::NS_GET_NSTYPE) };
    kind == libc::CLONE_NEWNET
}
