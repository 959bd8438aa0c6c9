//! Rotated files become smaller, as lumberjack makes them: `multus-2026-11-28T23-10-00.000.log` becomes that name with `.gz`.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flate2::Compression as Level;
use flate2::write::GzEncoder;

use super::backups;
use super::identity::is_at;
use crate::error::{FileError, failed};
use crate::file::{directory_of, remove_temps, sync_dir, temp_file};

/// How long after a rotation its file is to be compressed.
pub const COMPRESS_AFTER: Duration = Duration::from_secs(2);

/// How long ago a rotated file must have got its last line and its name. A process that waited for the lock of the file may append a line after the
/// rotation.
const QUIET: Duration = Duration::from_secs(1);

/// Compresses the rotated files of the log `path`.
///
/// # Errors
/// [`FileError`] of the first one that cannot be compressed.
pub(super) fn backups_of(path: &Path) -> Result<(), FileError> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(FileError::NotAFilePath { path: path.to_owned() });
    };
    let entries = std::fs::read_dir(dir).map_err(failed("list", dir))?;
    let names: Result<Vec<_>, io::Error> =
        entries.map(|entry| Ok(entry?.file_name().into_string().ok())).collect();
    let names: Vec<String> = names.map_err(failed("list", dir))?.into_iter().flatten().collect();
    // What a killed process left of a file that was removed meanwhile.
    let is_orphan = |target: &str| {
        let plain = backups::plain_of(name, target);
        plain.is_some_and(|plain| !names.iter().any(|one| one == plain))
    };
    remove_temps(dir, is_orphan)?;
    backups::uncompressed(name, names.iter().cloned()).iter().try_for_each(|name| compress(&dir.join(name)))
}

fn compress(path: &Path) -> Result<(), FileError> {
    let mut options = OpenOptions::new();
    // As for the log itself: a link or a FIFO with this name is not followed, and does not hold the caller.
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let mut from = match options.open(path) {
        // Another process has compressed or removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(failed("open", path))?,
    };
    let found = from.metadata().map_err(failed("read", path))?;
    // An empty one is a name that another process has reserved: in a moment the log gets it, and must not be removed in the place of this file.
    if !found.is_file() || found.len() == 0 {
        return Ok(());
    }
    if !is_quiet(&found) {
        return Ok(());
    }
    match from.try_lock() {
        Ok(()) => {}
        // Another process compresses it, or still writes to it.
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(error)) => return Err(failed("lock", path)(error)),
    }
    // Another process may have finished it between the opening and the lock.
    if !is_at(path, &from)? {
        return Ok(());
    }
    let target = backups::compressed(path);
    // Who held the lock before may have been killed.
    if let (Some(dir), Some(own)) = (target.parent(), target.file_name().and_then(|name| name.to_str())) {
        remove_temps(dir, |name| name == own)?;
    }
    let temp = temp_file(&target, &[], 0o600)?;
    let read = copy(&mut from, temp.as_file()).map_err(failed("compress", path))?;
    // It is the only copy soon.
    temp.as_file().sync_all().map_err(failed("flush", temp.path()))?;
    // A line that came late would be lost, and a file that was removed meanwhile would come back. The next call sees to it.
    let is_unchanged =
        || Ok(is_at(path, &from)? && from.metadata().map_err(failed("read", path))?.len() == read);
    if !is_unchanged()? {
        return Ok(());
    }
    temp.persist(&target).map_err(|error| failed("replace", &target)(error.error))?;
    sync_dir(directory_of(&target)?)?;
    if !is_unchanged()? {
        return Ok(());
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Whether the last line and the rotation are so old that no process still has a line for this file.
fn is_quiet(found: &Metadata) -> bool {
    let since = |seconds: i64, nanoseconds: i64| {
        let at = Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanoseconds).ok()?);
        SystemTime::now().duration_since(UNIX_EPOCH).ok()?.checked_sub(at)
    };
    // The second is the time of the rename. A time in the future says nothing.
    let ages = [since(found.mtime(), found.mtime_nsec()), since(found.ctime(), found.ctime_nsec())];
    ages.into_iter().flatten().all(|age| age >= QUIET)
}

/// Copies what is in `from`, compressed. Returns how many bytes were read.
fn copy(from: &mut File, to: &File) -> io::Result<u64> {
    // The lines of a log repeat each other, so the fastest level makes it small enough.
    let mut encoder = GzEncoder::new(BufWriter::new(to), Level::fast());
    let read = io::copy(from, &mut encoder)?;
    encoder.finish()?.flush()?;
    Ok(read)
}
