//! Networks that need devices, with a device plugin of our own on the real kubelet.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::cluster::{Cluster, wait_for};

use crate::objects::{network, nothing_is_left, pod};

pub const TESTS: &[crate::Test] = &[
    ("each_network_gets_a_device_of_the_kubelet", devices),
    ("a_pod_with_fewer_devices_than_networks_is_refused", too_few),
];

/// The resource of these tests.
const NIC: &str = "example.com/nic";

/// Starts the device plugin on node1, once for both tests, and waits until the scheduler can count its devices.
fn start_device_plugin(cluster: &Cluster) {
    let program = env!("CARGO_BIN_EXE_device-plugin");
    let start = format!(
        "ls /var/lib/kubelet/device-plugins/example.com-nic.sock 2>/dev/null || \
         (setsid {program} {NIC} nic-b nic-a nic-c </dev/null >/var/log/device-plugin.log 2>&1 &)"
    );
    cluster.sh("node1", &start);
    wait_for("devices of node1", &json!("3"), || {
        cluster.get(&["node", "node1"])["status"]["allocatable"][NIC].clone()
    });
}

/// A network whose attachments need a device. Its plugin makes an interface without the device.
fn nic() -> Value {
    let config = json!({"cniVersion": "1.0.0", "type": "macvlan", "master": "eth0", "capabilities": {"deviceID": true},
        "ipam": {"type": "whereabouts", "range": "192.168.77.0/24"}});
    let mut nic = network("nic", &config.to_string());
    nic["metadata"]["annotations"] = json!({"k8s.v1.cni.cncf.io/resourceName": NIC});
    nic
}

/// A pod on node1 whose container requests this many devices.
fn with_devices(name: &str, count: usize, networks: &str) -> Value {
    let mut pod = pod(name, "node1", networks);
    pod["spec"]["containers"][0]["resources"] = json!({"limits": {NIC: count.to_string()}});
    pod
}

fn devices(cluster: &Cluster) {
    start_device_plugin(cluster);
    cluster.apply(&[nic(), with_devices("nics", 2, "nic,nic")]);
    cluster.wait_ready(&["nics"]);
    let status = cluster.network_status("nics");
    let ids: Vec<&str> = status[1..]
        .iter()
        .map(|entry| entry["device-info"]["pci"]["pci-address"].as_str().unwrap())
        .collect();
    // The kubelet chooses which; multus sorts them.
    let sorted: BTreeSet<&str> = ids.iter().copied().collect();
    assert!(ids.len() == 2 && sorted.into_iter().eq(ids), "{status:?}");
    cluster.delete_pods(&["nics"]);
    nothing_is_left(cluster);
    assert_eq!(cluster.sh("node1", "ls /var/run/k8s.cni.cncf.io/devinfo/cni"), "");
}

fn too_few(cluster: &Cluster) {
    start_device_plugin(cluster);
    cluster.apply(&[nic(), with_devices("nics", 1, "nic,nic")]);
    let want = "network default/nic needs a device of resource \"example.com/nic\"";
    cluster.wait_event("nics", "FailedCreatePodSandBox", want);
    cluster.delete_pods(&["nics"]);
    nothing_is_left(cluster);
}
