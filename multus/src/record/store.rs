//! Records on disk.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cni::names::{ContainerId, IfName};
use node::files::{Dir, FileError, read_bounded, remove_with_temps};

use super::content::{Owner, Record};
use super::error::{MAX_RECORD, RecordError};
use super::format;
use crate::plan::Delegate;

/// Writes the record of a sandbox. A crash leaves the whole record or none. A record that could not be read back is refused and not
/// written.
pub fn write(
    cni_dir: &Path,
    container_id: &ContainerId,
    owner: &Owner,
    delegates: &[Delegate],
) -> Result<(), RecordError> {
    let damaged = |e: serde_json::Error| RecordError::Damaged {
        path: file(cni_dir, container_id),
        reason: e.to_string(),
    };
    let bytes = format::to_bytes(owner, delegates).map_err(damaged)?;
    // A record that `read` refuses could never be deleted.
    if bytes.len() > MAX_RECORD {
        return Err(RecordError::TooLarge { size: bytes.len() });
    }
    check_readable(&bytes, delegates).map_err(|reason| RecordError::Unreadable { reason })?;
    Ok(Dir::open(cni_dir)?.write(container_id.as_str(), &bytes)?)
}

/// Adds a network to the record of a sandbox, at its end. The caller holds the sandbox's journal.
pub(crate) fn add_network(
    cni_dir: &Path,
    container_id: &ContainerId,
    owner: &Owner,
    delegate: &Delegate,
) -> Result<(), RecordError> {
    let path = file(cni_dir, container_id);
    let bytes = read_bounded(&path, MAX_RECORD as u64)?;
    let unreadable = |reason| RecordError::Unreadable { reason };
    let bytes = format::with_network(&bytes, owner, delegate).map_err(unreadable)?;
    if bytes.len() > MAX_RECORD {
        return Err(RecordError::TooLarge { size: bytes.len() });
    }
    let record = format::from_bytes(&bytes, &delegate.if_name).map_err(unreadable)?;
    if record.delegates.last().is_none_or(|last| last.if_name != delegate.if_name) {
        return Err(unreadable("it names other interfaces than the plan".to_owned()));
    }
    Ok(Dir::open(cni_dir)?.write(container_id.as_str(), &bytes)?)
}

/// Takes the network on this interface out of the record of a sandbox, if it is there and not the default network. The caller holds the
/// sandbox's journal.
pub(crate) fn remove_network(
    cni_dir: &Path,
    container_id: &ContainerId,
    if_name: &IfName,
) -> Result<(), RecordError> {
    let path = file(cni_dir, container_id);
    let bytes = read_bounded(&path, MAX_RECORD as u64)?;
    let damaged = |reason| RecordError::Damaged { path: path.clone(), reason };
    let record = format::from_bytes(&bytes, if_name).map_err(damaged)?;
    let at = record.delegates.iter().skip(1).position(|recorded| recorded.if_name == *if_name);
    let Some(at) = at.map(|at| at.saturating_add(1)) else { return Ok(()) };
    let bytes = format::without_network(&bytes, at).map_err(damaged)?;
    Ok(Dir::open(cni_dir)?.write(container_id.as_str(), &bytes)?)
}

/// Parses a record as DEL will, and compares the interfaces. The error is what is wrong with it.
fn check_readable(bytes: &[u8], delegates: &[Delegate]) -> Result<(), String> {
    let Some(first) = delegates.first() else { return Err("it has no network".to_owned()) };
    let record = format::from_bytes(bytes, &first.if_name)?;
    let read = record.delegates.iter().map(|recorded| &recorded.if_name);
    if !read.eq(delegates.iter().map(|delegate| &delegate.if_name)) {
        return Err("it names other interfaces than the plan".to_owned());
    }
    Ok(())
}

/// Reads the record of a sandbox; `None` if there is none. `first` is the interface of the default network, which records of upstream
/// do not have.
pub fn read(
    cni_dir: &Path,
    container_id: &ContainerId,
    first: &IfName,
) -> Result<Option<Record>, RecordError> {
    let path = file(cni_dir, container_id);
    let bytes = match read_bounded(&path, MAX_RECORD as u64) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(None),
        // No program writes such a record.
        Err(error @ FileError::TooLarge { .. }) => {
            return Err(RecordError::Damaged { path, reason: error.to_string() });
        }
        Err(error) => return Err(error.into()),
    };
    let record = format::from_bytes(&bytes, first);
    record.map(Some).map_err(|reason| RecordError::Damaged { path, reason })
}

/// Removes the record of a sandbox, if there is one, and what a program left that was killed while it wrote the record.
pub(crate) fn remove(cni_dir: &Path, container_id: &ContainerId) -> Result<(), RecordError> {
    Ok(remove_with_temps(&file(cni_dir, container_id))?)
}

/// Whether a sandbox has a record, or may have one.
pub(crate) fn exists(cni_dir: &Path, container_id: &ContainerId) -> bool {
    file(cni_dir, container_id).try_exists().unwrap_or(true)
}

/// Returns the sandboxes that have a record, and when it was written.
pub(crate) fn all(cni_dir: &Path) -> Result<Vec<(ContainerId, SystemTime)>, RecordError> {
    let entries = match std::fs::read_dir(cni_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(FileError::Io { action: "list", path: cni_dir.to_owned(), source }.into()),
    };
    let of = |entry: std::fs::DirEntry| {
        // Temporary files of an interrupted write begin with a dot, which no container id does.
        let container_id = ContainerId::parse(entry.file_name().to_str()?).ok()?;
        let found = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some((container_id, found.modified().ok()?))
    };
    let mut records: Vec<_> = entries.flatten().filter_map(of).collect();
    records.sort();
    Ok(records)
}

fn file(cni_dir: &Path, container_id: &ContainerId) -> PathBuf {
    cni_dir.join(container_id.as_str())
}
