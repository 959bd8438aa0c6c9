//! One cluster: many pods on one node at the same moment, then their end.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::cluster::{Cluster, IMAGE, NETWORK_STATUS, NETWORKS, wait};
use tests::place;

use crate::Subject;
use crate::processes::{Node, Plugins, Watch, peak_of_group, peak_of_process};

/// The cluster of the benchmark.
const CLUSTER: &str = "burst";

/// The node on which the pods start.
const NODE: &str = "node1";

/// How long pods may take to start, and to end.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Multus' daemon and Whereabouts, of which the newest releases can be had: see `tests/upstream/images`.
const UPSTREAM: [&str; 3] = ["v4@v4.3.0", "deployments/multus-daemonset-thick.yml", "0.9.4"];

/// What happened on a cluster.
#[derive(Debug)]
pub struct Found {
    /// The time until all pods were Ready. `None` if they were not within [`PATIENCE`].
    pub ready: Option<Duration>,
    /// How many pods were Ready at the end.
    pub running: usize,
    /// Different addresses on net1.
    pub addresses: usize,
    /// How often the kernel or a probe ended a container of multus' daemon, or a container of Whereabouts.
    pub restarts: u64,
    /// Of those, in containers whose last end was for lack of memory. Kubernetes keeps the reason of the last end alone.
    pub out_of_memory: u64,
    /// The most memory of the control group of multus' daemon. `None` if the container began again meanwhile, with another group.
    pub group: Option<u64>,
    /// The most memory of the daemon's own process, under the same condition.
    pub process: Option<u64>,
    /// The plugins.
    pub plugins: Plugins,
    /// The time from the deletion until no pod was left. `None` if some were left after [`PATIENCE`].
    pub gone: Option<Duration>,
    /// Addresses that are held afterwards.
    pub held: usize,
}

/// Measures one cluster.
pub fn burst(subject: Subject, pods: usize) -> Found {
    let cluster = installed(subject);
    let network = json!({"cniVersion": "0.3.1", "type": "macvlan", "master": "eth0",
        "ipam": {"type": "whereabouts", "range": "10.61.0.0/16"}});
    cluster.apply(&[
        json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": "burst", "namespace": "default"}, "spec": {"config": network.to_string()}}),
        // The first use of a network makes the pool.
        pod("first"),
    ]);
    cluster.wait_ready(&["first"]);

    let node = Node::new(CLUSTER, NODE);
    let netns = PathBuf::from(format!("/run/netns/mrs-{CLUSTER}-{NODE}"));
    let daemon = node.container("multus-daemon").expect("the daemon of multus runs");
    let before = restarts(&cluster);
    let watch = Watch::start(vec![node.service("containerd", &netns), daemon]);
    let began = Instant::now();
    cluster.apply(&(0..pods).map(|n| pod(&format!("pod{n}"))).collect::<Vec<Value>>());
    let all_ready = wait(PATIENCE, || (ready(&cluster) > pods).then_some(()));
    let ready_after = all_ready.map(|()| began.elapsed());
    let plugins = watch.end();
    let after = restarts(&cluster);
    let same = node.container("multus-daemon") == Some(daemon);
    let (group, process) = (same.then(|| peak_of_group(daemon)), same.then(|| peak_of_process(daemon)));
    // Without the first pod.
    let running = ready(&cluster).saturating_sub(1);
    let addresses = addresses(&cluster).len().saturating_sub(1);

    let began = Instant::now();
    cluster.kubectl(&["delete", "pods", "--all", "--wait=false"]);
    let gone = wait(PATIENCE, || cluster.kubectl(&["get", "pods", "-o", "name"]).is_empty().then_some(()));
    let gone = gone.map(|()| began.elapsed());
    let _ = wait(Duration::from_secs(60), || (held(&cluster) == 0).then_some(()));
    Found {
        ready: ready_after,
        running,
        addresses,
        restarts: after.0 - before.0,
        out_of_memory: after.1 - before.1,
        group,
        process,
        plugins,
        gone,
        held: held(&cluster),
    }
}

/// A cluster with the subject installed.
#[allow(clippy::disallowed_methods)] // runs a script, not a plugin
fn installed(subject: Subject) -> Cluster {
    match subject {
        Subject::Ours => {
            let cluster = Cluster::bare(CLUSTER, "");
            cluster.deploy("");
            cluster
        }
        Subject::Upstream => {
            let cluster = Cluster::bare(CLUSTER, "macvlan static");
            let script = place::root().join("tests/upstream/install");
            let status = Command::new(script).arg(CLUSTER).args(UPSTREAM).status();
            assert!(status.is_ok_and(|status| status.success()), "tests/upstream/install failed, see above");
            cluster
        }
    }
}

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": {NETWORKS: "burst"}},
        "spec": {"nodeSelector": {"kubernetes.io/hostname": NODE}, "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "shell", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sleep", "1000000"]}]}})
}

fn pods(cluster: &Cluster) -> Vec<Value> {
    cluster.get(&["pods"])["items"].as_array().expect("a list has items").clone()
}

fn ready(cluster: &Cluster) -> usize {
    let is_ready = |pod: &&Value| {
        let conditions = pod["status"]["conditions"].as_array();
        conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
    };
    pods(cluster).iter().filter(is_ready).count()
}

/// The addresses on net1, by network-status.
fn addresses(cluster: &Cluster) -> BTreeSet<String> {
    let statuses = pods(cluster);
    let statuses = statuses.iter().filter_map(|pod| pod["metadata"]["annotations"][NETWORK_STATUS].as_str());
    let entries = statuses.flat_map(|text| serde_json::from_str::<Vec<Value>>(text).expect("a list"));
    entries
        .filter(|entry| entry["interface"] == "net1")
        .filter_map(|entry| entry["ips"][0].as_str().map(str::to_owned))
        .collect()
}

/// How often the containers of the node's daemons began again, and how often for lack of memory.
fn restarts(cluster: &Cluster) -> (u64, u64) {
    let list = cluster.get(&["--namespace", "kube-system", "pods"]);
    let pods = list["items"].as_array().expect("a list has items");
    let statuses = pods
        .iter()
        .filter(|pod| pod["spec"]["nodeName"] == NODE)
        .filter_map(|pod| pod["status"]["containerStatuses"].as_array())
        .flatten();
    let mut sum = (0, 0);
    for status in statuses {
        let restarts = status["restartCount"].as_u64().unwrap_or_default();
        sum.0 += restarts;
        if status["lastState"]["terminated"]["reason"] == "OOMKilled" {
            sum.1 += restarts;
        }
    }
    sum
}

/// The addresses that are held: by claims, and by entries of IPPools.
fn held(cluster: &Cluster) -> usize {
    let claims = cluster.get(&["overlappingrangeipreservations", "-A"]);
    let pools = cluster.get(&["ippools", "-A"]);
    let entries = |pool: &Value| pool["spec"]["allocations"].as_object().map_or(0, serde_json::Map::len);
    let items = |list: &Value| list["items"].as_array().cloned().unwrap_or_default();
    items(&claims).len().max(items(&pools).iter().map(entries).sum())
}
