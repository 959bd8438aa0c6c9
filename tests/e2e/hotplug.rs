//! Networks that running pods get and lose when their annotation changes, by the manifest that users apply.

use std::sync::Once;
use std::time::Duration;

use serde_json::{Value, json};
use tests::cluster::{Cluster, NETWORKS, text, wait, wait_for};
use tests::place;

use crate::daemon::daemons;
use crate::objects::{claims, network, nothing_is_left, pod, ranged};

pub const TESTS: &[crate::Test] = &[
    ("the_program_for_running_pods_has_three_capabilities", capabilities),
    ("networks_come_and_go_with_the_annotation_of_a_running_pod", come_and_go),
    ("a_running_pod_gets_what_a_new_pod_gets_from_every_plugin", every_plugin),
    ("a_network_that_fails_is_said_and_made_up_for", fails_and_recovers),
    ("the_program_for_running_pods_is_killed_at_any_moment_and_nothing_is_left", killed),
    ("a_new_sandbox_has_what_the_annotation_says_then", new_sandbox),
];

/// The kubelet starts a program that was killed three times after 40 s.
const RESTART: Duration = Duration::from_secs(120);

/// Starts the program on both nodes, once.
fn hotplug(cluster: &Cluster) {
    static STARTED: Once = Once::new();
    daemons(cluster);
    STARTED.call_once(|| {
        let folder = place::root().join("deploy/hotplug").display().to_string();
        cluster.kubectl(&["apply", "-k", &folder]);
        let rollout = ["rollout", "status", "daemonset/multus-hotplug", "-n", "kube-system", "--timeout=90s"];
        cluster.kubectl(&rollout);
    });
}

/// A pod without further networks.
fn plain(name: &str, node: &str) -> Value {
    let mut plain = pod(name, node, "");
    plain["metadata"].as_object_mut().unwrap().remove("annotations");
    plain
}

fn annotate(cluster: &Cluster, pod: &str, networks: &str) {
    cluster.kubectl(&["annotate", "--overwrite", "pod", pod, &format!("{NETWORKS}={networks}")]);
}

/// `name@interface` of each entry of network-status.
fn status(cluster: &Cluster, pod: &str) -> Vec<String> {
    let text = |entry: &Value| {
        format!("{}@{}", entry["name"].as_str().unwrap_or("?"), entry["interface"].as_str().unwrap_or("?"))
    };
    cluster.network_status(pod).iter().map(text).collect()
}

/// Waits until the status has these networks behind the primary's, then looks whether the pod has the same interfaces.
#[track_caller]
fn has(cluster: &Cluster, pod: &str, networks: &[&str]) {
    let wanted: Vec<String> = ["primary@eth0"].iter().chain(networks).map(|one| (*one).to_owned()).collect();
    wait_for(&format!("networks of {pod}"), &wanted, || status(cluster, pod));
    let mut links: Vec<String> = wanted.iter().map(|one| one.split('@').nth(1).unwrap().to_owned()).collect();
    links.push("lo".to_owned());
    links.sort();
    let shown = cluster.kubectl(&["exec", pod, "--", "ls", "/sys/class/net"]);
    let mut shown: Vec<&str> = shown.split_whitespace().collect();
    shown.sort_unstable();
    assert_eq!(shown, links);
}

/// Each address of the status is on its interface.
#[track_caller]
fn addresses_are_there(cluster: &Cluster, pod: &str) {
    for entry in cluster.network_status(pod) {
        let (interface, ip) = (entry["interface"].as_str().unwrap(), entry["ips"][0].as_str().unwrap());
        let shown = cluster.kubectl(&["exec", pod, "--", "ip", "addr", "show", "dev", interface]);
        assert!(shown.contains(&format!("inet {ip}/")) && shown.contains("UP"), "{ip} is not in {shown}");
    }
}

fn capabilities(cluster: &Cluster) {
    hotplug(cluster);
    for node in ["node1", "node2"] {
        let found = cluster.sh(node, "cat /proc/$(pgrep -o -f 'bin/multus hotplug')/status");
        for line in ["CapEff:\t0000000000203000", "CapBnd:\t0000000000203000", "Seccomp:\t2"] {
            assert!(found.contains(line), "{line:?} is not in\n{found}");
        }
    }
}

fn come_and_go(cluster: &Cluster) {
    hotplug(cluster);
    cluster.apply(&[ranged("red", "192.168.90.0/24"), ranged("blue", "192.168.91.0/24")]);
    cluster.apply(&[plain("runs", "node1"), pod("peer", "node2", "red")]);
    cluster.wait_ready(&["runs", "peer"]);
    annotate(cluster, "runs", "red");
    has(cluster, "runs", &["default/red@net1"]);
    addresses_are_there(cluster, "runs");
    let event = cluster.wait_event("runs", "AddedInterface", "added interface net1 to network: default/red");
    let peer = cluster.network_status("peer")[1]["ips"][0].as_str().unwrap().to_owned();
    let ping =
        cluster.try_kubectl(&["exec", "runs", "--", "ping", "-c", "2", "-w", "10", "-I", "net1", &peer], "");
    assert!(text(&ping.stdout).contains(" 0% packet loss"), "{event}: {}", text(&ping.stdout));
    // Router advertisements are off, as on an interface of ADD.
    let ra = cluster.kubectl(&["exec", "runs", "--", "cat", "/proc/sys/net/ipv6/conf/net1/accept_ra"]);
    assert_eq!(ra.trim(), "0");
    annotate(cluster, "runs", r#"[{"name":"blue","interface":"data"},{"name":"red"}]"#);
    has(cluster, "runs", &["default/blue@data", "default/red@net1"]);
    addresses_are_there(cluster, "runs");
    assert_eq!(claims(cluster).len(), 3);
    annotate(cluster, "runs", "blue@data");
    has(cluster, "runs", &["default/blue@data"]);
    cluster.wait_event("runs", "RemovedInterface", "removed interface net1 from network: default/red");
    assert_eq!(claims(cluster).len(), 2);
    // An annotation that is removed requests nothing.
    cluster.kubectl(&["annotate", "pod", "runs", &format!("{NETWORKS}-")]);
    has(cluster, "runs", &[]);
    assert_eq!(claims(cluster).len(), 1);
    annotate(cluster, "runs", "red,blue");
    has(cluster, "runs", &["default/red@net1", "default/blue@net2"]);
    cluster.delete_pods(&["runs", "peer"]);
    nothing_is_left(cluster);
}

/// A network of this type with addresses of host-local.
fn local(name: &str, mut conf: Value, subnet: &str) -> Value {
    conf["cniVersion"] = json!("1.0.0");
    conf["name"] = json!(name);
    conf["ipam"] = json!({"type": "host-local", "subnet": subnet});
    network(name, &conf.to_string())
}

fn every_plugin(cluster: &Cluster) {
    hotplug(cluster);
    let bridge = json!({"type": "bridge", "bridge": "mrs-hot0", "isGateway": true});
    cluster.apply(&[
        local("maclocal", json!({"type": "macvlan", "master": "eth0"}), "10.205.1.0/24"),
        local("br", bridge, "10.205.2.0/24"),
        ranged("red", "192.168.92.0/24"),
        plain("all", "node1"),
    ]);
    cluster.wait_ready(&["all"]);
    annotate(cluster, "all", "maclocal,br,red");
    has(cluster, "all", &["default/maclocal@net1", "default/br@net2", "default/red@net3"]);
    addresses_are_there(cluster, "all");
    let held = "find /var/lib/cni/networks -type f -name '10.205.*' | wc -l";
    assert_eq!(cluster.sh("node1", held), "2");
    annotate(cluster, "all", "br");
    has(cluster, "all", &["default/br@net2"]);
    assert_eq!(cluster.sh("node1", held), "1");
    cluster.delete_pods(&["all"]);
    nothing_is_left(cluster);
    assert_eq!(cluster.sh("node1", held), "0");
    assert_eq!(cluster.sh("node1", "ip -o link show master mrs-hot0 | wc -l"), "0");
    cluster.sh("node1", "ip link del mrs-hot0");
}

fn fails_and_recovers(cluster: &Cluster) {
    hotplug(cluster);
    cluster.apply(&[ranged("red", "192.168.93.0/24"), plain("waits", "node2")]);
    cluster.wait_ready(&["waits"]);
    annotate(cluster, "waits", "late,red");
    let reason = "cannot find a network-attachment-definition (late)";
    cluster.wait_event("waits", "FailedAddingInterface", reason);
    // The other one does not wait for it.
    has(cluster, "waits", &["default/red@net2"]);
    cluster.apply(&[ranged("late", "192.168.94.0/24")]);
    has(cluster, "waits", &["default/late@net1", "default/red@net2"]);
    annotate(cluster, "waits", r#"[{"name":"late","ips":["192.168.94.77"]},{"name":"red"}]"#);
    cluster.wait_event(
        "waits",
        "InterfaceNotChanged",
        "interface net1 of network default/late keeps the arguments",
    );
    cluster.delete_pods(&["waits"]);
    nothing_is_left(cluster);
}

fn killed(cluster: &Cluster) {
    hotplug(cluster);
    cluster.apply(&[ranged("red", "192.168.95.0/24"), ranged("blue", "192.168.96.0/24")]);
    let names: Vec<String> = (0..4).map(|n| format!("hot{n}")).collect();
    cluster.apply(&names.iter().map(|name| plain(name, "node1")).collect::<Vec<_>>());
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    cluster.wait_ready(&all);
    // Three kills, each at another moment of the program's round. The kubelet delays each restart longer than the one before.
    for (pause, networks) in [(900, "red,blue"), (1100, "blue"), (1300, "red@data,blue")] {
        for name in &all {
            annotate(cluster, name, networks);
        }
        std::thread::sleep(Duration::from_millis(pause));
        let killed = || {
            let output = cluster.on("node1", &["pkill", "-KILL", "-f", "bin/multus hotplug"], "");
            output.status.success().then_some(())
        };
        wait(RESTART, killed).expect("the program runs on node1");
    }
    for name in &all {
        annotate(cluster, name, "red");
    }
    for name in &all {
        let is_settled = || {
            let status = status(cluster, name);
            let red = status.iter().any(|one| one.starts_with("default/red@"));
            (red && status.len() == 2).then_some(())
        };
        wait(RESTART, is_settled).unwrap_or_else(|| panic!("{name}: {:?}", status(cluster, name)));
    }
    assert_eq!(claims(cluster).len(), all.len());
    // One pod is deleted while its networks change.
    annotate(cluster, all[0], "red,blue");
    cluster.delete_pods(&all);
    nothing_is_left(cluster);
}

fn new_sandbox(cluster: &Cluster) {
    hotplug(cluster);
    cluster.apply(&[ranged("red", "192.168.97.0/24"), plain("twice", "node1")]);
    cluster.wait_ready(&["twice"]);
    annotate(cluster, "twice", "red@data");
    has(cluster, "twice", &["default/red@data"]);
    let before = status(cluster, "twice");
    // The pause container ends: the kubelet makes a new sandbox.
    let sandbox = cluster.sh("node1", "ctr -n k8s.io containers ls | grep pause | awk '{print $1}' | while read -r id; do \
        ctr -n k8s.io containers info $id | grep -q '\"io.kubernetes.pod.name\": \"twice\"' && echo $id; done; true");
    cluster.sh("node1", &format!("ctr -n k8s.io tasks kill -s KILL {sandbox}"));
    let restarts =
        || cluster.get(&["pod", "twice"])["status"]["containerStatuses"][0]["restartCount"].as_u64();
    wait_for("restarts of the container", &Some(1), restarts);
    cluster.wait_ready(&["twice"]);
    has(cluster, "twice", &["default/red@data"]);
    assert_eq!(status(cluster, "twice"), before);
    addresses_are_there(cluster, "twice");
    cluster.delete_pods(&["twice"]);
    nothing_is_left(cluster);
}
