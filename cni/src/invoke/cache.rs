//! The result cache: one file per attachment, `<folder>/<network>-<containerID>-<ifName>`, in the format of libcni (`cniCacheV1`). A
//! cluster can therefore change to libcni and back while pods run. Readers see a whole file or none. After a power cut an entry can be
//! missing: multus has a record of its own.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use files::FileError;

use crate::types::args::CniArgs;
use crate::types::names::{ContainerId, IfName, NetworkName};

const KIND: &str = "cniCacheV1";

/// The largest cache file in bytes. A configuration of 8 MiB (the limit on standard input) has 10.7 MiB in base64; a result has at most
/// 1 MiB.
pub(crate) const MAX_FILE: u64 = 16 << 20;

/// The folder of the cache.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

/// One cached attachment.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The configuration list at ADD, as JSON; empty in an old file that has only the result.
    pub config: Vec<u8>,
    /// `CNI_NETNS` at ADD; empty if the file has none.
    pub netns: String,
    /// `CNI_ARGS` at ADD.
    pub args: CniArgs,
    /// The runtime's values for capabilities at ADD.
    pub capability_args: Map<String, Value>,
    /// The result of ADD.
    pub result: Option<Value>,
}

/// The attachment of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The network.
    pub network: NetworkName,
    /// The container.
    pub container_id: ContainerId,
    /// The interface.
    pub if_name: IfName,
}

/// The JSON of a file, with libcni's keys.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    kind: String,
    container_id: String,
    #[serde(default)]
    config: String,
    if_name: String,
    network_name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    netns: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cni_args: Option<Vec<(String, String)>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capability_args: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
}

impl Cache {
    /// The cache in `folder`. The first write creates the folder.
    pub fn new(folder: &Path) -> Self {
        Cache { folder: folder.to_owned() }
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn write(&self, key: &Key, entry: &Entry) -> Result<(), FileError> {
        let wire = Wire {
            kind: KIND.to_owned(),
            container_id: key.container_id.to_string(),
            config: STANDARD.encode(&entry.config),
            if_name: key.if_name.to_string(),
            network_name: key.network.to_string(),
            netns: entry.netns.clone(),
            cni_args: Some(entry.args.pairs().to_vec()).filter(|pairs| !pairs.is_empty()),
            capability_args: Some(entry.capability_args.clone()).filter(|args| !args.is_empty()),
            result: entry.result.clone(),
        };
        let file = self.file(key);
        let encode = |source: serde_json::Error| FileError::Io {
            action: "encode",
            path: file.clone(),
            source: source.into(),
        };
        files::replace(&file, &serde_json::to_vec(&wire).map_err(encode)?)
    }

    /// Reads an entry. `None` if there is no file, or if its content is no entry: the file may be torn, and DEL must work without it.
    ///
    /// # Errors
    /// [`FileError::TooLarge`], or [`FileError::Io`] if an existing file cannot be read.
    pub fn read(&self, key: &Key) -> Result<Option<Entry>, FileError> {
        let Some(bytes) = read_if_exists(&self.file(key))? else { return Ok(None) };
        let wire: Wire = match serde_json::from_slice(&bytes) {
            Ok(wire) => wire,
            Err(_) => return Ok(legacy(&bytes)),
        };
        Ok(Some(Entry {
            config: STANDARD.decode(&wire.config).unwrap_or_default(),
            netns: wire.netns,
            args: wire.cni_args.unwrap_or_default().into_iter().collect(),
            capability_args: wire.capability_args.unwrap_or_default(),
            result: wire.result,
        }))
    }

    /// Removes what programs left that were killed while they wrote entries of this container.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn remove_leftovers(&self, container_id: &ContainerId) -> Result<(), FileError> {
        files::remove_temps(&self.folder, |entry| entry.contains(&format!("-{container_id}-")))
    }

    /// Removes an entry if it exists.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn remove(&self, key: &Key) -> Result<(), FileError> {
        let file = self.file(key);
        match std::fs::remove_file(&file) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(FileError::Io { action: "remove", path: file, source })
            }
            // No flush: that would cost each DEL some milliseconds, and an entry that a power cut brings back does no harm.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Returns the keys of all entries of one container, sorted by interface name, after an error for each file that cannot be
    /// read. Files whose content is no entry are left out.
    pub fn of_container(&self, container_id: &ContainerId) -> Vec<Result<Key, FileError>> {
        let listed = std::fs::read_dir(&self.folder);
        let files = match listed.and_then(|entries| entries.collect::<Result<Vec<_>, _>>()) {
            Ok(files) => files,
            Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
            Err(source) => {
                return vec![Err(FileError::Io { action: "list", path: self.folder.clone(), source })];
            }
        };
        // All three parts of a file name may contain "-", so the name only narrows the search down; the content decides.
        let is_candidate = |name: &str| name.contains(&format!("-{container_id}-"));
        let mut keys: Vec<Result<Key, FileError>> = files
            .iter()
            .filter(|file| file.file_name().to_str().is_some_and(is_candidate))
            .filter_map(|file| read_key(&file.path()).transpose())
            .filter(|key| key.as_ref().map_or(true, |key| key.container_id == *container_id))
            .collect();
        keys.sort_by_cached_key(|key| key.as_ref().ok().map(|key| key.if_name.clone()));
        keys
    }

    fn file(&self, key: &Key) -> PathBuf {
        self.folder.join(format!("{}-{}-{}", key.network, key.container_id, key.if_name))
    }
}

fn read_if_exists(file: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match files::read_bounded(file, MAX_FILE) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_key(file: &Path) -> Result<Option<Key>, FileError> {
    Ok(read_if_exists(file)?.and_then(|bytes| key_of(&bytes)))
}

fn key_of(bytes: &[u8]) -> Option<Key> {
    let wire: Wire = serde_json::from_slice(bytes).ok()?;
    Some(Key {
        network: NetworkName::parse(&wire.network_name).ok()?,
        container_id: ContainerId::parse(&wire.container_id).ok()?,
        if_name: IfName::parse(&wire.if_name).ok()?,
    })
}

/// Reads a file from before `cniCacheV1`, which has only the result.
fn legacy(bytes: &[u8]) -> Option<Entry> {
    let result: Value = serde_json::from_slice(bytes).ok()?;
    let is_result = result.get("cniVersion").is_some();
    is_result.then(|| Entry {
        config: Vec::new(),
        netns: String::new(),
        args: CniArgs::default(),
        capability_args: Map::new(),
        result: Some(result),
    })
}

#[cfg(test)]
mod tests;
