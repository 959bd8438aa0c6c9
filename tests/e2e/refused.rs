//! Pods that cannot get what they ask for: they stay in ContainerCreating with an event that says exactly why, and once deleted nothing
//! is left of them.

use serde_json::{Value, json};
use tests::cluster::{Cluster, wait_for};

use crate::objects::{MACVLAN_CONF, network, nothing_is_left, pod, ranged};

pub const TESTS: &[crate::Test] = &[
    ("a_network_that_does_not_exist_is_named", missing_network),
    ("malformed_annotations_say_where", malformed_annotations),
    ("an_exhausted_range_says_so_and_serves_again_when_freed", exhausted_range),
    ("confs_that_cannot_be_right_say_why", wrong_confs),
    ("a_requested_address_that_is_taken_or_outside_is_refused", requested_addresses),
    ("one_failing_network_of_two_gives_back_the_other", half_a_pod),
    ("a_network_of_another_namespace_is_named_when_missing", other_namespace),
];

const WHY: &str = "FailedCreatePodSandBox";

/// The pod is refused with a message that has all of `parts`, does not run, and leaves nothing.
#[track_caller]
fn refused(cluster: &Cluster, objects: &[Value], asks: &str, parts: &[&str]) {
    cluster.apply(&[objects, &[pod("refused", "node1", asks)]].concat());
    let (first, rest) = parts.split_first().unwrap();
    let message = cluster.wait_event("refused", WHY, first);
    for part in rest {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    assert!(message.len() < 1200, "an event one can read has fewer than {} bytes: {message}", message.len());
    // The kubelet sends the event before it writes the pod's status.
    wait_for("the pod waits", &json!(["Pending", "ContainerCreating"]), || {
        let status = &cluster.get(&["pod", "refused"])["status"];
        json!([status["phase"], status["containerStatuses"][0]["state"]["waiting"]["reason"]])
    });
    cluster.delete_pods(&["refused"]);
    nothing_is_left(cluster);
    let _ = cluster.try_kubectl(&["delete", "events", "--all"], "");
}

fn missing_network(cluster: &Cluster) {
    refused(
        cluster,
        &[],
        "nope",
        &["cannot find a network-attachment-definition (nope) in namespace (default)"],
    );
}

fn malformed_annotations(cluster: &Cluster) {
    for (annotation, part) in [
        (r#"[{"name": "a"#, "failed to parse pod Network Attachment Selection Annotation JSON format"),
        (r#"{"name": "a"}"#, "failed to parse pod Network Attachment Selection Annotation JSON format"),
        (r#"[{"name": "a", "ips": ["banana"]}]"#, "banana"),
        (r#"[{"name": "a", "mac": "banana"}]"#, "failed to mac"),
        (r#"[{"name": "../../../api/v1/namespaces/kube-system/secrets/x"}]"#, "../"),
        (r#"[{"name": "a", "namespace": "../x"}]"#, "../x"),
        ("a/b/c", "Invalid network object (failed at '/')"),
        ("a@b@c", "Invalid network object (failed at '@')"),
        ("A_b", "one or more items did not match comma-delimited format"),
        ("macvlan-conf@a-name-too-long-for-linux", "interface name"),
    ] {
        refused(cluster, &[], annotation, &[part]);
    }
}

fn exhausted_range(cluster: &Cluster) {
    cluster.apply(&[ranged("tiny", "192.168.40.0/30")]);
    cluster.apply(&[pod("one", "node1", "tiny"), pod("two", "node2", "tiny")]);
    cluster.wait_ready(&["one", "two"]);
    cluster.apply(&[pod("three", "node1", "tiny")]);
    let message = cluster.wait_event("three", WHY, "Could not allocate IP in range");
    assert!(message.contains("192.168.40.0/30"), "{message}");
    cluster.delete_pods(&["one"]);
    cluster.wait_ready(&["three"]);
    cluster.delete_pods(&["two", "three"]);
    nothing_is_left(cluster);
}

fn wrong_confs(cluster: &Cluster) {
    let conf = |master: &str, ipam: Value| {
        let config = json!({"cniVersion": "0.3.1", "type": "macvlan", "master": master, "ipam": ipam});
        network("wrong", &config.to_string())
    };
    let whereabouts = |more: Value| tests::driver::merged(&json!({"type": "whereabouts"}), more);
    for (object, parts) in [
        (
            conf("eth9", whereabouts(json!({"range": "192.168.41.0/24"}))),
            &["failed to lookup master \"eth9\""][..],
        ),
        (
            conf("eth0", whereabouts(json!({"range": "192.168.41.0/99"}))),
            &["invalid CIDR", "192.168.41.0/99"],
        ),
        (
            conf("eth0", whereabouts(json!({"range": "192.168.99.1-192.168.41.9/24"}))),
            &["invalid range start"],
        ),
        (conf("eth0", json!({"type": "no-such-ipam"})), &["failed to find plugin \"no-such-ipam\""]),
        (conf("eth0", json!({"type": "../../../bin/sh"})), &["invalid plugin name"]),
        (network("wrong", "{ this is no JSON"), &["wrong"]),
        (network("wrong", r#"{"cniVersion": "0.3.1", "plugins": []}"#), &["no plugins in list"]),
        (network("wrong", r#"{"cniVersion": "7.0.0", "type": "macvlan"}"#), &["7.0.0"]),
    ] {
        refused(cluster, &[object], "wrong", parts);
    }
}

fn requested_addresses(cluster: &Cluster) {
    cluster.apply(&[ranged("asked", "192.168.42.0/24")]);
    let asks = |ip: &str| json!([{"name": "asked", "ips": [ip]}]).to_string();
    cluster.apply(&[pod("holder", "node2", &asks("192.168.42.7"))]);
    cluster.wait_ready(&["holder"]);
    cluster.apply(&[pod("refused", "node1", &asks("192.168.42.7"))]);
    let message = cluster.wait_event("refused", WHY, "192.168.42.7");
    assert!(message.contains("default/holder"), "the holder is not named: {message}");
    cluster.delete_pods(&["refused", "holder"]);
    nothing_is_left(cluster);
    refused(cluster, &[], &asks("10.99.99.99"), &["10.99.99.99", "192.168.42.0/24"]);
}

fn half_a_pod(cluster: &Cluster) {
    cluster.apply(&[network("macvlan-conf", MACVLAN_CONF)]);
    let broken =
        network("broken", r#"{"cniVersion": "0.3.1", "type": "macvlan", "master": "eth9", "ipam": {}}"#);
    refused(cluster, &[broken], "macvlan-conf,broken", &["eth9"]);
}

fn other_namespace(cluster: &Cluster) {
    refused(
        cluster,
        &[],
        "kube-system/theirs",
        &["cannot find a network-attachment-definition (theirs) in namespace (kube-system)"],
    );
}
