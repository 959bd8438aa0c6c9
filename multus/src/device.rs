//! Device information files (device information spec 1.1.0): a plugin that is given a device leaves a description of it for
//! network-status.

use std::path::{Path, PathBuf};

use cni::names::{ContainerId, IfName};
use node::files::{FileError, read_bounded, remove_if_exists};
use serde_json::{Map, Value};

const FOLDER: &str = "/var/run/k8s.cni.cncf.io/devinfo/cni";
const MAX_FILE: u64 = 64 << 10;

/// The file that the plugin of one attachment writes.
pub fn file(network: &str, container_id: &ContainerId, if_name: &IfName) -> PathBuf {
    let name = format!("{network}-{container_id}_{if_name}").replace('/', "-");
    Path::new(FOLDER).join(name)
}

/// What is in it; a plugin need not write one.
pub fn read(file: &Path) -> Option<Map<String, Value>> {
    cni::json::parse_object(&read_bounded(file, MAX_FILE).ok()?).ok()
}

/// Removes it, if it is there.
pub fn remove(file: &Path) -> Result<(), FileError> {
    match remove_if_exists(file) {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_name_has_no_slash() {
        let (id, if_name) = (ContainerId::parse("c1").unwrap(), IfName::parse("net1").unwrap());
        let path = file("default/sriov-net", &id, &if_name);
        assert_eq!(path.to_str(), Some("/var/run/k8s.cni.cncf.io/devinfo/cni/default-sriov-net-c1_net1"));
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
