//! Files that are there whole or not at all.
//!
//! A record is written to a temp file beside its place, flushed to the disk, renamed, and the directory is
//! flushed: after a crash a reader finds the old bytes or the new ones. A temp file that a crash leaves behind
//! is never read, and [`Dir::remove_leftovers`] clears it away.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::entropy::random;
use crate::text::printable;

/// Every temp file's name begins so.
const TEMP_PREFIX: &str = ".tmp-";

/// A file operation failed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The kernel refused. `action` is what was tried, such as "create".
    #[error("cannot {action} {path}: {source}; check that the path exists, is writable by root and has space", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is larger than any file of its kind.
    #[error("{path} is larger than {max} bytes; it is not one of our files, or it is damaged: remove it", path = path.display())]
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
    /// The text is no single path component.
    #[error(
        "\"{name}\" cannot be a file name: it must be 1 to 255 bytes, not begin with \".\", and hold no \"/\" or NUL"
    )]
    BadName {
        /// The text, escaped and cut.
        name: String,
    },
    /// Others could plant files in a directory that is to be ours alone.
    #[error("{path} must be a directory of user {uid} that nobody else may write to (mode 0700): remove it or fix its owner and mode", path = path.display())]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// The user it must belong to.
        uid: u32,
    },
}

impl FileError {
    /// True if the file or its directory does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FileError + 'a {
    move |source| FileError::Io { action, path: path.to_owned(), source }
}

/// Writes `bytes` to `path` with exactly the permission bits `mode`, all or nothing, and lasting.
///
/// # Errors
/// [`FileError::Io`]; the old file, if any, is then still there and the temp file is gone.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let not_a_file = || FileError::NotAFilePath { path: path.to_owned() };
    let parent = path.parent().ok_or_else(not_a_file)?;
    path.file_name().ok_or_else(not_a_file)?;
    let dir = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };

    let mut temp = TempFile::create(dir, mode)?;
    temp.file.write_all(bytes).map_err(failed("write", &temp.path))?;
    temp.file.sync_all().map_err(failed("flush", &temp.path))?;
    temp.rename_to(path)?;
    sync_dir(dir)
}

/// Replaces the file at `path` with `bytes` (mode 0600), all or nothing, but without waiting for the disk: after a crash of the machine the
/// old bytes, or none, may be there. For what can be made again. The directory is made (0700) if it is missing.
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

/// Removes the file at `path`, for good. It is no error if it is not there.
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

/// The bytes of the file at `path`, at most `max` of them.
///
/// # Errors
/// [`FileError::TooLarge`] past `max`; [`FileError::Io`] (see [`FileError::is_not_found`]).
pub fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    let file = File::open(path).map_err(failed("open", path))?;
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(failed("read", path))?;
    if bytes.len() as u64 > max {
        return Err(FileError::TooLarge { path: path.to_owned(), max });
    }
    Ok(bytes)
}

fn sync_dir(dir: &Path) -> Result<(), FileError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("flush", dir))
}

/// A temp file that is removed again unless it is renamed.
struct TempFile {
    path: PathBuf,
    file: File,
    renamed: bool,
}

impl TempFile {
    fn create(dir: &Path, mode: u32) -> Result<Self, FileError> {
        let path = dir.join(format!("{TEMP_PREFIX}{:016x}", random()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .map_err(failed("create", &path))?;
        let temp = Self { path, file, renamed: false };
        // The umask has taken bits away.
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
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A directory that is ours alone (mode 0700), holding records of mode 0600.
#[derive(Debug, Clone)]
pub struct Dir {
    path: PathBuf,
}

impl Dir {
    /// Opens the directory at `path`; makes it, and what is missing above it, with mode 0700.
    ///
    /// # Errors
    /// [`FileError::NotPrivate`] if it is a symbolic link, of another user, or writable by others.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FileError> {
        let path = path.into();
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed("create", &path))?;
        let found = std::fs::symlink_metadata(&path).map_err(failed("examine", &path))?;
        let own = std::fs::metadata("/proc/self").map_err(failed("examine", Path::new("/proc/self")))?.uid();
        if !found.is_dir() || found.uid() != own || found.mode() & 0o022 != 0 {
            return Err(FileError::NotPrivate { path, uid: own });
        }
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the record `name`, see [`write_atomic`].
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

    /// The names of all records, in order. Temp files are none.
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

    /// Removes temp files not touched for `age`: what a crash in the middle of a write left behind. `age` must be
    /// longer than any write takes.
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

/// A file that is gone, or from the future, counts as in use.
fn untouched_for(path: &Path, age: Duration, now: SystemTime) -> bool {
    let modified = std::fs::symlink_metadata(path).and_then(|found| found.modified());
    modified.is_ok_and(|at| now.duration_since(at).is_ok_and(|idle| idle >= age))
}

#[cfg(test)]
mod tests;
