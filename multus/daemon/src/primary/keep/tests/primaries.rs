//! The files of the primary networks that clusters have, as their agents write them: which one is found, and what becomes of it.
//! docs/primaries/ has a page for each.

use serde_json::json;

use super::{Node, Round};

/// A primary network's file.
struct Real {
    file: &'static str,
    text: &'static str,
    version: &'static str,
    capabilities: &'static [&'static str],
}

const CALICO: Real = Real {
    file: "10-calico.conflist",
    text: r#"{
  "name": "k8s-pod-network",
  "cniVersion": "0.3.1",
  "plugins": [
    {
      "type": "calico", "log_level": "info", "log_file_path": "/var/log/calico/cni/cni.log", "datastore_type": "kubernetes",
      "nodename": "node1", "mtu": 0, "ipam": { "type": "calico-ipam" }, "policy": { "type": "k8s" },
      "kubernetes": { "kubeconfig": "/etc/cni/net.d/calico-kubeconfig" }
    },
    { "type": "portmap", "snat": true, "capabilities": {"portMappings": true} },
    { "type": "bandwidth", "capabilities": {"bandwidth": true} }
  ]
}"#,
    version: "0.3.1",
    capabilities: &["bandwidth", "portMappings"],
};

const ANTREA: Real = Real {
    file: "10-antrea.conflist",
    text: r#"{
    "cniVersion":"0.3.0",
    "name": "antrea",
    "plugins": [
        { "type": "antrea", "ipam": { "type": "host-local" } },
        { "type": "portmap", "capabilities": {"portMappings": true} },
        { "type": "bandwidth", "capabilities": {"bandwidth": true} }
    ]
}
"#,
    version: "0.3.0",
    capabilities: &["bandwidth", "portMappings"],
};

const FLANNEL: Real = Real {
    file: "10-flannel.conflist",
    text: r#"{
  "name": "cbr0",
  "cniVersion": "0.3.1",
  "plugins": [
    { "type": "flannel", "delegate": { "hairpinMode": true, "isDefaultGateway": true } },
    { "type": "portmap", "capabilities": { "portMappings": true } }
  ]
}
"#,
    version: "0.3.1",
    capabilities: &["portMappings"],
};

const CILIUM: Real = Real {
    file: "05-cilium.conflist",
    text: r#"
{
  "cniVersion": "0.3.1",
  "name": "cilium",
  "plugins": [
    { "type": "cilium-cni", "enable-debug": false, "log-file": "/var/run/cilium/cilium-cni.log" }
  ]
}
"#,
    version: "0.3.1",
    capabilities: &[],
};

#[test]
fn the_file_of_each_primary_network_is_found_beside_others() {
    for Real { file, text, version, capabilities } in [CALICO, ANTREA, FLANNEL, CILIUM] {
        let mut node = Node::new();
        // Of podman and of containerd's packages, and Calico's kubeconfig, which is no configuration.
        node.write(
            "87-podman-bridge.conflist",
            r#"{"cniVersion":"0.4.0","name":"podman","plugins":[{"type":"bridge"}]}"#,
        );
        node.write("99-loopback.conf", r#"{"cniVersion":"0.3.1","name":"lo","type":"loopback"}"#);
        node.write("calico-kubeconfig", "apiVersion: v1\nkind: Config\n");
        node.write(file, text);
        assert_eq!(node.round(), Round::Written, "{file}");
        let conf = node.conf();
        assert_eq!(conf["clusterNetwork"], json!(node.folder.path().join(file)));
        assert_eq!((&conf["cniVersion"], &conf["name"]), (&json!(version), &json!("multus-cni-network")));
        let wanted: serde_json::Map<_, _> =
            capabilities.iter().map(|name| ((*name).to_owned(), json!(true))).collect();
        let found = conf.get("capabilities").cloned().unwrap_or_else(|| json!({}));
        assert_eq!(found, json!(wanted), "{file}");
    }
}

/// Calico's and Antrea's agents write the file in place, so a reader can see any part of it.
#[test]
fn no_part_of_a_file_that_is_being_written_is_taken() {
    for Real { file, text, .. } in [CALICO, ANTREA, FLANNEL, CILIUM] {
        let mut node = Node::new();
        node.write(
            "87-podman-bridge.conflist",
            r#"{"cniVersion":"0.4.0","name":"podman","plugins":[{"type":"bridge"}]}"#,
        );
        let whole = text.trim_end().len();
        for end in (0..whole).step_by(7).chain([whole - 1]) {
            node.write(file, &text[..end]);
            assert_eq!(
                (node.round(), node.read("00-multus.conf")),
                (Round::Waiting, None),
                "{file}: {end} bytes"
            );
        }
        node.write(file, text);
        assert_eq!(node.round(), Round::Written, "{file}");
    }
}

/// Each start of Calico's agent empties the file and writes it again. Pods that start meanwhile use the one that was there.
#[test]
fn a_file_that_is_written_again_in_place_changes_nothing_if_it_is_the_same() {
    let mut node = Node::new();
    node.write(CALICO.file, CALICO.text);
    node.round();
    let before = node.read("00-multus.conf");
    for text in ["", &CALICO.text[..100], CALICO.text] {
        node.write(CALICO.file, text);
        assert_eq!((node.round(), node.read("00-multus.conf")), (Round::Unchanged, before.clone()));
    }
}

/// `cni.exclusive`, which is on by default: the agent renames every other configuration.
#[test]
fn a_file_that_cilium_renamed_is_written_again() {
    let mut node = Node::new();
    node.write("10-flannel.conflist", FLANNEL.text);
    assert_eq!(node.round(), Round::Written);
    node.write(CILIUM.file, CILIUM.text);
    let rename = |name: &str| {
        let from = node.folder.path().join(name);
        std::fs::rename(&from, node.folder.path().join(format!("{name}.cilium_bak"))).unwrap();
    };
    ["10-flannel.conflist", "00-multus.conf"].into_iter().for_each(rename);
    assert_eq!(node.round(), Round::Written);
    assert_eq!(node.conf()["clusterNetwork"], json!(node.folder.path().join(CILIUM.file)));
    assert_eq!(node.round(), Round::Unchanged);
}
