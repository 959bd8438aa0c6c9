//! A log file that several processes write to, and that is rotated at a size. The names of rotated files, and what stays of them, are those of
//! lumberjack, with which Multus writes its log.

mod backups;
mod compress;
mod identity;
mod rotation;

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::error::{FileError, failed};

use identity::is_at;

pub use compress::COMPRESS_AFTER;
pub use rotation::{Compression, Rotation};

/// How long a line waits for the lock of another process, which holds it for the time of one write or one rotation.
const LOCK_LIMIT: Duration = Duration::from_millis(100);

/// How often a line starts again because another process has rotated the file.
const ATTEMPTS: usize = 8;

/// A log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Its path. The directory is made if it is missing.
    pub path: PathBuf,
    /// When it is rotated.
    pub rotation: Rotation,
}

/// Where a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// In the file that was there, or in the first one.
    ToFile,
    /// In a new file, because this call has rotated the one before.
    ToNewFile,
}

/// Who may write to a log file at the moment.
enum Lock {
    /// This process.
    Held,
    /// Another process, for longer than [`LOCK_LIMIT`].
    Busy,
}

impl LogFile {
    /// Appends `line`, which ends with a line end, at the time `now`. Rotates the file before, if the line would make it too large.
    ///
    /// Any number of processes may do this: no line is lost, none is there twice, and none is in the middle of another.
    ///
    /// # Errors
    /// [`FileError::NotALog`] if the path is a symbolic link, no regular file, a file of another user, or one with a second name;
    /// [`FileError::Io`].
    pub fn append(&self, line: &str, now: Timestamp) -> Result<Appended, FileError> {
        let (mut file, mut appended) = (self.open()?, Appended::ToFile);
        for _ in 0..ATTEMPTS {
            match lock(&file).map_err(failed("lock", &self.path))? {
                // The kernel appends a write as a whole. At worst the line is in the file that the other process is rotating.
                Lock::Busy => break,
                Lock::Held if !is_at(&self.path, &file)? => file = self.open()?,
                Lock::Held if self.has_room(&file, line)? => break,
                Lock::Held => match self.rotate(now) {
                    Ok(()) => (file, appended) = (self.open()?, Appended::ToNewFile),
                    // A file that is too large is better than a line that is lost.
                    Err(_) => break,
                },
            }
        }
        file.write_all(line.as_bytes()).map_err(failed("write", &self.path))?;
        Ok(appended)
    }

    /// Compresses each rotated file that is not compressed yet. It skips a file if its last line or its rotation is less than a second old. So wait
    /// for [`COMPRESS_AFTER`] after a rotation, then call this. Compressing 100 MiB takes seconds: do not let a pod wait for it. Several processes
    /// may call it at the same time. If a process is killed during a call, the next call compresses the rest.
    ///
    /// # Errors
    /// [`FileError`] of the first file that cannot be compressed. It stays as it is, and so do those after it.
    pub fn compress_backups(&self) -> Result<(), FileError> {
        compress::backups_of(&self.path)
    }

    /// Opens the file, which is made if it is missing. The lock of a file that is dropped ends.
    fn open(&self) -> Result<File, FileError> {
        let mut options = OpenOptions::new();
        // O_NONBLOCK: a FIFO without a reader must not hold the caller.
        options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let opened = match options.open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if let Some(dir) = self.path.parent() {
                    let made = DirBuilder::new().recursive(true).mode(0o755).create(dir);
                    made.map_err(failed("create", dir))?;
                }
                options.open(&self.path)
            }
            opened => opened,
        };
        let not_a_log = || FileError::NotALog { path: self.path.clone() };
        let file = match opened {
            // ELOOP is what O_NOFOLLOW answers; ENXIO is a FIFO without a reader, or a socket.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO)) => {
                return Err(not_a_log());
            }
            opened => opened.map_err(failed("open", &self.path))?,
        };
        let found = file.metadata().map_err(failed("open", &self.path))?;
        // A second name may be that of a file which must not have our lines.
        match found.is_file() && found.nlink() <= 1 && found.uid() == own_uid()? {
            true => Ok(file),
            false => Err(not_a_log()),
        }
    }

    fn has_room(&self, file: &File, line: &str) -> Result<bool, FileError> {
        let size = file.metadata().map_err(failed("read", &self.path))?.len();
        Ok(size == 0 || size.saturating_add(line.len() as u64) <= self.rotation.max_bytes)
    }

    /// Renames the file to that of a backup, and removes backups that are too many or too old. The caller holds its lock.
    fn rotate(&self, now: Timestamp) -> Result<(), FileError> {
        let backup = self.reserve(now)?;
        std::fs::rename(&self.path, &backup).map_err(failed("rename", &self.path))?;
        self.prune(now);
        Ok(())
    }

    /// An empty file with the name of a backup. Processes that rotate in the same millisecond must not take one name.
    fn reserve(&self, now: Timestamp) -> Result<PathBuf, FileError> {
        let name = self.path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| FileError::NotAFilePath { path: self.path.clone() })?;
        let mut at = now;
        loop {
            let path = self.path.with_file_name(backups::name(name, at));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                // Looked for after the file was made: a process that compresses a file of this name removes it last.
                Ok(_) if !backups::compressed(&path).exists() => return Ok(path),
                // A clock that was set back gives a name again. Compressed, this file would replace the one before.
                Ok(_) => std::fs::remove_file(&path).map_err(failed("remove", &path))?,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed("create", &path)(error)),
            }
            at += Duration::from_millis(1);
        }
    }

    /// Backups that cannot be removed stay until the next rotation.
    fn prune(&self, now: Timestamp) {
        let (Some(dir), Some(name)) = (self.path.parent(), self.path.file_name()) else { return };
        let (Ok(entries), Some(name)) = (std::fs::read_dir(dir), name.to_str()) else { return };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        for name in backups::expired(name, names.collect(), now, self.rotation) {
            let _ = std::fs::remove_file(dir.join(name));
        }
    }
}

/// Takes the file's lock. It ends with the file, also if the process is killed.
fn lock(file: &File) -> Result<Lock, std::io::Error> {
    let end = Instant::now() + LOCK_LIMIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock::Held),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() >= end => return Ok(Lock::Busy),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// The user of this process.
fn own_uid() -> Result<u32, FileError> {
    let path = Path::new("/proc/self");
    Ok(std::fs::metadata(path).map_err(failed("read", path))?.uid())
}

#[cfg(test)]
mod tests;
