//! Networks from files of the node: by name in `confDir`, or by path.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use cni::Version;
use cni::names::NetworkName;
use node::files::{FileError, read_bounded};
use serde_json::{Map, Value, json};

use super::types::Network;

/// The plugin whose ADD answers with an empty result.
const PASSTHRU: &str = "passthru";

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
    let name = list.get("name").and_then(Value::as_str).map(NetworkName::parse);
    // The name becomes part of a path, so it must be a valid one. An invalid one is refused later, with the list.
    let (false, Some(Ok(name)), Some(parent)) = (only_inlined, name, path.parent()) else { return Ok(()) };
    let mut drop_ins = drop_ins(&parent.join(name.as_str()))?;
    match list.entry("plugins").or_insert_with(|| Value::Array(Vec::new())) {
        // The plugins of the list itself run first.
        Value::Array(plugins) => plugins.append(&mut drop_ins),
        _ => return Err(unusable(path, "\"plugins\" must be a list")),
    }
    Ok(())
}

/// Returns the network of the plugins in `folder`. They follow the plugin `passthru`, which makes nothing: most plugins of such a chain need
/// the result of an earlier one. `None` if the folder has no plugin.
pub fn auxiliary(
    folder: &Path,
    name: &NetworkName,
    version: Version,
) -> Result<Option<Network>, OnDiskError> {
    let drop_ins = drop_ins(folder)?;
    if drop_ins.is_empty() {
        return Ok(None);
    }
    let mut plugins = vec![json!({"type": PASSTHRU, "name": "passthru-cni"})];
    plugins.extend(drop_ins);
    // Upstream's passthru does not know CHECK.
    let list = json!({"cniVersion": version.as_str(), "name": name.as_str(), "disableCheck": true, "plugins": plugins});
    let object = list.as_object().cloned().unwrap_or_default();
    network(folder, object).map(Some)
}

/// The configurations of single plugins in `folder`, `*.conf` in the order of file names.
fn drop_ins(folder: &Path) -> Result<Vec<Value>, OnDiskError> {
    let files = files_of(folder)?;
    files
        .iter()
        .filter(|file| has_extension(file, &["conf"]))
        .map(|file| Ok(Value::Object(read(file)?)))
        .collect()
}

/// The configuration files of a folder in the order of names. A folder that is missing has none.
pub(crate) fn files_of(folder: &Path) -> Result<Vec<PathBuf>, OnDiskError> {
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
mod tests;
