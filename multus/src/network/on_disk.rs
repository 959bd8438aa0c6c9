//! Networks from files of the node: by name in `confDir`, or by path.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use node::files::{FileError, read_bounded};
use serde_json::{Map, Value};

use super::types::Network;

/// Largest file that is read, in bytes. A configuration has some KiB.
const MAX_FILE: u64 = 1 << 20;

/// A network cannot be read from a file.
#[derive(Debug, thiserror::Error)]
pub enum OnDiskError {
    /// The folder is missing, or has no configuration.
    #[error("No networks found in {}", folder.display())]
    Empty {
        /// The folder.
        folder: PathBuf,
    },
    /// No configuration in the folder has this name.
    #[error("no network available in the name {name} in cni dir {}", folder.display())]
    NoSuchNetwork {
        /// The name.
        name: String,
        /// The folder.
        folder: PathBuf,
    },
    /// The path is a directory without a configuration.
    #[error("no .conf, .json or .conflist file in directory {}", folder.display())]
    NoFile {
        /// The directory.
        folder: PathBuf,
    },
    /// The path is neither a file nor a directory.
    #[error("CNI configuration path is not a regular file: {}", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file is not JSON, or not a network.
    #[error("Error loading CNI {} file {}: {reason}", kind(path), path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

fn kind(path: &Path) -> &'static str {
    if is_list(path) { "conflist" } else { "config" }
}

/// Returns the first network in `folder`, in the order of file names, whose configuration has this `name`. An earlier file that is not
/// JSON is an error, because it may be the one that should have the name.
pub fn by_name(folder: &Path, name: &str) -> Result<Network, OnDiskError> {
    let files = files_of(folder)?;
    if files.is_empty() {
        return Err(OnDiskError::Empty { folder: folder.to_owned() });
    }
    for path in files {
        let mut object = read(&path)?;
        cni::json::fold_keys(&mut object, &["name"]);
        if object.get("name").and_then(Value::as_str) == Some(name) {
            return network(&path, object);
        }
    }
    Err(OnDiskError::NoSuchNetwork { name: name.to_owned(), folder: folder.to_owned() })
}

/// Returns the network at `path`: a list and the plugins in its drop-in directory, a single configuration, or the first file of a
/// directory.
pub fn by_path(path: &Path) -> Result<Network, OnDiskError> {
    if path.is_dir() {
        let first = files_of(path)?.into_iter().next();
        let first = first.ok_or_else(|| OnDiskError::NoFile { folder: path.to_owned() })?;
        return by_path(&first);
    }
    // Reading a FIFO or a device could block without end.
    if path.exists() && !path.is_file() {
        return Err(OnDiskError::NotAFile { path: path.to_owned() });
    }
    let mut object = read(path)?;
    if is_list(path) {
        append_drop_ins(path, &mut object)?;
    }
    network(path, object)
}

/// Appends the plugins in `<directory of the list>/<name of the list>/*.conf`, in the order of file names, unless the list has
/// `loadOnlyInlinedPlugins` (CNI spec 1.1.0).
fn append_drop_ins(path: &Path, list: &mut Map<String, Value>) -> Result<(), OnDiskError> {
    cni::json::fold_keys(list, &["name", "plugins", "loadOnlyInlinedPlugins"]);
    let only_inlined = match list.get("loadOnlyInlinedPlugins") {
        Some(Value::Bool(only)) => *only,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        _ => false,
    };
    let name = list.get("name").and_then(Value::as_str).map(cni::names::NetworkName::parse);
    // The name becomes part of a path, so it must be a valid one. An invalid one is refused later, with the list.
    let (false, Some(Ok(name)), Some(parent)) = (only_inlined, name, path.parent()) else { return Ok(()) };
    let mut drop_ins = Vec::new();
    let folder = parent.join(name.as_str());
    for file in files_of(&folder)?.iter().filter(|file| has_extension(file, &["conf"])) {
        drop_ins.push(Value::Object(read(file)?));
    }
    match list.entry("plugins").or_insert_with(|| Value::Array(Vec::new())) {
        // The plugins of the list itself run first.
        Value::Array(plugins) => plugins.append(&mut drop_ins),
        _ => return Err(unusable(path, "\"plugins\" must be a list")),
    }
    Ok(())
}

/// The configuration files of a folder in the order of names. A folder that is missing has none.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, OnDiskError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        // The node has no networks of its own, or the list has no drop-in directory.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(source) => return Err(FileError::Io { action: "list", path: folder.to_owned(), source }.into()),
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| has_extension(path, &["conf", "json", "conflist"]) && path.is_file())
        .collect();
    files.sort();
    Ok(files)
}

fn has_extension(path: &Path, allowed: &[&str]) -> bool {
    path.extension().and_then(OsStr::to_str).is_some_and(|extension| allowed.contains(&extension))
}

fn is_list(path: &Path) -> bool {
    has_extension(path, &["conflist"])
}

fn read(path: &Path) -> Result<Map<String, Value>, OnDiskError> {
    let bytes = read_bounded(path, MAX_FILE)?;
    cni::json::parse_object(&bytes).map_err(|e| unusable(path, &format!("not a JSON object: {e}")))
}

fn network(path: &Path, object: Map<String, Value>) -> Result<Network, OnDiskError> {
    Network::from_object(object, None).map_err(|e| unusable(path, &e.msg))
}

fn unusable(path: &Path, reason: &str) -> OnDiskError {
    OnDiskError::Unusable { path: path.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    fn folder(files: &[(&str, Value)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            put(folder.path(), name, &content.to_string());
        }
        folder
    }

    fn put(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        node::files::write_atomic(&path, text.as_bytes(), 0o600).unwrap();
    }

    fn types(network: &Network) -> Vec<&str> {
        network.list.plugins.iter().map(|p| p.plugin_type.as_str()).collect()
    }

    #[test]
    fn a_network_is_found_by_the_name_in_its_file_and_the_first_file_wins() {
        let folder = folder(&[
            ("30.conf", json!({"name": "a", "type": "late"})),
            ("20.json", json!({"NAME": "a", "type": "first"})),
            ("10.conflist", json!({"name": "b", "plugins": [{"type": "list"}]})),
            ("00.txt", json!("not read")),
        ]);
        assert_eq!(types(&by_name(folder.path(), "a").unwrap()), ["first"]);
        assert_eq!(by_name(folder.path(), "b").unwrap().label, "b");
    }

    #[test]
    fn a_name_that_is_not_found_is_reported_in_upstreams_words() {
        let empty = tempfile::tempdir().unwrap();
        let shown = empty.path().display();
        assert_eq!(
            by_name(empty.path(), "a").unwrap_err().to_string(),
            format!("No networks found in {shown}")
        );
        assert_eq!(
            by_name(&empty.path().join("x"), "a").unwrap_err().to_string(),
            format!("No networks found in {shown}/x")
        );
        put(empty.path(), "1.conf", "{}");
        let error = by_name(empty.path(), "a").unwrap_err().to_string();
        assert_eq!(error, format!("no network available in the name a in cni dir {shown}"));
        put(empty.path(), "0.conflist", "{");
        let error = by_name(empty.path(), "a").unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("Error loading CNI conflist file {shown}/0.conflist: ")),
            "{error}"
        );
    }

    #[test]
    fn a_list_by_path_has_the_plugins_of_its_drop_in_directory() {
        let list =
            |only: bool| json!({"name": "net", "loadOnlyInlinedPlugins": only, "plugins": [{"type": "a"}]});
        let folder = folder(&[
            ("open.conflist", list(false)),
            ("closed.conflist", list(true)),
            ("net/20.conf", json!({"type": "c"})),
            ("net/10.conf", json!({"type": "b"})),
            ("net/15.json", json!({"type": "not taken"})),
        ]);
        assert_eq!(types(&by_path(&folder.path().join("open.conflist")).unwrap()), ["a", "b", "c"]);
        assert_eq!(types(&by_path(&folder.path().join("closed.conflist")).unwrap()), ["a"]);
    }

    #[test]
    fn the_path_of_a_directory_means_its_first_file() {
        let folder = folder(&[
            ("20.conf", json!({"name": "b", "type": "b"})),
            ("10.json", json!({"name": "a", "type": "a"})),
        ]);
        assert_eq!(types(&by_path(folder.path()).unwrap()), ["a"]);
    }

    #[test]
    fn a_path_without_a_network_is_reported() {
        let folder = folder(&[
            ("a.conf", json!({"name": "a"})),
            ("b.conflist", json!({"name": "../x", "plugins": [{"type": "a"}]})),
        ]);
        for (name, want) in [
            ("a.conf", "Error loading CNI config file"),
            ("b.conflist", "invalid characters found in network name"),
            ("missing.conf", "No such file"),
        ] {
            let error = by_path(&folder.path().join(name)).unwrap_err().to_string();
            assert!(error.contains(want), "{name}: {error}");
        }
        let error = by_path(&tempfile::tempdir().unwrap().path().join("")).unwrap_err();
        assert!(matches!(error, OnDiskError::NoFile { .. }), "{error}");
    }
}
