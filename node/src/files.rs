//! Atomic writes: a reader finds the old bytes or the new ones, after a crash too.
//!
//! A write goes to a temp file in the same directory, and rename(2) puts it in place. Nothing ever reads a temp file that a crash left behind.
//! [`Dir::remove_leftovers`] removes it.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::text::printable;

/// The prefix of every temp file. A record's name does not start with a dot.
const TEMP_PREFIX: &str = ".tmp-";

/// A file operation failed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A system call failed. `action` is the operation, such as "create".
    #[error("cannot {action} {path}: {source}; check that the path exists, is writable by root and has space", path = path.display())]
    Io {
        /// The operation.
        action: &'static str,
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is larger than any valid file of its kind.
    #[error("{path} is larger than {max} bytes; it is not one of our files, or it is damaged; remove it", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        max: u64,
    },
    /// The path has no directory or no file name.
    #[error("{path} does not name a file in a directory; give a full path", path = path.display())]
    NotAFilePath {
        /// The path.
        path: PathBuf,
    },
    /// The text is not a single path component.
    #[error(
        "\"{name}\" cannot be a file name: it must have 1 to 255 bytes, not start with \".\", and contain no \"/\" or NUL"
    )]
    BadName {
        /// The text, escaped and cut.
        name: String,
    },
    /// Other users may write to the directory, and could put files of their own there.
    #[error("{path} must be a directory of user {uid} that nobody else may write to (mode 0700); remove it, or change its owner and mode", path = path.display())]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// The user it must belong to.
        uid: u32,
    },
}

impl FileError {
    /// Whether the file or its directory does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FileError + 'a {
    move |source| FileError::Io { action, path: path.to_owned(), source }
}

/// Writes `bytes` to `path` with exactly the permission bits `mode`. The write is atomic, and on disk when this returns.
///
/// # Errors
/// [`FileError::Io`]. Then the old file, if any, is unchanged, and the temp file is removed.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let not_a_file = || FileError::NotAFilePath { path: path.to_owned() };
    let parent = path.parent().ok_or_else(not_a_file)?;
    path.file_name().ok_or_else(not_a_file)?;
    let dir = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };

    let mut temp = TempFile::create(dir, mode)?;
    temp.file.write_all(bytes).map_err(failed("write", &temp.path))?;
    // Without fsync(2) here, a power loss after the rename may leave an empty file under the final name.
    temp.file.sync_all().map_err(failed("flush", &temp.path))?;
    temp.rename_to(path)?;
    // The rename itself is on disk only once the directory is.
    sync_dir(dir)
}

/// Replaces the file at `path` with `bytes` (mode 0600). The write is atomic for readers, but does not wait for the disk: after a power loss the
/// file may have the old bytes, or be empty. For content that can be made again. Creates the directory (0700) if it is missing.
///
/// # Errors
/// [`FileError::Io`].
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let dir = path.parent().ok_or_else(|| FileError::NotAFilePath { path: path.to_owned() })?;
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("create", dir))?;
    let mut temp = TempFile::create(dir, 0o600)?;
    temp.file.write_all(bytes).map_err(failed("write", &temp.path))?;
    temp.rename_to(path)
}

/// Removes the file at `path`. The removal is on disk when this returns. A missing file is not an error.
///
/// # Errors
/// [`FileError::Io`].
pub fn remove_if_exists(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Ok(()) => sync_dir(path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove", path)(error)),
    }
}

/// The content of the file at `path`, at most `max` bytes.
///
/// # Errors
/// [`FileError::TooLarge`] for a larger file; [`FileError::Io`] (see [`FileError::is_not_found`]).
pub fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    let file = File::open(path).map_err(failed("open", path))?;
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too large. Its metadata would not: a device has size 0.
    file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(failed("read", path))?;
    if bytes.len() as u64 > max {
        return Err(FileError::TooLarge { path: path.to_owned(), max });
    }
    Ok(bytes)
}

fn sync_dir(dir: &Path) -> Result<(), FileError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("flush", dir))
}

/// A temp file, which is removed on drop unless it was renamed.
struct TempFile {
    path: PathBuf,
    file: File,
    renamed: bool,
}

impl TempFile {
    fn create(dir: &Path, mode: u32) -> Result<Self, FileError> {
        let path = dir.join(format!("{TEMP_PREFIX}{:016x}", fastrand::u64(..)));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .map_err(failed("create", &path))?;
        let temp = Self { path, file, renamed: false };
        // open(2) removes the bits of the umask from the mode.
        temp.file
            .set_permissions(Permissions::from_mode(mode))
            .map_err(failed("set the mode of", &temp.path))?;
        Ok(temp)
    }

    fn rename_to(mut self, path: &Path) -> Result<(), FileError> {
        std::fs::rename(&self.path, path).map_err(failed("replace", path))?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.renamed {
            // The caller reports the error that brought us here.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A private directory (mode 0700) with records of mode 0600.
#[derive(Debug, Clone)]
pub struct Dir {
    path: PathBuf,
}

impl Dir {
    /// Opens the directory at `path`. Creates it and its missing parents with mode 0700.
    ///
    /// # Errors
    /// [`FileError::NotPrivate`] if it is a symbolic link, of another user, or writable by others.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FileError> {
        let path = path.into();
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed("create", &path))?;
        // lstat(2): a symbolic link could lead into a directory of another user.
        let found = std::fs::symlink_metadata(&path).map_err(failed("examine", &path))?;
        let own = std::fs::metadata("/proc/self").map_err(failed("examine", Path::new("/proc/self")))?.uid();
        if !found.is_dir() || found.uid() != own || found.mode() & 0o022 != 0 {
            return Err(FileError::NotPrivate { path, uid: own });
        }
        Ok(Self { path })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the record `name` as [`write_atomic`] does.
    ///
    /// # Errors
    /// [`FileError::BadName`], [`FileError::Io`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        write_atomic(&self.join(name)?, bytes, 0o600)
    }

    /// The record `name`, at most `max` bytes, or `None` if there is none.
    ///
    /// # Errors
    /// [`FileError::BadName`], [`FileError::TooLarge`], [`FileError::Io`].
    pub fn read(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, FileError> {
        match read_bounded(&self.join(name)?, max) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the record `name` if it is there.
    ///
    /// # Errors
    /// [`FileError::BadName`], [`FileError::Io`].
    pub fn remove(&self, name: &str) -> Result<(), FileError> {
        remove_if_exists(&self.join(name)?)
    }

    /// The names of all records, sorted, without temp files.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn names(&self) -> Result<Vec<String>, FileError> {
        let mut names: Vec<String> =
            self.entries()?.into_iter().filter_map(|name| name.into_string().ok()).collect();
        names.retain(|name| is_record_name(name));
        names.sort_unstable();
        Ok(names)
    }

    /// Removes temp files that were not modified for `age`, which a crash during a write left behind. `age` must be longer than any write takes.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn remove_leftovers(&self, age: Duration, now: SystemTime) -> Result<(), FileError> {
        for name in self.entries()? {
            let path = self.path.join(&name);
            let is_temp = name.to_str().is_some_and(|name| name.starts_with(TEMP_PREFIX));
            if is_temp && untouched_for(&path, age, now) {
                remove_if_exists(&path)?;
            }
        }
        Ok(())
    }

    fn entries(&self) -> Result<Vec<std::ffi::OsString>, FileError> {
        let entries = std::fs::read_dir(&self.path).map_err(failed("list", &self.path))?;
        entries
            .map(|entry| entry.map(|entry| entry.file_name()).map_err(failed("list", &self.path)))
            .collect()
    }

    fn join(&self, name: &str) -> Result<PathBuf, FileError> {
        if !is_record_name(name) {
            return Err(FileError::BadName { name: printable(name, 64) });
        }
        Ok(self.path.join(OsStr::new(name)))
    }
}

fn is_record_name(name: &str) -> bool {
    (1..=255).contains(&name.len()) && !name.starts_with('.') && !name.contains(['/', '\0'])
}

/// Whether the file was not modified for `age`. False for a file that is gone, or modified in the future.
fn untouched_for(path: &Path, age: Duration, now: SystemTime) -> bool {
    let modified = std::fs::symlink_metadata(path).and_then(|found| found.modified());
    modified.is_ok_and(|at| now.duration_since(at).is_ok_and(|idle| idle >= age))
}

#[cfg(test)]
mod tests;
