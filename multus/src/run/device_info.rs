//! Device files on disk (device information spec 1.1.0): a plugin that gets a device writes one, and network-status shows it.

use std::path::Path;

use node::files::{FileError, read_bounded, remove_with_temps, write_atomic};
use serde_json::{Map, Value};

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// Returns the content of a device file. `None` if it is missing or not a JSON object: plugins need not write one.
pub(crate) fn read(file: &Path) -> Option<Map<String, Value>> {
    cni::json::parse_object(&read_bounded(file, MAX_FILE).ok()?).ok()
}

/// Copies the file of a device plugin to that of an attachment, where the plugins look for it. Without one there is nothing to copy: not every
/// device plugin writes it. An older file of the attachment is replaced: it describes what an earlier ADD had.
pub(crate) fn copy(of_device_plugin: &Path, of_attachment: &Path) -> Result<(), FileError> {
    let bytes = match read_bounded(of_device_plugin, MAX_FILE) {
        Err(error) if error.is_not_found() => return Ok(()),
        other => other?,
    };
    if let Some(folder) = of_attachment.parent() {
        // If this fails, the write fails with a reason that names the folder.
        let _ = std::fs::create_dir_all(folder);
    }
    write_atomic(of_attachment, &bytes, 0o444)
}

/// Removes a device file. A missing file, or a missing folder, is no error.
pub(crate) fn remove(file: &Path) -> Result<(), FileError> {
    match remove_with_temps(file) {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_file_of_a_device_plugin_is_copied_for_readers_only() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("dp"), folder.path().join("cni/x"));
        copy(&from, &to).unwrap();
        assert!(!to.exists());
        for text in [r#"{"type":"pci"}"#, r#"{"type":"vdpa"}"#] {
            write_atomic(&from, text.as_bytes(), 0o600).unwrap();
            copy(&from, &to).unwrap();
            assert_eq!(std::fs::read_to_string(&to).unwrap(), text);
            assert_eq!(to.metadata().unwrap().permissions().mode() & 0o777, 0o444);
        }
    }

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
