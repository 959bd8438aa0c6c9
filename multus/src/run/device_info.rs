//! Device files on disk (device information spec 1.1.0): a plugin that gets a device writes one, and network-status shows it.

use std::path::Path;

use node::files::{FileError, read_bounded, remove_if_exists};
use serde_json::{Map, Value};

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// Returns the content of a device file. `None` if it is missing or not a JSON object: plugins need not write one.
pub(crate) fn read(file: &Path) -> Option<Map<String, Value>> {
    cni::json::parse_object(&read_bounded(file, MAX_FILE).ok()?).ok()
}

/// Removes a device file. A missing file, or a missing folder, is no error.
pub(crate) fn remove(file: &Path) -> Result<(), FileError> {
    match remove_if_exists(file) {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_and_removed_and_may_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        assert_eq!(read(&path), None);
        node::files::write_atomic(&path, br#"{"type":"pci"}"#, 0o600).unwrap();
        assert_eq!(read(&path).unwrap()["type"], "pci");
        remove(&path).unwrap();
        remove(&path).unwrap();
        remove(&folder.path().join("no/such")).unwrap();
    }
}
