//! The cases of Whereabouts' own end-to-end tests, and the IPPools that the leader writes for users and tools that know Whereabouts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::cluster::{Cluster, wait, wait_for};

use crate::daemon::daemons;
use crate::objects::{addresses, claims, nothing_is_left, pod, ranged, reservation, set, with_ipam};

pub const TESTS: &[crate::Test] = &[
    ("the_ippool_shows_every_claim_with_its_pod", view),
    ("the_ippool_follows_a_replica_set_that_fills_and_empties_its_range", fill_and_empty),
    ("a_scaled_stateful_set_has_no_address_twice", stateful_set),
    ("a_full_pool_serves_the_replacement_of_a_force_deleted_pod_within_seconds", tiny_pool),
    ("entries_that_another_writer_restores_keep_their_pods_addresses", entries_written_back),
    ("enable_overlapping_ranges_decides_whether_two_ranges_share_addresses", overlapping),
    ("networks_of_one_range_with_different_overlap_settings_assign_no_address_twice", both_ways),
    ("networks_with_the_same_network_name_share_a_pool", network_names),
    ("dual_stack_assigns_one_address_of_each_family_in_order", dual_stack),
    ("pods_get_addresses_of_their_nodes_slice", node_slices),
];

/// The entries of a pool, from offset to pod and interface; none before the leader has created the pool.
#[track_caller]
pub fn entries(cluster: &Cluster, pool: &str) -> BTreeMap<String, (String, String)> {
    let object = cluster.find(&["ippool", pool, "-n", "kube-system"]).unwrap_or(Value::Null);
    let allocations = object["spec"]["allocations"].as_object().cloned().unwrap_or_default();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    allocations.iter().map(|(key, e)| (key.clone(), (text(e, "podref"), text(e, "ifname")))).collect()
}

fn entry(key: &str, pod: &str) -> (String, (String, String)) {
    (key.to_owned(), (format!("default/{pod}"), "net1".to_owned()))
}

/// Ready replicas of a set.
fn ready(cluster: &Cluster, kind: &str, name: &str) -> u64 {
    cluster.get(&[kind, name])["status"]["readyReplicas"].as_u64().unwrap_or(0)
}

fn scale(cluster: &Cluster, kind: &str, name: &str, replicas: usize) {
    cluster.kubectl(&["scale", kind, name, &format!("--replicas={replicas}")]);
    wait_for(&format!("ready replicas of {name}"), &(replicas as u64), || ready(cluster, kind, name));
}

/// Claims, pool and existing pods agree.
#[track_caller]
fn consistent(cluster: &Cluster, pool: &str, count: usize) {
    wait_for("claims", &count, || claims(cluster).len());
    wait_for(&format!("entries of {pool}"), &count, || entries(cluster, pool).len());
    let held: BTreeSet<String> = entries(cluster, pool).into_values().map(|(podref, _)| podref).collect();
    let pods = cluster.get(&["pods"]);
    let items = pods["items"].as_array().unwrap();
    let there: BTreeSet<String> =
        items.iter().map(|pod| format!("default/{}", pod["metadata"]["name"].as_str().unwrap())).collect();
    assert_eq!(held, there, "pods of {pool}, and pods that exist");
}

fn view(cluster: &Cluster) {
    daemons(cluster);
    cluster.apply(&[ranged("seen", "192.168.70.0/24"), pod("seen", "node1", "seen")]);
    cluster.wait_ready(&["seen"]);
    let pool = "192.168.70.0-24";
    wait_for("entries", &BTreeMap::from([entry("1", "seen")]), || entries(cluster, pool));
    let object = cluster.get(&["ippool", pool, "-n", "kube-system"]);
    let claim = cluster.get(&["overlappingrangeipreservation", "192.168.70.1", "-n", "kube-system"]);
    let id = &claim["metadata"]["annotations"]["whereabouts.multus-rs/container-id"];
    assert!(id.is_string(), "the claim names no container: {claim}");
    assert_eq!(&object["spec"]["allocations"]["1"]["id"], id);
    assert_eq!(object["spec"]["range"], "192.168.70.0/24");
    let whole = cluster.get(&["ippool", pool, "-n", "kube-system", "--show-managed-fields"]);
    assert_eq!(
        whole["metadata"]["managedFields"],
        Value::Null,
        "the leader writes pools without managedFields, which would be a third of them"
    );
    let shown = cluster.kubectl(&["get", "ippool", pool, "-n", "kube-system", "--no-headers"]);
    let columns: Vec<&str> = shown.split_whitespace().collect();
    assert_eq!(columns[..5], [pool, "192.168.70.0/24", "254", "1", "253"], "{shown}");
    cluster.delete_pods(&["seen"]);
    wait_for("entries", &BTreeMap::new(), || entries(cluster, pool));
}

fn fill_and_empty(cluster: &Cluster) {
    daemons(cluster);
    let pool = "192.168.71.0-28";
    cluster.apply(&[ranged("filled", "192.168.71.0/28"), set("ReplicaSet", "filled", 0, "filled")]);
    for replicas in [14, 0, 14, 7, 0] {
        scale(cluster, "replicaset", "filled", replicas);
        consistent(cluster, pool, replicas);
    }
}

fn stateful_set(cluster: &Cluster) {
    daemons(cluster);
    let pool = "192.168.72.0-24";
    cluster.apply(&[ranged("scaled", "192.168.72.0/24"), set("StatefulSet", "scaled", 0, "scaled")]);
    for replicas in [5, 10, 5, 15, 0] {
        scale(cluster, "statefulset", "scaled", replicas);
        consistent(cluster, pool, replicas);
    }
}

fn tiny_pool(cluster: &Cluster) {
    daemons(cluster);
    let pool = "10.10.0.0-30";
    cluster.apply(&[ranged("tiny", "10.10.0.0/30"), set("StatefulSet", "tiny", 2, "tiny")]);
    wait_for("ready replicas", &2, || ready(cluster, "statefulset", "tiny"));
    wait_for("entries", &2, || entries(cluster, pool).len());
    let container = || {
        let object = cluster.get(&["ippool", pool, "-n", "kube-system"]);
        let entry = object["spec"]["allocations"]["1"].clone();
        (entry["podref"].as_str().unwrap_or_default().to_owned(), entry["id"].clone())
    };
    let (podref, before) = container();
    let name = podref.strip_prefix("default/").unwrap().to_owned();
    cluster.kubectl(&["scale", "statefulset", "tiny", "--replicas=3"]);
    cluster.wait_event("tiny-2", "FailedCreatePodSandBox", "Could not allocate IP in range");
    cluster.kubectl(&["scale", "statefulset", "tiny", "--replicas=2"]);
    wait_for("the third pod", &false, || cluster.try_kubectl(&["get", "pod", "tiny-2"], "").status.success());
    cluster.kubectl(&["delete", "pod", &name, "--force", "--grace-period=0"]);
    let deleted = Instant::now();
    let replaced = wait(Duration::from_secs(20), || {
        let (podref, now) = container();
        (podref == format!("default/{name}") && now != before).then(|| deleted.elapsed())
    });
    let replaced = replaced.expect("the replacement gets the address of the deleted pod");
    assert!(replaced < Duration::from_secs(5), "the replacement had the address after {replaced:?}");
}

/// Whereabouts' test of its reconciler: after the pods are gone, plain writes restore their entries and reservations. New pods with the same
/// names get the same addresses, and the entries then name the new containers.
///
/// The new pod exists before the writes, and starts after them: the grace time of these tests is too short for a pod that starts on a busy
/// machine.
fn entries_written_back(cluster: &Cluster) {
    daemons(cluster);
    let pool = "192.168.73.0-24";
    let mut back = set("StatefulSet", "back", 1, "back,back");
    back["spec"]["template"]["spec"]["schedulingGates"] = json!([{"name": "tests/restored"}]);
    let exists = || cluster.try_kubectl(&["get", "pod", "back-0"], "").status.success();
    let start = || {
        wait_for("the pod", &true, exists);
        let no_gates = json!([{"op": "remove", "path": "/spec/schedulingGates"}]).to_string();
        cluster.kubectl(&["patch", "pod", "back-0", "--type=json", "-p", &no_gates]);
        wait_for("ready replicas", &1, || ready(cluster, "statefulset", "back"));
    };
    cluster.apply(&[ranged("back", "192.168.73.0/24"), back]);
    start();
    wait_for("entries", &2, || entries(cluster, pool).len());
    let before = addresses(cluster, "back-0");
    let object = cluster.get(&["ippool", pool, "-n", "kube-system"]);
    scale(cluster, "statefulset", "back", 0);
    wait_for("entries", &0, || entries(cluster, pool).len());
    wait_for("the pod", &false, exists);
    cluster.kubectl(&["scale", "statefulset", "back", "--replicas=1"]);
    wait_for("the pod", &true, exists);
    let mut allocations = object["spec"]["allocations"].clone();
    for entry in allocations.as_object_mut().unwrap().values_mut() {
        // `via` marks an entry that our leader wrote.
        entry.as_object_mut().unwrap().remove("via");
    }
    let patch = json!({"spec": {"allocations": allocations}}).to_string();
    cluster.kubectl(&["patch", "ippool", pool, "-n", "kube-system", "--type=merge", "-p", &patch]);
    let reservations = [(&before[0], "net1"), (&before[1], "net2")];
    cluster.apply(&reservations.map(|(ip, if_name)| reservation(ip, "default/back-0", if_name)));
    let adopted = ["overlappingrangeipreservations", "-n", "kube-system", "-l"];
    let of_pool = format!("whereabouts.multus-rs/pool={pool}");
    let adopted = || {
        let found = cluster.get(&[&adopted[..], &[of_pool.as_str()]].concat());
        found["items"].as_array().map_or(0, Vec::len)
    };
    wait_for("adopted reservations", &2, adopted);
    start();
    assert_eq!(addresses(cluster, "back-0"), before);
    let ids = || {
        let object = cluster.get(&["ippool", pool, "-n", "kube-system"]);
        let entries = object["spec"]["allocations"].as_object().cloned().unwrap_or_default();
        entries.into_iter().map(|(key, entry)| (key, entry["id"].clone())).collect::<BTreeMap<_, _>>()
    };
    let old: BTreeMap<String, Value> =
        allocations.as_object().unwrap().iter().map(|(key, e)| (key.clone(), e["id"].clone())).collect();
    let renewed = wait(Duration::from_secs(20), || {
        let now = ids();
        (now.keys().eq(old.keys()) && now.iter().all(|(key, id)| old[key] != *id)).then_some(())
    });
    assert!(renewed.is_some(), "the entries still name the old containers: {:?}", ids());
}

/// A network with `enable_overlapping_ranges: false`.
fn apart(name: &str, range: &str) -> Value {
    with_ipam(name, &json!({"range": range, "enable_overlapping_ranges": false}))
}

/// Two networks of one range with different settings, which are then exchanged while the pods run.
fn both_ways(cluster: &Cluster) {
    daemons(cluster);
    let range = "192.168.78.0/28";
    let names = ["both0", "both1", "both2", "both3", "both4", "both5", "both6", "both7"];
    let pods = |half: std::ops::Range<usize>| -> Vec<Value> {
        let network = |at: usize| if at % 4 < 2 { "shared" } else { "apart" };
        half.map(|at| pod(names[at], ["node1", "node2"][at % 2], network(at))).collect()
    };
    cluster.apply(&[ranged("shared", range), apart("apart", range)]);
    // The first request decides: the claims are named by pool, and those of the network "shared" by address too.
    cluster.apply(&[pod("first", "node1", "apart")]);
    cluster.wait_ready(&["first"]);
    cluster.apply(&pods(0..4));
    cluster.wait_ready(&names[..4]);
    let held = claims(cluster);
    assert!(held.iter().any(|name| name.starts_with("192.168.78.0-28-")), "{held:?}");
    assert!(held.iter().any(|name| !name.starts_with("192.168.78.0-28-")), "{held:?}");
    cluster.apply(&[apart("shared", range), ranged("apart", range)]);
    // The nodes go on with the naming of the claims that are there.
    cluster.kubectl(&["delete", "ippool", "192.168.78.0-28", "-n", "kube-system"]);
    cluster.apply(&pods(4..8));
    cluster.wait_ready(&names);
    let names: Vec<&str> = names.into_iter().chain(["first"]).collect();
    let assigned: Vec<String> = names.iter().flat_map(|name| addresses(cluster, name)).collect();
    let distinct: BTreeSet<&String> = assigned.iter().collect();
    assert_eq!((assigned.len(), distinct.len()), (9, 9), "{assigned:?}");
    let by_pool = claims(cluster).iter().filter(|name| name.starts_with("192.168.78.0-28-")).count();
    assert_eq!(by_pool, 9, "one claim by pool for each pod");
    wait_for("entries", &9, || entries(cluster, "192.168.78.0-28").len());
    cluster.delete_pods(&names);
    nothing_is_left(cluster);
}

fn overlapping(cluster: &Cluster) {
    daemons(cluster);
    cluster.apply(&[
        ranged("wide", "192.168.74.0/24"),
        ranged("narrow", "192.168.74.0/28"),
        apart("wide-apart", "192.168.75.0/24"),
        apart("narrow-apart", "192.168.75.0/28"),
        pod("wide", "node1", "wide"),
        pod("wide-apart", "node1", "wide-apart"),
    ]);
    cluster.wait_ready(&["wide", "wide-apart"]);
    cluster.apply(&[pod("narrow", "node2", "narrow"), pod("narrow-apart", "node2", "narrow-apart")]);
    cluster.wait_ready(&["narrow", "narrow-apart"]);
    let of = |pod| addresses(cluster, pod).concat();
    assert_eq!((of("wide").as_str(), of("narrow").as_str()), ("192.168.74.1", "192.168.74.2"));
    assert_eq!((of("wide-apart").as_str(), of("narrow-apart").as_str()), ("192.168.75.1", "192.168.75.1"));
}

fn network_names(cluster: &Cluster) {
    daemons(cluster);
    let named = |name: &str, range: &str| with_ipam(name, &json!({"range": range, "network_name": "shared"}));
    cluster.apply(&[
        ranged("unnamed", "192.168.76.0/24"),
        named("named", "192.168.76.0/24"),
        named("named-too", "192.168.76.0/28"),
        pod("unnamed", "node1", "unnamed"),
        pod("named", "node1", "named"),
    ]);
    cluster.wait_ready(&["unnamed", "named"]);
    cluster.apply(&[pod("named-too", "node2", "named-too")]);
    cluster.wait_ready(&["named-too"]);
    let of = |pod| addresses(cluster, pod).concat();
    assert_eq!(of("unnamed"), "192.168.76.1");
    assert_eq!(of("named"), "192.168.76.1");
    assert_eq!(of("named-too"), "192.168.76.2");
    wait_for("entries", &1, || entries(cluster, "shared-192.168.76.0-24").len());
}

fn dual_stack(cluster: &Cluster) {
    daemons(cluster);
    let ranges = json!({"range": "192.168.77.0/24", "ipRanges": [{"range": "fd00:77::/64"}]});
    cluster.apply(&[
        with_ipam("dual", &ranges),
        pod("dual0", "node1", "dual"),
        pod("dual1", "node2", "dual"),
    ]);
    cluster.wait_ready(&["dual0", "dual1"]);
    let mut assigned = [addresses(cluster, "dual0"), addresses(cluster, "dual1")];
    assigned.sort();
    assert_eq!(assigned, [["192.168.77.1", "fd00:77::1"], ["192.168.77.2", "fd00:77::2"]]);
    let ping =
        cluster.kubectl(&["exec", "dual0", "--", "ping", "-6", "-c", "3", &addresses(cluster, "dual1")[1]]);
    assert!(ping.contains(" 0% packet loss"), "{ping}");
    cluster.delete_pods(&["dual0", "dual1"]);
    nothing_is_left(cluster);
}

fn node_slices(cluster: &Cluster) {
    daemons(cluster);
    let sliced = with_ipam("sliced", &json!({"range": "192.168.80.0/24", "node_slice_size": "/27"}));
    cluster.apply(&[sliced]);
    let slices = || {
        let object = cluster.find(&["nodeslicepool", "sliced", "-n", "kube-system"]).unwrap_or(Value::Null);
        let all = object["status"]["allocations"].as_array().cloned().unwrap_or_default();
        let pair = |s: &Value| {
            (s["nodeName"].as_str().unwrap().to_owned(), s["sliceRange"].as_str().unwrap().to_owned())
        };
        all.iter().map(pair).filter(|(node, _)| !node.is_empty()).collect::<BTreeMap<_, _>>()
    };
    let planned = wait(Duration::from_secs(30), || Some(slices()).filter(|slices| slices.len() == 2));
    let planned = planned.expect("the leader assigns a slice to each node");
    assert_ne!(planned["node1"], planned["node2"]);
    cluster.apply(&[pod("sliced1", "node1", "sliced"), pod("sliced2", "node2", "sliced")]);
    cluster.wait_ready(&["sliced1", "sliced2"]);
    for (pod, node) in [("sliced1", "node1"), ("sliced2", "node2")] {
        let slice: ipnet::IpNet = planned[node].parse().unwrap();
        let ip: std::net::IpAddr = addresses(cluster, pod).concat().parse().unwrap();
        assert!(slice.contains(&ip), "{ip} of {pod} is not in {slice} of {node}");
    }
    assert_eq!(slices(), planned, "slices stay with their nodes");
    cluster.delete_pods(&["sliced1", "sliced2"]);
    wait_for("claims", &Vec::new(), || claims(cluster));
}
