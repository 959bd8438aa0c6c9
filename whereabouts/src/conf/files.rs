//! Finds the flat file and the node's name on the node.

use std::path::{Path, PathBuf};

use node::files::{FileError, read_bounded};

/// The paths of the flat file, in order. The network's own `configuration_path` comes before them.
const FLAT_FILES: &[&str] = &[
    "/etc/kubernetes/cni/net.d/whereabouts.d/whereabouts.conf",
    "/etc/cni/net.d/whereabouts.d/whereabouts.conf",
    "/host/etc/cni/net.d/whereabouts.d/whereabouts.conf",
    "/var/lib/rancher/k3s/agent/etc/cni/net.d/whereabouts.d/whereabouts.conf",
];

const FLAT_FILE_NAME: &str = "whereabouts.conf";
const NODE_NAME_FILE: &str = "nodename";

/// The limit for a flat file, in bytes. Real ones have a few hundred.
const MAX_FLAT_FILE: u64 = 1 << 20;

/// A flat file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The path.
    pub path: PathBuf,
    /// The content.
    pub bytes: Vec<u8>,
}

/// Reads the flat file: the first that exists of `configuration_path` (a file, or a directory that contains one) and the standard paths.
/// `None` if there is none.
///
/// # Errors
/// [`FileError`] if the file exists but cannot be read. Later paths are then not tried: they may hold another configuration.
pub fn find_flat_file(configuration_path: Option<&Path>) -> Result<Option<Found>, FileError> {
    find_in(configuration_path, FLAT_FILES)
}

fn find_in(configuration_path: Option<&Path>, paths: &[&str]) -> Result<Option<Found>, FileError> {
    let configured = configuration_path.map(flat_file_at);
    for path in configured.into_iter().chain(paths.iter().map(PathBuf::from)) {
        match read_bounded(&path, MAX_FLAT_FILE) {
            Ok(bytes) => return Ok(Some(Found { path, bytes })),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// `configuration_path` names the flat file in some configurations and its directory in others; the installer writes the directory.
fn flat_file_at(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(FLAT_FILE_NAME) } else { path.to_owned() }
}

/// The file with the node's name, which the installer writes into the flat file's directory.
fn node_name_file(configuration_path: &Path) -> PathBuf {
    if configuration_path.is_dir() {
        return configuration_path.join(NODE_NAME_FILE);
    }
    configuration_path.with_file_name(NODE_NAME_FILE)
}

/// The name of this node: the variable `NODENAME`, the file beside the flat file, or the host name, in this order. Empty texts do not count.
pub fn node_name(configuration_path: Option<&Path>) -> Option<String> {
    let from_env = std::env::var("NODENAME").ok();
    let file = configuration_path.map(node_name_file);
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let candidates = [from_env, file.as_deref().and_then(read), read(Path::new("/etc/hostname"))];
    // Files end with a newline.
    let mut names = candidates.into_iter().flatten().map(|name| name.trim().to_owned());
    names.find(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{find_in, node_name_file};
    use node::files::write_atomic;

    fn write(path: &std::path::Path, text: &str) -> String {
        write_atomic(path, text.as_bytes(), 0o600).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn the_first_existing_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (write(&dir.path().join("a"), "1"), write(&dir.path().join("b"), "2"));
        let missing = dir.path().join("missing");
        let missing = missing.to_str().unwrap();
        assert_eq!(find_in(None, &[missing, &b, &a]).unwrap().unwrap().bytes, b"2");
        assert_eq!(find_in(Some(a.as_ref()), &[&b]).unwrap().unwrap().bytes, b"1");
        assert_eq!(find_in(Some(missing.as_ref()), &[&b]).unwrap().unwrap().bytes, b"2");
        assert_eq!(find_in(Some(missing.as_ref()), &[missing]).unwrap(), None);
    }

    #[test]
    fn configuration_path_may_be_a_directory_or_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = write(&dir.path().join("whereabouts.conf"), "{}");
        let found = find_in(Some(dir.path()), &[]).unwrap().unwrap();
        assert_eq!(found.path.to_str().unwrap(), file);
        let name = dir.path().join("nodename");
        assert_eq!(node_name_file(dir.path()), name);
        assert_eq!(node_name_file(file.as_ref()), name);
    }

    #[test]
    fn an_unreadable_file_is_an_error_and_later_paths_are_not_tried() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("whereabouts.conf")).unwrap();
        let other = write(&dir.path().join("other"), "{}");
        assert!(find_in(Some(dir.path()), &[&other]).is_err());
    }
}
