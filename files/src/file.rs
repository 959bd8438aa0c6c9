//! One file: an atomic write, a read with a limit, a removal that may be repeated.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::{FileError, failed};

/// The start of every temp file's name. The leading dot keeps it out of [`Dir::names`](crate::Dir::names).
pub(crate) const TEMP_PREFIX: &str = ".tmp-";

/// The random characters at the end of a temp file's name.
const RANDOM_CHARACTERS: usize = 8;

/// The longest file name of the kernel, in bytes (NAME_MAX).
pub(crate) const NAME_MAX: usize = 255;

/// The start of the names of the temp files for the file `name`. For a name so long that the temp file's name would not fit, it is the start
/// of any temp file's name.
fn temp_prefix(name: &str) -> String {
    let prefix = format!("{TEMP_PREFIX}{name}-");
    if prefix.len() + RANDOM_CHARACTERS <= NAME_MAX { prefix } else { TEMP_PREFIX.to_owned() }
}

/// The name of the file that a temp file was for. `None` if it is no temp file, and if the file's name was too long to be in it.
pub(crate) fn target_of_temp(temp: &str) -> Option<&str> {
    let rest = temp.strip_prefix(TEMP_PREFIX)?;
    let end = rest.len().checked_sub(RANDOM_CHARACTERS)?;
    // The number of characters tells the temp files of "a" from those of "a-b".
    rest.get(..end)?.strip_suffix('-')
}

/// Writes `bytes` to `path` with exactly the permission bits `mode`. The write is atomic, and the file survives a power cut once
/// this returns.
///
/// # Errors
/// [`FileError::Io`]; the old file, if any, is then still there and the temp file is gone.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let temp = temp_file(path, bytes, mode)?;
    // Without this flush the rename can reach the disk before the bytes: a power cut would leave an empty file under the final name.
    temp.as_file().sync_all().map_err(failed("flush", temp.path()))?;
    rename(temp, path)?;
    // The rename itself is an entry of the directory, which has a flush of its own.
    sync_dir(directory_of(path)?)
}

/// Writes `bytes` to `path` with mode 0600. The write is atomic, but does not wait for the disk: after a power cut the old file, or
/// none, may be there. Use it for files that can be made again. Creates the directory (0700) if it is missing.
///
/// # Errors
/// [`FileError::Io`].
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let dir = directory_of(path)?;
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("create", dir))?;
    rename(temp_file(path, bytes, 0o600)?, path)
}

/// Removes the file at `path` and flushes the directory, so that the file stays removed after a power cut. A missing file is no error.
///
/// # Errors
/// [`FileError::Io`].
pub fn remove_if_exists(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Ok(()) => sync_dir(directory_of(path)?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove", path)(error)),
    }
}

/// Removes the temp files that killed writes left in `folder`, of the files whose name `is_of` accepts. A missing folder has none.
///
/// # Errors
/// [`FileError::Io`].
pub fn remove_temps(folder: &Path, is_of: impl Fn(&str) -> bool) -> Result<(), FileError> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed("list", folder))?,
    };
    for entry in entries {
        let entry = entry.map_err(failed("list", folder))?;
        if entry.file_name().to_str().and_then(target_of_temp).is_some_and(&is_of) {
            remove_if_exists(&entry.path())?;
        }
    }
    Ok(())
}

/// As [`remove_if_exists`], and before it removes the temp files that killed writes of the file left.
///
/// # Errors
/// [`FileError::Io`].
pub fn remove_with_temps(path: &Path) -> Result<(), FileError> {
    let name = path.file_name();
    remove_temps(directory_of(path)?, |target| name.is_some_and(|name| name == target))?;
    remove_if_exists(path)
}

/// The most room that is made for a file before its first byte is read.
const MAX_EXPECTED: u64 = 64 << 10;

/// Returns the bytes of the file at `path`, at most `max` of them.
///
/// # Errors
/// [`FileError::TooLarge`] past `max`; [`FileError::Io`] (see [`FileError::is_not_found`]).
pub fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    let file = File::open(path).map_err(failed("open", path))?;
    // Room for what is probably there, and one byte more for the read that finds the end: two reads. A vector that grows needs one for each doubling.
    let expected = file.metadata().map_or(0, |metadata| metadata.len().min(max).min(MAX_EXPECTED));
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0).saturating_add(1));
    // One byte more than allowed tells "too large" from "exactly at the limit". The size in the inode would not do: it can change
    // while we read, and device files have none.
    file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(failed("read", path))?;
    if bytes.len() as u64 > max {
        return Err(FileError::TooLarge { path: path.to_owned(), max });
    }
    Ok(bytes)
}

/// The directory of `path`; "." for a bare file name.
pub(crate) fn directory_of(path: &Path) -> Result<&Path, FileError> {
    let parent = path.parent().ok_or_else(|| FileError::NotAFilePath { path: path.to_owned() })?;
    Ok(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}

/// Writes `bytes` to a new temp file in the directory of `path`: a rename is atomic only within one file system. The file is removed when
/// the value is dropped before the rename. Its name contains that of the file, so that the file's removal finds what a crash left.
pub(crate) fn temp_file(path: &Path, bytes: &[u8], mode: u32) -> Result<NamedTempFile, FileError> {
    let name = path.file_name().ok_or_else(|| FileError::NotAFilePath { path: path.to_owned() })?;
    let dir = directory_of(path)?;
    let mut temp = tempfile::Builder::new()
        .prefix(&temp_prefix(&name.to_string_lossy()))
        .rand_bytes(RANDOM_CHARACTERS)
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(dir)
        .map_err(failed("create a file in", dir))?;
    // open(2) clears the bits of the umask; chmod does not.
    temp.as_file()
        .set_permissions(Permissions::from_mode(mode))
        .map_err(failed("set the mode of", temp.path()))?;
    let written = temp.write_all(bytes);
    written.map_err(failed("write", temp.path()))?;
    Ok(temp)
}

fn rename(temp: NamedTempFile, path: &Path) -> Result<(), FileError> {
    temp.persist(path).map_err(|error| failed("replace", path)(error.error))?;
    Ok(())
}

/// Flushes the entries of a directory to the disk.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), FileError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("flush", dir))
}
