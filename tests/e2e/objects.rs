//! The objects that tests create, the traces that attachments leave, and their removal.

use serde_json::{Value, json};
use tests::cluster::{Cluster, IMAGE, NETWORKS, wait_for};

/// The example network of VMware's documentation, as users write it.
pub const MACVLAN_CONF: &str = r#"{ "cniVersion": "0.3.1", "plugins": [ { "type": "macvlan", "capabilities": { "ips": true }, "master": "eth0", "mode": "bridge", "ipam": { "type": "whereabouts", "range": "192.168.20.0/24", "range_start": "192.168.20.10", "range_end": "192.168.20.100", "gateway": "192.168.20.1" } } ] }"#;

/// A NetworkAttachmentDefinition in the namespace `default`.
pub fn network(name: &str, config: &str) -> Value {
    json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name, "namespace": "default"}, "spec": {"config": config}})
}

/// A macvlan network on eth0 with this range.
pub fn ranged(name: &str, range: &str) -> Value {
    let config = json!({"cniVersion": "0.3.1", "type": "macvlan", "master": "eth0",
        "capabilities": {"ips": true, "mac": true}, "ipam": {"type": "whereabouts", "range": range}});
    network(name, &config.to_string())
}

/// A pod on `node` whose annotation requests `networks`.
pub fn pod(name: &str, node: &str, networks: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"made-by": "e2e"}, "annotations": {NETWORKS: networks}},
        "spec": {"nodeSelector": {"kubernetes.io/hostname": node}, "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "shell", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sleep", "1000000"]}]}})
}

/// A network on eth0 whose `ipam` has these keys besides its type.
pub fn with_ipam(name: &str, ipam: &Value) -> Value {
    let mut ipam = ipam.clone();
    ipam["type"] = json!("whereabouts");
    let config =
        json!({"cniVersion": "1.0.0", "name": name, "type": "macvlan", "master": "eth0", "ipam": ipam});
    network(name, &config.to_string())
}

/// A StatefulSet or ReplicaSet of pods whose annotation requests `networks`.
pub fn set(kind: &str, name: &str, replicas: usize, networks: &str) -> Value {
    let template = pod(name, "", networks);
    let mut spec = template["spec"].clone();
    spec.as_object_mut().unwrap().remove("nodeSelector");
    let mut metadata = template["metadata"].clone();
    metadata["labels"]["set"] = json!(name);
    let mut set = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "labels": {"made-by": "e2e"}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"set": name}},
            "template": {"metadata": metadata, "spec": spec}}});
    if kind == "StatefulSet" {
        set["spec"]["serviceName"] = json!(name);
        set["spec"]["podManagementPolicy"] = json!("Parallel");
    }
    set
}

/// Creates the pods `name0`, `name1`, ... on both nodes in turn, and returns their names.
pub fn create_pods(cluster: &Cluster, name: &str, count: usize, networks: &str) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|n| format!("{name}{n}")).collect();
    let node = |n: usize| if n.is_multiple_of(2) { "node1" } else { "node2" };
    let objects: Vec<Value> =
        names.iter().enumerate().map(|(n, name)| pod(name, node(n), networks)).collect();
    cluster.apply(&objects);
    names
}

/// The IPPool of a range with these entries, as Whereabouts writes it.
pub fn ip_pool(range: &str, allocations: Value) -> Value {
    json!({"apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "IPPool",
        "metadata": {"name": range.replace('/', "-"), "namespace": "kube-system"},
        "spec": {"range": range, "allocations": allocations}})
}

/// A reservation of an address, as Whereabouts writes it.
pub fn reservation(ip: &str, podref: &str, if_name: &str) -> Value {
    json!({"apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "OverlappingRangeIPReservation",
        "metadata": {"name": ip, "namespace": "kube-system"}, "spec": {"podref": podref, "ifname": if_name}})
}

/// The addresses of a pod on its additional networks, from network-status.
pub fn addresses(cluster: &Cluster, pod: &str) -> Vec<String> {
    let status = cluster.network_status(pod);
    let further = status.iter().filter(|entry| entry["default"] != json!(true));
    further
        .flat_map(|entry| entry["ips"].as_array().cloned().unwrap_or_default())
        .filter_map(|ip| ip.as_str().map(str::to_owned))
        .collect()
}

/// The names of all claims.
pub fn claims(cluster: &Cluster) -> Vec<String> {
    let list = cluster.get(&["overlappingrangeipreservations", "-A"]);
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// Every file that attachments leave on a node: records, cached results, tombstones, addresses of the primary network, namespaces.
pub fn traces(cluster: &Cluster, node: &str) -> Vec<String> {
    // find and ls fail for what does not exist, which is no trace.
    let command = "find /var/lib/cni/multus /var/lib/cni/whereabouts -type f 2>/dev/null; \
        find /var/lib/cni/networks -type f -name '10.*' 2>/dev/null; ls -d /run/netns/cni-* 2>/dev/null; true";
    cluster.sh(node, command).lines().filter(|line| !is_lasting(line)).map(str::to_owned).collect()
}

/// Whether a file outlives attachments on purpose.
fn is_lasting(file: &str) -> bool {
    file.contains("/whereabouts/hints/") || file.ends_with(".lock")
}

/// Waits until there is no claim in the cluster and no trace of an attachment on any node.
#[track_caller]
pub fn nothing_is_left(cluster: &Cluster) {
    wait_for("claims", &Vec::new(), || claims(cluster));
    for node in ["node1", "node2"] {
        wait_for(&format!("traces on {node}"), &Vec::new(), || traces(cluster, node));
    }
}

/// Removes what a test created. Panics if claims or traces are left although the pods are gone, after it has removed these too: the next
/// test starts from an empty cluster in any case.
pub fn clean_up(cluster: &Cluster) {
    for args in [
        &["delete", "statefulsets,replicasets", "--all", "--timeout=60s"][..],
        &["delete", "pods", "--all", "--force", "--grace-period=0", "--timeout=60s"],
        &["delete", "network-attachment-definitions", "--all", "-A"],
        &["delete", "ippools", "--all", "-A"],
        &["delete", "events", "--all"],
    ] {
        let _ = cluster.try_kubectl(args, "");
    }
    let freed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| nothing_is_left(cluster)));
    if let Err(leak) = freed {
        let _ = cluster.try_kubectl(&["delete", "overlappingrangeipreservations", "--all", "-A"], "");
        for node in ["node1", "node2"] {
            let forget = "rm -rf /var/lib/cni/multus/* /var/lib/cni/whereabouts/* /var/lib/cni/networks/*";
            let _ = cluster.on(node, &["sh", "-c", forget], "");
        }
        std::panic::resume_unwind(leak);
    }
}
