//! Pods whose networks fail: they stay in ContainerCreating, an event names the reason, and nothing is left after their deletion.

use serde_json::{Value, json};
use tests::cluster::{Cluster, wait_for};

use crate::objects::{MACVLAN_CONF, network, nothing_is_left, pod, ranged};

pub const TESTS: &[crate::Test] = &[
    ("the_event_of_a_missing_network_names_it", missing_network),
    ("the_event_of_a_malformed_annotation_names_the_fault", malformed_annotations),
    ("the_event_of_an_exhausted_range_names_it_and_a_release_serves_the_next_pod", exhausted_range),
    ("the_event_of_an_invalid_conf_names_the_fault", wrong_confs),
    ("a_requested_address_that_is_allocated_or_outside_the_range_is_refused", requested_addresses),
    ("a_failing_second_network_releases_the_first", failing_second),
    ("the_event_of_a_missing_network_names_its_namespace", other_namespace),
];

/// The reason of the events in which the kubelet reports a failed ADD.
const REASON: &str = "FailedCreatePodSandBox";

/// A pod that requests `networks` does not run, has an event with all of `parts`, and leaves nothing after its deletion.
#[track_caller]
fn refused(cluster: &Cluster, objects: &[Value], networks: &str, parts: &[&str]) {
    cluster.apply(&[objects, &[pod("refused", "node1", networks)]].concat());
    let (first, rest) = parts.split_first().unwrap();
    let message = cluster.wait_event("refused", REASON, first);
    for part in rest {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    assert!(message.len() < 1200, "an event of {} bytes is too long to read: {message}", message.len());
    // The kubelet sends the event before it writes the pod's status.
    wait_for("phase and reason of the pod", &json!(["Pending", "ContainerCreating"]), || {
        let status = &cluster.get(&["pod", "refused"])["status"];
        json!([status["phase"], status["containerStatuses"][0]["state"]["waiting"]["reason"]])
    });
    cluster.delete_pods(&["refused"]);
    nothing_is_left(cluster);
    // The next pod of this name must not find the event of this one.
    cluster.kubectl(&["delete", "events", "--all"]);
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
        (
            r#"[{"name": "../../../api/v1/namespaces/kube-system/secrets/x"}]"#,
            "\"..\" is not a valid namespace",
        ),
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
    let message = cluster.wait_event("three", REASON, "Could not allocate IP in range");
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
    cluster.apply(&[ranged("requested", "192.168.42.0/24")]);
    let requests = |ip: &str| json!([{"name": "requested", "ips": [ip]}]).to_string();
    cluster.apply(&[pod("holder", "node2", &requests("192.168.42.7"))]);
    cluster.wait_ready(&["holder"]);
    cluster.apply(&[pod("refused", "node1", &requests("192.168.42.7"))]);
    let message = cluster.wait_event("refused", REASON, "192.168.42.7");
    assert!(message.contains("default/holder"), "the event does not name the holder: {message}");
    cluster.delete_pods(&["refused", "holder"]);
    nothing_is_left(cluster);
    refused(cluster, &[], &requests("10.99.99.99"), &["10.99.99.99", "192.168.42.0/24"]);
}

fn failing_second(cluster: &Cluster) {
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
