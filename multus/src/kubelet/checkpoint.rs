//! The checkpoint of the kubelet's device manager: a JSON file, for kubelets without the socket.

use std::collections::BTreeMap;

use nad::PodRef;
use node::names::PodUid;
use serde::Deserialize;

use crate::device::{Device, Devices};

#[derive(Deserialize)]
struct Checkpoint {
    #[serde(rename = "Data")]
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    /// Go writes an empty list as `null`.
    #[serde(rename = "PodDeviceEntries")]
    entries: Option<Vec<Entry>>,
}

/// The devices of one resource in one container.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "PodUID")]
    pod_uid: String,
    resource_name: String,
    /// By NUMA node.
    #[serde(rename = "DeviceIDs")]
    device_ids: Option<BTreeMap<String, Vec<String>>>,
}

/// The devices of a pod. The error is what is wrong with the file.
pub(super) fn devices(bytes: &[u8], pod: &PodRef) -> Result<Devices, String> {
    let checkpoint: Checkpoint = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let uid = pod.uid.as_ref().map(PodUid::as_str);
    let mut devices = Devices::default();
    for entry in checkpoint.data.entries.unwrap_or_default() {
        if uid != Some(entry.pod_uid.as_str()) {
            continue;
        }
        let mut ids: Vec<String> = entry.device_ids.unwrap_or_default().into_values().flatten().collect();
        ids.sort_unstable();
        ids.into_iter().for_each(|id| devices.add(&entry.resource_name, Device::of_plugin(id)));
    }
    Ok(devices)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::pod_ref;

    fn read(data: Value) -> Result<Devices, String> {
        devices(json!({"Data": data, "Checksum": 1}).to_string().as_bytes(), &pod_ref("default", "pod0"))
    }

    #[test]
    fn the_pod_is_found_by_its_uid_and_the_ids_of_a_container_are_sorted() {
        let entry = |uid: &str, container: &str, ids: Value| json!({"PodUID": uid, "ContainerName": container, "ResourceName": "x/nic", "DeviceIDs": ids, "AllocResp": "CgA="});
        let data = json!({"PodDeviceEntries": [entry("u-2", "a", json!({"0": ["9"]})), entry("u-1", "a", json!({"1": ["2"], "0": ["3", "1"]})),
            entry("u-1", "b", json!({"-1": ["0"]})), entry("u-1", "c", json!(null))], "RegisteredDevices": {"x/nic": ["0"]}});
        assert_eq!(read(data).unwrap().ids("x/nic"), ["1", "2", "3", "0"]);
        assert_eq!(read(json!({"PodDeviceEntries": null})).unwrap(), Devices::default());
    }

    #[test]
    fn a_file_that_is_no_checkpoint_is_an_error() {
        assert!(read(json!(3)).is_err());
        assert!(devices(b"{", &pod_ref("default", "pod0")).is_err());
    }
}
