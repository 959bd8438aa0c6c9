//! whereabouts-daemon on both nodes, from the manifest that users apply: it serves the plugins of its node, and they work without it.

use std::collections::BTreeSet;
use std::sync::Once;
use std::time::{Duration, Instant};

use tests::cluster::{Cluster, wait, wait_for, wrong_with_metrics};

use crate::by_hand::{ApiServerAway, Call, conf};
use crate::objects::{addresses, claims, create_pods, nothing_is_left, pod, ranged, traces};

pub const TESTS: &[crate::Test] = &[
    ("the_daemon_has_no_privilege", no_privilege),
    ("pods_get_their_addresses_through_the_daemon", through_the_daemon),
    ("the_daemons_count_adds_and_dels_and_promtool_accepts_their_metrics", metrics_of_both),
    ("concurrent_requests_on_both_nodes_get_different_addresses", concurrent),
    ("pods_start_while_the_daemon_is_killed_repeatedly", killed_daemon),
    ("a_tombstone_is_drained_within_seconds_of_the_api_servers_return", drained),
    ("check_and_status_through_the_daemon_report_what_is_wrong", check_and_status),
    ("the_reservation_of_a_running_pod_is_made_again_when_somebody_deletes_it", restored),
];

/// The daemons' grace time in seconds: how long a claim may outlive its pod.
pub const GRACE: u64 = 5;

/// Starts the daemons, once.
pub fn daemons(cluster: &Cluster) {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| cluster.deploy(&format!("--grace={GRACE}")));
}

/// The process id of a node's daemon.
fn process(cluster: &Cluster, node: &str) -> String {
    // The kernel keeps 15 bytes of a process's name.
    cluster.sh(node, "pgrep -o -x whereabouts-dae")
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

/// The value of a metric of a node's daemon; 0 before the daemon has counted anything for it.
fn metric(cluster: &Cluster, node: &str, name: &str) -> f64 {
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
    assert!((after[0] - before[0] - 1.0).abs() < 0.1, "claim requests before {before:?}, after {after:?}");
    assert!(after[1] > before[1], "release requests before {before:?}, after {after:?}");
}

fn metrics_of_both(cluster: &Cluster) {
    daemons(cluster);
    let page = |port: u16| cluster.sh("node1", &format!("wget -qO- http://127.0.0.1:{port}/metrics"));
    let done = |verb: &str| {
        let name = format!("multus_daemon_calls_total{{verb=\"{verb}\",outcome=\"done\"}} ");
        let multus = page(9193);
        let line = multus.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("{name} is not in {multus}")).parse::<u64>().unwrap()
    };
    let before = ["add", "del"].map(done);
    cluster.apply(&[ranged("counted", "192.168.67.0/24"), pod("counted", "node1", "counted")]);
    cluster.wait_ready(&["counted"]);
    cluster.delete_pods(&["counted"]);
    nothing_is_left(cluster);
    let after = ["add", "del"].map(done);
    assert!(after[0] > before[0] && after[1] > before[1], "before {before:?}, after {after:?}");
    for port in [9192, 9193] {
        // The shell's answer comes without its last newline.
        assert_eq!(wrong_with_metrics(&(page(port) + "\n")), "", "port {port}");
    }
}

/// Each pod has one address, and no two the same.
#[track_caller]
fn each_has_its_own(cluster: &Cluster, names: &[String]) {
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    cluster.wait_ready(&all);
    let assigned: Vec<String> = all.iter().flat_map(|pod| addresses(cluster, pod)).collect();
    let distinct: BTreeSet<&String> = assigned.iter().collect();
    assert_eq!((assigned.len(), distinct.len()), (names.len(), names.len()), "{assigned:?}");
}

fn concurrent(cluster: &Cluster) {
    daemons(cluster);
    cluster.apply(&[ranged("concurrent", "192.168.61.0/27")]);
    let names = create_pods(cluster, "concurrent", 20, "concurrent");
    each_has_its_own(cluster, &names);
}

fn killed_daemon(cluster: &Cluster) {
    daemons(cluster);
    cluster.apply(&[ranged("killed-daemon", "192.168.62.0/24")]);
    let names = create_pods(cluster, "survives", 12, "killed-daemon");
    let mut kills = 0;
    for _ in 0..4 {
        let killed = cluster.on("node1", &["pkill", "-KILL", "-x", "whereabouts-dae"], "");
        kills += usize::from(killed.status.success());
        std::thread::sleep(Duration::from_millis(700));
    }
    // The kubelet delays restarts more and more, so not every attempt finds a process.
    assert!(kills > 0, "no daemon ran on node1");
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

fn drained(cluster: &Cluster) {
    daemons(cluster);
    let stdin = conf("192.168.63.0/24");
    Call::new(cluster, "ADD", "c1").run("whereabouts", &stdin).unwrap();
    {
        let _away = ApiServerAway::new(cluster);
        let began = Instant::now();
        Call::new(cluster, "DEL", "c1").run("whereabouts", &stdin).unwrap();
        assert!(began.elapsed() < Duration::from_secs(15), "DEL took {:?}", began.elapsed());
        assert!(!traces(cluster, "node1").is_empty(), "DEL left no tombstone on node1");
    }
    let back = Instant::now();
    let drained = wait(Duration::from_secs(20), || claims(cluster).is_empty().then(|| back.elapsed()));
    let drained = drained.expect("the daemon releases the address without another call");
    assert!(drained < Duration::from_secs(6), "the daemon released the address after {drained:?}");
    nothing_is_left(cluster);
}

fn check_and_status(cluster: &Cluster) {
    daemons(cluster);
    // STATUS exists since CNI 1.1.0.
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
    let holders = ["pod default/c1 (192.168.64.5)", "pod default/c2 (192.168.64.6)"];
    for part in ["Could not allocate IP in range", "192.168.64.4/30", "2 addresses", holders[0], holders[1]] {
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

fn restored(cluster: &Cluster) {
    daemons(cluster);
    cluster.apply(&[ranged("kept", "192.168.66.0/24"), pod("kept", "node1", "kept")]);
    cluster.wait_ready(&["kept"]);
    let reservation = ["overlappingrangeipreservation", "192.168.66.1", "-n", "kube-system"];
    let uid = || Some(cluster.find(&reservation)?["metadata"]["uid"].clone());
    let first = uid().expect("the pod has a reservation");
    cluster.kubectl(&[&["delete"], &reservation[..]].concat());
    let again = wait(Duration::from_secs(30), || uid().filter(|uid| *uid != first));
    again.expect("the daemon makes the reservation of a running pod again");
    assert_eq!(cluster.get(&reservation)["spec"]["podref"], "default/kept");
    cluster.delete_pods(&["kept"]);
    nothing_is_left(cluster);
}
