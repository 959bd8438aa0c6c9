//! What is left of a sandbox after a DEL that let it go: the file `<cniDir>/multus-rs/tombstones/<container id>`. It holds what a later
//! DEL of the remaining plugins needs. Configuration and capability arguments are texts, so that a deeply nested one can be read back.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cni::args::CniArgs;
use cni::names::{ContainerId, IfName};
use node::files::{Dir, FileError, read_bounded, remove_with_temps, write_atomic};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::content::Recorded;
use super::error::{MAX_RECORD, RecordError};
use crate::network::Network;

/// A sandbox whose DEL succeeded although plugins still fail.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tombstone {
    /// `CNI_ARGS` for the plugins.
    pub(crate) args: CniArgs,
    /// The networks that are left, in the order of ADD.
    pub(crate) networks: Vec<LeftNetwork>,
}

/// A network of which something may be left.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LeftNetwork {
    /// The network.
    pub(crate) recorded: Recorded,
    /// The places of the plugins whose DEL failed, from 0.
    pub(crate) plugins: Vec<usize>,
    /// The last errors of these plugins, for people.
    pub(crate) reason: String,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    args: String,
    networks: Vec<WireNetwork>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireNetwork {
    network: String,
    interface: String,
    plugins: Vec<usize>,
    reason: String,
    config: String,
    capability_args: String,
}

/// Writes the tombstone of a sandbox, in place of an earlier one. The file survives a power cut once this returns.
pub(crate) fn write(
    cni_dir: &Path,
    container_id: &ContainerId,
    tombstone: &Tombstone,
) -> Result<(), FileError> {
    let path = Dir::open(folder(cni_dir))?.path().join(container_id.as_str());
    let encoded = serde_json::to_vec(&to_wire(tombstone));
    let bytes =
        encoded.map_err(|e| FileError::Io { action: "encode", path: path.clone(), source: e.into() })?;
    write_atomic(&path, &bytes, 0o600)
}

/// Reads a tombstone.
pub(crate) fn read(cni_dir: &Path, container_id: &ContainerId) -> Result<Tombstone, RecordError> {
    let path = file(cni_dir, container_id);
    // A tombstone repeats a record, with the configuration as text instead of base64.
    let bytes = read_bounded(&path, 2 * MAX_RECORD as u64)?;
    from_bytes(&bytes).map_err(|reason| RecordError::Damaged { path, reason })
}

/// Removes a tombstone, if there is one.
pub(crate) fn remove(cni_dir: &Path, container_id: &ContainerId) -> Result<(), FileError> {
    remove_with_temps(&file(cni_dir, container_id))
}

/// Gives a tombstone the time of now. A failure only means that it is tried again sooner.
pub(crate) fn make_youngest(cni_dir: &Path, container_id: &ContainerId) {
    let opened = std::fs::File::options().write(true).open(file(cni_dir, container_id));
    let _ = opened.and_then(|file| file.set_modified(SystemTime::now()));
}

/// The sandboxes with a tombstone that nobody has written to for `age`, the oldest first. One from the future counts as old: the clock
/// was set back.
pub(crate) fn due(cni_dir: &Path, age: Duration, now: SystemTime) -> Vec<ContainerId> {
    // On most nodes there is no folder, and this is one system call.
    let entries = std::fs::read_dir(folder(cni_dir)).into_iter().flatten().flatten();
    let of = |entry: std::fs::DirEntry| {
        let container_id = ContainerId::parse(entry.file_name().to_str()?).ok()?;
        let written = entry.metadata().ok()?.modified().ok()?;
        now.duration_since(written).map_or(true, |idle| idle >= age).then_some((written, container_id))
    };
    let mut due: Vec<_> = entries.filter_map(of).collect();
    due.sort();
    due.into_iter().map(|(_, container_id)| container_id).collect()
}

fn folder(cni_dir: &Path) -> PathBuf {
    cni_dir.join("multus-rs/tombstones")
}

/// The path of a sandbox's tombstone.
pub(crate) fn file(cni_dir: &Path, container_id: &ContainerId) -> PathBuf {
    folder(cni_dir).join(container_id.as_str())
}

fn to_wire(tombstone: &Tombstone) -> Wire {
    let network = |left: &LeftNetwork| WireNetwork {
        network: left.recorded.network.label.clone(),
        interface: left.recorded.if_name.to_string(),
        plugins: left.plugins.clone(),
        reason: left.reason.clone(),
        config: Value::Object(left.recorded.network.object.clone()).to_string(),
        capability_args: Value::Object(left.recorded.capability_args.clone()).to_string(),
    };
    Wire { args: tombstone.args.to_text(), networks: tombstone.networks.iter().map(network).collect() }
}

fn from_bytes(bytes: &[u8]) -> Result<Tombstone, String> {
    let wire: Wire = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let object = |text: &str| -> Result<Map<String, Value>, String> {
        cni::json::parse_object(text.as_bytes()).map_err(|e| e.to_string())
    };
    let network = |wire: WireNetwork| -> Result<LeftNetwork, String> {
        let label = Some(wire.network).filter(|label| !label.is_empty());
        let recorded = Recorded {
            network: Network::from_object(object(&wire.config)?, label).map_err(|e| e.to_string())?,
            if_name: IfName::parse(&wire.interface).map_err(|e| e.to_string())?,
            capability_args: object(&wire.capability_args)?,
            requested: None,
        };
        Ok(LeftNetwork { recorded, plugins: wire.plugins, reason: wire.reason })
    };
    let networks = wire.networks.into_iter().map(network).collect::<Result<_, _>>()?;
    Ok(Tombstone { args: CniArgs::parse(&wire.args).map_err(|e| e.to_string())?, networks })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id(text: &str) -> ContainerId {
        ContainerId::parse(text).unwrap()
    }

    fn tombstone() -> Tombstone {
        let recorded = Recorded {
            network: crate::testing::network("a", "1.0.0"),
            if_name: IfName::parse("net1").unwrap(),
            capability_args: json!({"ips": ["10.0.0.1"]}).as_object().unwrap().clone(),
            requested: None,
        };
        let left = LeftNetwork { recorded, plugins: vec![0], reason: "no DEL".to_owned() };
        Tombstone { args: CniArgs::parse("K8S_POD_NAME=pod0;EXTRA=e").unwrap(), networks: vec![left] }
    }

    #[test]
    fn a_tombstone_is_read_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &id("c1"), &tombstone()).unwrap();
        assert_eq!(read(folder.path(), &id("c1")).unwrap(), tombstone());
        remove(folder.path(), &id("c1")).unwrap();
        remove(folder.path(), &id("c1")).unwrap();
        assert!(read(folder.path(), &id("c1")).is_err());
    }

    #[test]
    fn tombstones_are_due_after_a_while_the_oldest_first() {
        let folder = tempfile::tempdir().unwrap();
        let age = Duration::from_secs(30);
        assert!(due(folder.path(), age, SystemTime::now()).is_empty());
        let now = SystemTime::now();
        for (name, seconds) in [("young", 0), ("old", 60), ("older", 90)] {
            write(folder.path(), &id(name), &tombstone()).unwrap();
            let path = file(folder.path(), &id(name));
            let written = now - Duration::from_secs(seconds);
            std::fs::File::options().write(true).open(path).unwrap().set_modified(written).unwrap();
        }
        assert_eq!(due(folder.path(), age, now), [id("older"), id("old")]);
    }

    #[test]
    fn a_file_that_is_no_tombstone_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &id("c1"), &tombstone()).unwrap();
        write_atomic(&file(folder.path(), &id("c1")), b"{", 0o600).unwrap();
        assert!(matches!(read(folder.path(), &id("c1")), Err(RecordError::Damaged { .. })));
    }
}
