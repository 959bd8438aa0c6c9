//! What a ResourceClaim says about the attachment of its device: `status.devices[].networkData`.

use serde_json::{Map, Value, json};

use super::devices::Allocation;

/// The attachment of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkData {
    /// The device.
    pub(crate) allocation: Allocation,
    /// The name of its interface in the pod.
    pub(crate) interface: String,
    /// Its addresses, each with a prefix length.
    pub(crate) ips: Vec<String>,
    /// Its hardware address; empty if unknown.
    pub(crate) mac: String,
}

/// A claim with the attachments of its devices. What others, such as the driver, wrote about the same devices stays. `None` if the claim has
/// no status: then it is not the claim of the pod any more.
pub(crate) fn with_network_data(mut claim: Value, attachments: &[NetworkData]) -> Option<Value> {
    let status = claim.get_mut("status")?.as_object_mut()?;
    let devices = status.entry("devices").or_insert_with(|| json!([]));
    if devices.is_null() {
        *devices = json!([]);
    }
    let devices = devices.as_array_mut()?;
    for attachment in attachments {
        let data = json!({"interfaceName": attachment.interface, "ips": attachment.ips, "hardwareAddress": attachment.mac});
        let found = devices.iter_mut().filter_map(Value::as_object_mut);
        match found.into_iter().find(|entry| is_of(entry, &attachment.allocation)) {
            Some(entry) => drop(entry.insert("networkData".to_owned(), data)),
            None => devices.push(new_entry(&attachment.allocation, data)),
        }
    }
    Some(claim)
}

fn is_of(entry: &Map<String, Value>, allocation: &Allocation) -> bool {
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    let Allocation { driver, pool, device, share_id, .. } = allocation;
    [text("driver"), text("pool"), text("device")] == [driver, pool, device].map(|text| Some(text.as_str()))
        && text("shareID") == share_id.as_deref()
}

fn new_entry(allocation: &Allocation, data: Value) -> Value {
    let Allocation { driver, pool, device, share_id, .. } = allocation;
    let mut entry = json!({"driver": driver, "pool": pool, "device": device});
    if let (Some(share), Some(entry)) = (share_id, entry.as_object_mut()) {
        entry.insert("shareID".to_owned(), share.as_str().into());
    }
    if let Some(entry) = entry.as_object_mut() {
        entry.insert("networkData".to_owned(), data);
    }
    entry
}

#[cfg(test)]
mod tests {
    use node::names::DnsSubdomain;

    use super::*;

    fn data(device: &str, share_id: Option<&str>) -> NetworkData {
        let allocation = Allocation {
            claim: DnsSubdomain::new("c").unwrap(),
            request: "r".to_owned(),
            driver: "d".to_owned(),
            pool: "p".to_owned(),
            device: device.to_owned(),
            share_id: share_id.map(str::to_owned),
        };
        NetworkData {
            allocation,
            interface: "net1".to_owned(),
            ips: vec!["10.0.0.1/8".to_owned()],
            mac: "m".to_owned(),
        }
    }

    #[test]
    fn the_attachment_is_added_to_the_entry_of_its_device() {
        let claim = json!({"kept": 1, "status": {"allocation": {}, "devices": [
            {"driver": "d", "pool": "p", "device": "x", "conditions": [1]}, {"driver": "d", "pool": "q", "device": "x"}]}});
        let network = json!({"interfaceName": "net1", "ips": ["10.0.0.1/8"], "hardwareAddress": "m"});
        let want = json!({"kept": 1, "status": {"allocation": {}, "devices": [
            {"driver": "d", "pool": "p", "device": "x", "conditions": [1], "networkData": network},
            {"driver": "d", "pool": "q", "device": "x"},
            {"driver": "d", "pool": "p", "device": "x", "shareID": "s", "networkData": network}]}});
        assert_eq!(with_network_data(claim, &[data("x", None), data("x", Some("s"))]), Some(want));
    }

    #[test]
    fn a_claim_without_entries_gets_one_and_one_without_status_gets_none() {
        for devices in [json!(null), json!([])] {
            let claim =
                with_network_data(json!({"status": {"devices": devices}}), &[data("x", None)]).unwrap();
            assert_eq!(claim["status"]["devices"][0]["networkData"]["interfaceName"], "net1");
        }
        assert_eq!(with_network_data(json!({}), &[data("x", None)]), None);
    }
}
