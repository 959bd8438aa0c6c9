//! A private directory of records.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::{FileError, failed};
use crate::file::{NAME_MAX, TEMP_PREFIX, read_bounded, remove_if_exists, remove_with_temps, write_atomic};

/// A directory that only this user may write to (mode 0700), with records of mode 0600.
#[derive(Debug, Clone)]
pub struct Dir {
    path: PathBuf,
}

impl Dir {
    /// Opens the directory at `path`. Creates it, and missing directories above it, with mode 0700.
    ///
    /// # Errors
    /// [`FileError::NotPrivate`] if it is a symbolic link, or another user owns it, or others may write to it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FileError> {
        let path = path.into();
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed("create", &path))?;
        // Not `metadata`: that follows a symbolic link, and another user may have planted one.
        let found = std::fs::symlink_metadata(&path).map_err(failed("examine", &path))?;
        // The owner of /proc/self is the effective user of this process; std has no geteuid.
        let own = std::fs::metadata("/proc/self").map_err(failed("examine", Path::new("/proc/self")))?.uid();
        if !found.is_dir() || found.uid() != own || found.mode() & 0o022 != 0 {
            return Err(FileError::NotPrivate { path, uid: own });
        }
        Ok(Self { path })
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the record `name`; see [`write_atomic`].
    ///
    /// # Errors
    /// [`FileError::BadName`], [`FileError::Io`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        write_atomic(&self.join(name)?, bytes, 0o600)
    }

    /// Returns the record `name`, at most `max` bytes, or `None` if there is none.
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

    /// Removes the record `name` if it exists, and the temp files that killed writes of it left.
    ///
    /// # Errors
    /// [`FileError::BadName`], [`FileError::Io`].
    pub fn remove(&self, name: &str) -> Result<(), FileError> {
        remove_with_temps(&self.join(name)?)
    }

    /// Moves the record `name` to the directory `to`, where it replaces one of this name, without waiting for the disk. Nothing happens if it does
    /// not exist.
    ///
    /// # Errors
    /// [`FileError::BadName`], [`FileError::Io`]; the latter also if `to` is on another file system.
    pub fn move_to(&self, name: &str, to: &Dir) -> Result<(), FileError> {
        let (from, to) = (self.join(name)?, to.join(name)?);
        match std::fs::rename(&from, &to) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            moved => moved.map_err(failed("move", &from)),
        }
    }

    /// The names of all records, sorted. Temp files are left out.
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

    /// Removes temp files that nobody has written to for `age`: a crash during a write leaves one behind. `age` must be longer than
    /// any write takes.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn remove_leftovers(&self, age: Duration, now: SystemTime) -> Result<(), FileError> {
        for name in self.entries()? {
            let path = self.path.join(&name);
            let is_temp = name.to_str().is_some_and(|name| name.starts_with(TEMP_PREFIX));
            if is_temp && is_older(&path, age, now) {
                remove_if_exists(&path)?;
            }
        }
        Ok(())
    }

    fn entries(&self) -> Result<Vec<OsString>, FileError> {
        let entries = std::fs::read_dir(&self.path).map_err(failed("list", &self.path))?;
        entries
            .map(|entry| entry.map(|entry| entry.file_name()).map_err(failed("list", &self.path)))
            .collect()
    }

    fn join(&self, name: &str) -> Result<PathBuf, FileError> {
        if !is_record_name(name) {
            return Err(FileError::BadName { name: name.chars().take(64).collect() });
        }
        Ok(self.path.join(name))
    }
}

/// Whether `name` is one path component and no temp file.
fn is_record_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len()) && !name.starts_with('.') && !name.contains(['/', '\0'])
}

/// Whether the last write is at least `age` ago. `false` for a file that is gone, and for one whose time is in the future: the clock
/// may have been set back during a write.
fn is_older(path: &Path, age: Duration, now: SystemTime) -> bool {
    let modified = std::fs::symlink_metadata(path).and_then(|found| found.modified());
    modified.is_ok_and(|at| now.duration_since(at).is_ok_and(|idle| idle >= age))
}
