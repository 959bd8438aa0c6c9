//! Why a file operation failed.

use std::io;
use std::path::{Path, PathBuf};

/// A file operation failed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A system call failed.
    #[error("cannot {action} {path}: {source}; check that the path exists, is writable by root and has space", path = path.display())]
    Io {
        /// The operation, as a verb: "create".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is larger than any file of its kind can be.
    #[error("{path} is larger than {max} bytes: it is damaged, or another program wrote it; remove it", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        max: u64,
    },
    /// The path has no directory or no file name, so nothing can be written there.
    #[error("{path} does not name a file in a directory; give a full path", path = path.display())]
    NotAFilePath {
        /// The path.
        path: PathBuf,
    },
    /// The record name is not one path component.
    #[error("{name:?} cannot be a file name: use 1 to 255 bytes, no leading \".\", no \"/\" and no NUL")]
    BadName {
        /// The first 64 characters of the name.
        name: String,
    },
    /// The path of a log file names something that lines must not be appended to: a symbolic link, no regular file, a file of another user, or one
    /// that has a second name.
    #[error("{path} is not a log file of this program (a link, no regular file, or another user's): remove it, or name another path", path = path.display())]
    NotALog {
        /// The path.
        path: PathBuf,
    },
    /// The directory is a link, or another user owns it, or others may write to it: they could plant files.
    #[error("{path} must be a directory of user {uid} that nobody else may write to (mode 0700): remove it or fix its owner and mode", path = path.display())]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// The user who must own it.
        uid: u32,
    },
}

impl FileError {
    /// Whether the file or its directory does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Wraps a system error with the operation and the path.
pub(crate) fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FileError + 'a {
    move |source| FileError::Io { action, path: path.to_owned(), source }
}
