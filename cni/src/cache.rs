//! The result cache: one file an attachment, `<folder>/<network>-<containerID>-<ifName>`, in the form that libcni reads and writes
//! (`cniCacheV1`), so that a cluster can change between implementations under running pods. Readers see a whole file or none; after a
//! power cut an entry may be missing.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::args::CniArgs;
use crate::files;
use crate::names::{ContainerId, IfName, NetworkName};

const KIND: &str = "cniCacheV1";

/// The folder of the cache.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

/// One cached attachment.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The configuration list as it was at ADD.
    pub config: Vec<u8>,
    /// `CNI_NETNS` at ADD.
    pub netns: String,
    /// `CNI_ARGS` at ADD.
    pub args: CniArgs,
    /// What the runtime offered for capabilities at ADD.
    pub capability_args: Map<String, Value>,
    /// The result of ADD.
    pub result: Option<Value>,
}

/// Which attachment an entry is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The network.
    pub network: NetworkName,
    /// The container.
    pub container_id: ContainerId,
    /// The interface.
    pub if_name: IfName,
}

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
    /// The cache in `folder`, which is made at the first write.
    pub fn new(folder: &Path) -> Self {
        Cache { folder: folder.to_owned() }
    }

    /// Stores an entry.
    pub fn write(&self, key: &Key, entry: &Entry) -> io::Result<()> {
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
        files::write_atomic(&self.file(key), &serde_json::to_vec(&wire)?)
    }

    /// The entry, or `None` where there is none or its file cannot be understood: the cache is a help, not the truth.
    pub fn read(&self, key: &Key) -> Option<Entry> {
        let bytes = std::fs::read(self.file(key)).ok()?;
        let wire: Wire = match serde_json::from_slice(&bytes) {
            Ok(wire) => wire,
            Err(_) => return legacy(&bytes),
        };
        Some(Entry {
            config: STANDARD.decode(&wire.config).unwrap_or_default(),
            netns: wire.netns,
            args: wire.cni_args.unwrap_or_default().into_iter().collect(),
            capability_args: wire.capability_args.unwrap_or_default(),
            result: wire.result,
        })
    }

    /// Removes the entry; one that is gone is fine.
    pub fn remove(&self, key: &Key) -> io::Result<()> {
        files::remove(&self.file(key))
    }

    /// The keys of all entries of one container, found by their content.
    pub fn of_container(&self, container_id: &ContainerId) -> Vec<Key> {
        let Ok(files) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        let is_candidate = |name: &str| name.contains(&format!("-{container_id}-"));
        let mut keys: Vec<Key> = files
            .flatten()
            .filter(|file| file.file_name().to_str().is_some_and(is_candidate))
            .filter_map(|file| read_key(&file.path()))
            .filter(|key| key.container_id == *container_id)
            .collect();
        keys.sort_by(|a, b| a.if_name.cmp(&b.if_name));
        keys
    }

    fn file(&self, key: &Key) -> PathBuf {
        self.folder.join(format!("{}-{}-{}", key.network, key.container_id, key.if_name))
    }
}

fn read_key(file: &Path) -> Option<Key> {
    let wire: Wire = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    Some(Key {
        network: NetworkName::parse(&wire.network_name).ok()?,
        container_id: ContainerId::parse(&wire.container_id).ok()?,
        if_name: IfName::parse(&wire.if_name).ok()?,
    })
}

/// Before `cniCacheV1` the file was the bare result.
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
mod tests {
    use super::*;
    use serde_json::json;

    fn key(if_name: &str) -> Key {
        Key {
            network: NetworkName::parse("net-a").unwrap(),
            container_id: ContainerId::parse("c1").unwrap(),
            if_name: IfName::parse(if_name).unwrap(),
        }
    }

    fn entry() -> Entry {
        Entry {
            config: br#"{"name":"net-a"}"#.to_vec(),
            netns: "/run/netns/x".into(),
            args: CniArgs::parse("A=1;B=2").unwrap(),
            capability_args: json!({"ips": ["10.0.0.1"]}).as_object().unwrap().clone(),
            result: Some(json!({"cniVersion": "1.0.0"})),
        }
    }

    #[test]
    fn an_entry_is_read_back_and_removed_twice() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(&folder.path().join("results"));
        cache.write(&key("net1"), &entry()).unwrap();
        assert_eq!(cache.read(&key("net1")), Some(entry()));
        cache.remove(&key("net1")).unwrap();
        cache.remove(&key("net1")).unwrap();
        assert_eq!(cache.read(&key("net1")), None);
        assert_eq!(std::fs::read_dir(folder.path().join("results")).unwrap().count(), 0);
    }

    #[test]
    fn the_file_has_libcnis_name_and_keys() {
        let folder = tempfile::tempdir().unwrap();
        Cache::new(folder.path()).write(&key("net1"), &entry()).unwrap();
        let text = std::fs::read_to_string(folder.path().join("net-a-c1-net1")).unwrap();
        let want = json!({"kind": "cniCacheV1", "containerId": "c1", "config": "eyJuYW1lIjoibmV0LWEifQ==", "ifName": "net1",
            "networkName": "net-a", "netns": "/run/netns/x", "cniArgs": [["A", "1"], ["B", "2"]],
            "capabilityArgs": {"ips": ["10.0.0.1"]}, "result": {"cniVersion": "1.0.0"}});
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), want);
    }

    #[test]
    fn a_torn_file_is_no_entry_and_a_bare_result_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let file = folder.path().join("net-a-c1-net1");
        files::write_atomic(&file, b"{\"kind\":\"cniCa").unwrap();
        assert_eq!(cache.read(&key("net1")), None);
        files::write_atomic(&file, br#"{"cniVersion":"0.4.0","ips":[]}"#).unwrap();
        assert_eq!(cache.read(&key("net1")).unwrap().result, Some(json!({"cniVersion": "0.4.0", "ips": []})));
    }

    #[test]
    fn the_entries_of_a_container_are_found_by_content() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        for name in ["net2", "net1"] {
            cache.write(&key(name), &entry()).unwrap();
        }
        let other = Key { container_id: ContainerId::parse("x-c1-y").unwrap(), ..key("net1") };
        cache.write(&other, &entry()).unwrap();
        assert_eq!(cache.of_container(&ContainerId::parse("c1").unwrap()), [key("net1"), key("net2")]);
    }
}
