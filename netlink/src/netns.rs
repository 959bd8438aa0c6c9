//! A network namespace as an open file descriptor. The caller's threads never enter it.
#![allow(unsafe_code)] // two ioctls that neither std nor nix has wrappers for

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

/// The namespace of the thread that opens this path.
const CURRENT: &str = "/proc/thread-self/ns/net";

/// `SIOCGSKNS` of `linux/sockios.h`, which libc does not have: opens the namespace that a socket is in.
const SIOCGSKNS: libc::Ioctl = 0x894C;

/// Why a namespace could not be opened or entered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetnsError {
    /// Nothing exists at the path. Callers that delete something in the namespace can treat this as success.
    #[error("network namespace {path:?} does not exist")]
    NotFound {
        /// The path as given.
        path: PathBuf,
    },
    /// The path is something else than a network namespace.
    #[error("{path:?} is not a network namespace")]
    NotANetns {
        /// The path as given.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("cannot {op} network namespace {path:?}: {source}")]
    Io {
        /// What failed.
        op: &'static str,
        /// The path as given.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The code that ran inside the namespace panicked. Its panic message is on stderr.
    #[error("a panic occurred inside network namespace {path:?}, see stderr")]
    Panicked {
        /// The path as given.
        path: PathBuf,
    },
}

/// An open network namespace. Clones share the file descriptor, and the namespace exists at least as long as that is open.
#[derive(Debug, Clone)]
pub struct Netns {
    file: Arc<File>,
    path: Arc<Path>,
}

impl Netns {
    /// Opens the namespace at `path`. All checks are on the open descriptor, so that replacing the path in between cannot lead to
    /// another namespace.
    pub fn open(path: &Path) -> Result<Self, NetnsError> {
        // O_NONBLOCK: opening a FIFO would otherwise wait for a writer. O_NOCTTY: opening a terminal must not make it ours.
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

    /// The namespace of `socket`, which the calling thread has just opened. Returns the same as [`Netns::current`] without a path
    /// lookup in `/proc`, which is slow the first time in a process.
    pub(crate) fn of_own_socket(socket: BorrowedFd<'_>) -> Result<Self, NetnsError> {
        match netns_of(socket) {
            Some(file) => Ok(Self { file: Arc::new(file), path: Path::new(CURRENT).into() }),
            None => Self::current(),
        }
    }

    /// The same namespace by a descriptor that does not keep its path mounted; `socket` must be in it. umount(2) fails with EBUSY while a
    /// process has a file open that was opened by a mounted path, and a runtime unmounts a pod's namespace while the child still announces
    /// the addresses. The kernel opens a socket's namespace on a mount of its own.
    pub(crate) fn unpinned(&self, socket: BorrowedFd<'_>) -> Self {
        let file = netns_of(socket).map_or_else(|| Arc::clone(&self.file), Arc::new);
        Self { file, path: Arc::clone(&self.path) }
    }

    /// The path by which it was opened, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether both are the same namespace, even if their paths differ.
    pub fn is_same(&self, other: &Self) -> Result<bool, NetnsError> {
        let (one, two) = (self.identity()?, other.identity()?);
        Ok(one == two)
    }

    /// Runs `task` on a new thread inside the namespace and returns its value. The calling thread stays in its own namespace. Sockets
    /// that `task` opens stay in the namespace after they are returned; child processes that it starts run in the namespace.
    ///
    /// A panic of `task` becomes [`NetnsError::Panicked`] (in builds where panics unwind).
    pub fn run<T: Send>(&self, task: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name("netns".into())
                .spawn_scoped(scope, || self.enter().map(|()| task()))
                .map_err(|source| self.io("start a thread for", source))?;
            thread.join().unwrap_or_else(|_| Err(NetnsError::Panicked { path: self.path.to_path_buf() }))
        })
    }

    fn enter(&self) -> Result<(), NetnsError> {
        self.enter_permanently().map_err(|errno| self.io("enter", errno.into()))
    }

    /// Moves the calling thread into the namespace. Only for threads and child processes that end with their task, as there is no way
    /// back that cannot fail. Makes one system call and does not allocate, so that it may run after fork.
    #[allow(clippy::disallowed_methods)] // the only place that enters a namespace
    pub(crate) fn enter_permanently(&self) -> nix::Result<()> {
        nix::sched::setns(&self.file, CloneFlags::CLONE_NEWNET)
    }

    /// Device and inode number, which identify a namespace.
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

/// The namespace of a socket. `None` before Linux 4.10, which lacks the ioctl, and without CAP_NET_ADMIN.
fn netns_of(socket: BorrowedFd<'_>) -> Option<File> {
    // SAFETY: SIOCGSKNS takes no argument and writes no memory; the descriptor is open for this call.
    let fd = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) };
    // SAFETY: the kernel has just opened this descriptor, so that nothing else owns it.
    (fd >= 0).then(|| unsafe { File::from_raw_fd(fd) })
}

fn is_netns(file: &File) -> bool {
    // First the file system: to other files, such as devices, the ioctl number can mean something else.
    if !fstatfs(file).is_ok_and(|stat| stat.filesystem_type() == NSFS_MAGIC) {
        return false;
    }
    // nsfs has files of all kinds of namespaces.
    // SAFETY: NS_GET_NSTYPE takes no argument and writes no memory; the descriptor is open for this call.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), libc::NS_GET_NSTYPE) };
    kind == libc::CLONE_NEWNET
}
