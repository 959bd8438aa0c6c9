//! Whether an open file is still the one at its path.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::error::{FileError, failed};

/// Whether the path still names this file.
pub(super) fn is_at(path: &Path, file: &File) -> Result<bool, FileError> {
    let own = file.metadata().map_err(failed("read", path))?;
    match std::fs::symlink_metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("read", path)(error)),
    }
}
