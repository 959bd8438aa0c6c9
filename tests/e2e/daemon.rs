//! With whereabouts-daemon on both nodes, from the manifest that users apply: what it does for its node's plugins, and what becomes of them
//! when it is away.

use std::collections::BTreeSet;
use std::sync::Once;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::cluster::{Cluster, wait, wait_for};

use crate::by_hand::{ApiServerAway, Call, conf};
use crate::objects::{addresses, claims, nothing_is_left, pod, ranged, traces};

pub const TESTS: &[crate::Test] = &[
    ("the_daemon_has_no_privilege", no_privilege),
    ("pods_get_their_addresses_through_the_daemon", through_the_daemon),
    ("orders_at_once_on_both_nodes_get_different_addresses", at_once),
    ("with_its_daemon_killed_again_and_again_a_node_goes_on", killed_daemon),
    ("what_is_owed_is_given_back_within_seconds_of_the_api_servers_return", owed),
    ("check_and_status_through_the_daemon_tell_what_is_wrong", check_and_status),
];

/// How long an address outlives its pod in these tests.
pub const GRACE: u64 = 5;

/// Starts the daemons, once.
pub fn daemons(cluster: &Cluster) {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| cluster.start_daemons(&format!("--grace={GRACE}")));
}

/// The daemon's process on a node, and a line of what it is.
fn process(cluster: &Cluster, node: &str) -> String {
    cluster.sh(node, "pgrep -x whereabouts-dae | head -1")
}

fn no_privilege(cluster: &Cluster) {
    daemons(cluster);
    for node in ["node1", "node2"] {
        let status = cluster.sh(node, &format!("cat /proc/{}/status", process(cluster, node)));
        for line in
            ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"]
        {
            assert!(status.contains(line), "{line:?} is not in\n{status}");
        }
    }
}

/// A number of the daemon of a node.
pub fn metric(cluster: &Cluster, node: &str, name: &str) -> f64 {
    let metrics = cluster.sh(node, "wget -qO- http://127.0.0.1:9192/metrics");
    let line = metrics.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
}

const CLAIMED: &str = r#"whereabouts_requests_total{request="claim",outcome="done"}"#;
const RELEASED: &str = r#"whereabouts_requests_total{request="release",outcome="done"}"#;

fn through_the_daemon(cluster: &Cluster) {
    daemons(cluster);
    let before = [CLAIMED, RELEASED].map(|name| metric(cluster, "node1", name));
    cluster.apply(&[ranged("served", "192.168.60.0/24"), pod("served", "node1", "served")]);
    cluster.wait_ready(&["served"]);
    assert_eq!(addresses(cluster, "served"), ["192.168.60.1"]);
    cluster.delete_pods(&["served"]);
    nothing_is_left(cluster);
    let after = [CLAIMED, RELEASED].map(|name| metric(cluster, "node1", name));
    assert!((after[0] - before[0] - 1.0).abs() < 0.1, "one order: {before:?} {after:?}");
    assert!(after[1] > before[1], "{before:?} {after:?}");
}

/// Pods `name0`, `name1`, ... in turn on both nodes.
fn pods(cluster: &Cluster, name: &str, count: usize, network: &str) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|n| format!("{name}{n}")).collect();
    let node = |n: usize| if n.is_multiple_of(2) { "node1" } else { "node2" };
    let objects: Vec<Value> = names.iter().enumerate().map(|(n, name)| pod(name, node(n), network)).collect();
    cluster.apply(&objects);
    names
}

/// Each pod has one address, and no two the same.
#[track_caller]
fn each_has_its_own(cluster: &Cluster, names: &[String]) {
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    cluster.wait_ready(&all);
    let given: Vec<String> = all.iter().flat_map(|pod| addresses(cluster, pod)).collect();
    let distinct: BTreeSet<&String> = given.iter().collect();
    assert_eq!((given.len(), distinct.len()), (names.len(), names.len()), "{given:?}");
}

fn at_once(cluster: &Cluster) {
    daemons(cluster);
    cluster.apply(&[ranged("at-once", "192.168.61.0/27")]);
    let names = pods(cluster, "at-once", 20, "at-once");
    each_has_its_own(cluster, &names);
}

fn killed_daemon(cluster: &Cluster) {
    daemons(cluster);
    cluster.apply(&[ranged("killed-daemon", "192.168.62.0/24")]);
    let names = pods(cluster, "survives", 12, "killed-daemon");
    for _ in 0..4 {
        let _ = cluster.on("node1", &["sh", "-c", "kill -KILL $(pgrep -x whereabouts-dae)"], "");
        std::thread::sleep(Duration::from_millis(700));
    }
    each_has_its_own(cluster, &names);
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    cluster.delete_pods(&all);
    nothing_is_left(cluster);
    wait_for("daemons that are ready", &2, || ready_daemons(cluster));
}

fn ready_daemons(cluster: &Cluster) -> u64 {
    let set = cluster.get(&["daemonset", "whereabouts", "-n", "kube-system"]);
    set["status"]["numberReady"].as_u64().unwrap_or(0)
}

fn owed(cluster: &Cluster) {
    daemons(cluster);
    let stdin = conf("192.168.63.0/24");
    Call::new(cluster, "ADD", "c1").run("whereabouts", &stdin).unwrap();
    {
        let _away = ApiServerAway::new(cluster);
        let began = Instant::now();
        Call::new(cluster, "DEL", "c1").run("whereabouts", &stdin).unwrap();
        assert!(began.elapsed() < Duration::from_secs(15), "DEL has a deadline");
        assert!(!traces(cluster, "node1").is_empty(), "a tombstone remembers it");
    }
    let back = Instant::now();
    let drained = wait(Duration::from_secs(20), || claims(cluster).is_empty().then(|| back.elapsed()));
    let drained = drained.expect("the daemon gives back what is owed, without another call");
    assert!(drained < Duration::from_secs(6), "{drained:?}");
    nothing_is_left(cluster);
}

fn check_and_status(cluster: &Cluster) {
    daemons(cluster);
    // STATUS is a verb from CNI 1.1.0 on.
    let stdin = conf("192.168.64.4/30").replace("1.0.0", "1.1.0");
    let call = |verb: &'static str, container: &'static str| {
        let pod = container;
        Call { pod, ..Call::new(cluster, verb, container) }.run("whereabouts", &stdin)
    };
    call("STATUS", "").unwrap();
    call("ADD", "c1").unwrap();
    call("CHECK", "c1").unwrap();
    call("ADD", "c2").unwrap();
    wait_for("STATUS of a full range", &Some(50), || call("STATUS", "").err().map(|e| e.code.number()));
    let error = call("ADD", "c3").unwrap_err();
    for part in
        ["Could not allocate IP in range", "192.168.64.4/30", "2 addresses", "namespace \"default\": 2"]
    {
        assert!(error.msg.contains(part), "{part:?} is not in {error}");
    }
    cluster.kubectl(&["delete", "overlappingrangeipreservation", "192.168.64.5", "-n", "kube-system"]);
    let error = call("CHECK", "c1").unwrap_err();
    assert!(error.msg.contains("192.168.64.5"), "{error}");
    for container in ["c1", "c2", "c3"] {
        call("DEL", container).unwrap();
    }
    nothing_is_left(cluster);
}
