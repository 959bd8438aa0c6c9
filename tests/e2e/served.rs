//! Pods that get the networks they request, and release them.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::cluster::{Cluster, NETWORK_STATUS, text, wait_for};

use crate::objects::{MACVLAN_CONF, claims, create_pods, ip_pool, network, nothing_is_left, pod, ranged};

pub const TESTS: &[crate::Test] = &[
    ("three_pods_on_two_nodes_reach_each_other_over_net1", three_pods),
    ("network_status_has_the_bytes_of_multus_and_the_primary_gateway", network_status_bytes),
    ("kubectl_describe_shows_the_added_interfaces", events_of_added_interfaces),
    ("deleting_a_pod_releases_its_claim_and_leaves_nothing", deletion),
    ("twenty_concurrent_pods_get_twenty_addresses", twenty_pods),
    ("the_json_form_sets_interface_address_and_mac", json_form),
    ("two_networks_become_net1_and_net2", two_networks),
    ("a_pod_without_annotation_gets_the_primary_network_only", no_annotation),
    ("addresses_in_a_whereabouts_pool_are_never_assigned", upstream_pool),
];

fn net1(cluster: &Cluster, pod: &str) -> Value {
    let status = cluster.network_status(pod);
    let entry = status.iter().find(|entry| entry["interface"] == "net1");
    entry.unwrap_or_else(|| panic!("{pod} has no net1: {status:?}")).clone()
}

fn address(cluster: &Cluster, pod: &str) -> String {
    net1(cluster, pod)["ips"][0].as_str().unwrap().to_owned()
}

#[track_caller]
fn reaches(cluster: &Cluster, from: &str, to: &str) {
    let output =
        cluster.try_kubectl(&["exec", from, "--", "ping", "-c", "2", "-w", "10", "-I", "net1", to], "");
    assert!(text(&output.stdout).contains(" 0% packet loss"), "{from} to {to}: {}", text(&output.stdout));
}

fn three_pods(cluster: &Cluster) {
    cluster.apply(&[network("macvlan-conf", MACVLAN_CONF)]);
    let pods = [("pod0", "node1"), ("pod1", "node1"), ("pod2", "node2")];
    cluster.apply(&pods.map(|(name, node)| pod(name, node, "macvlan-conf")));
    cluster.wait_ready(&["pod0", "pod1", "pod2"]);
    for (name, _) in pods {
        let interfaces = cluster.kubectl(&["exec", name, "--", "ls", "/sys/class/net"]);
        assert_eq!(
            interfaces.split_whitespace().collect::<BTreeSet<_>>(),
            BTreeSet::from(["eth0", "lo", "net1"])
        );
        let shown = cluster.kubectl(&["exec", name, "--", "ip", "-4", "addr", "show", "dev", "net1"]);
        let address = address(cluster, name);
        assert!(shown.contains(&format!("inet {address}/24")), "{address} is not in {shown}");
        assert!(address.starts_with("192.168.20."));
    }
    let addresses = ["pod0", "pod1", "pod2"].map(|name| address(cluster, name));
    for from in ["pod0", "pod1", "pod2"] {
        for to in &addresses {
            reaches(cluster, from, to);
        }
    }
    let mut claimed = claims(cluster);
    claimed.sort();
    let mut wanted = addresses.to_vec();
    wanted.sort();
    assert_eq!(claimed, wanted);
    assert_eq!(claimed, ["192.168.20.10", "192.168.20.11", "192.168.20.12"], "the lowest free addresses");
}

fn network_status_bytes(cluster: &Cluster) {
    cluster.apply(&[network("macvlan-conf", MACVLAN_CONF), pod("pod0", "node1", "macvlan-conf")]);
    cluster.wait_ready(&["pod0"]);
    let object = cluster.get(&["pod", "pod0"]);
    let annotation = object["metadata"]["annotations"][NETWORK_STATUS].as_str().unwrap();
    let status = cluster.network_status("pod0");
    let (eth0, net1) = (&status[0], &status[1]);
    let wanted = format!(
        "[{{\n    \"name\": \"primary\",\n    \"interface\": \"eth0\",\n    \"ips\": [\n        {}\n    ],\n    \"mac\": {},\n    \
         \"default\": true,\n    \"dns\": {{}},\n    \"gateway\": [\n        {}\n    ]\n}},{{\n    \
         \"name\": \"default/macvlan-conf\",\n    \"interface\": \"net1\",\n    \"ips\": [\n        {}\n    ],\n    \"mac\": {},\n    \
         \"dns\": {{}}\n}}]",
        eth0["ips"][0], eth0["mac"], eth0["gateway"][0], net1["ips"][0], net1["mac"]
    );
    assert_eq!(annotation, wanted);
    // The primary network's default route names no gateway, so it is that of the address. net1 has no default route.
    assert_eq!((&eth0["gateway"], &net1["gateway"]), (&json!(["10.244.1.1"]), &Value::Null));
    assert_eq!(eth0["ips"][0], object["status"]["podIP"]);
}

fn events_of_added_interfaces(cluster: &Cluster) {
    cluster.apply(&[network("macvlan-conf", MACVLAN_CONF), pod("pod0", "node1", "macvlan-conf")]);
    cluster.wait_ready(&["pod0"]);
    let address = address(cluster, "pod0");
    let wanted = format!("Add net1 [{address}/24] from default/macvlan-conf");
    cluster.wait_event("pod0", "AddedInterface", &wanted);
    let shown = cluster.kubectl(&["describe", "pod", "pod0"]);
    assert!(shown.contains(&wanted) && shown.contains(NETWORK_STATUS), "{shown}");
}

fn deletion(cluster: &Cluster) {
    cluster.apply(&[network("macvlan-conf", MACVLAN_CONF)]);
    cluster.apply(&[pod("pod0", "node1", "macvlan-conf"), pod("pod2", "node2", "macvlan-conf")]);
    cluster.wait_ready(&["pod0", "pod2"]);
    assert_eq!(claims(cluster).len(), 2);
    let macvlans = |node: &str| {
        cluster.sh(
            node,
            "for n in /run/netns/cni-*; do nsenter --net=$n ip -o link show type macvlan; done | wc -l",
        )
    };
    assert_eq!((macvlans("node1").as_str(), macvlans("node2").as_str()), ("1", "1"));
    let first = address(cluster, "pod0");
    cluster.delete_pods(&["pod0", "pod2"]);
    nothing_is_left(cluster);
    // The released address is the lowest free one.
    cluster.apply(&[pod("pod3", "node1", "macvlan-conf")]);
    cluster.wait_ready(&["pod3"]);
    assert_eq!(address(cluster, "pod3"), first);
}

fn twenty_pods(cluster: &Cluster) {
    cluster.apply(&[network("macvlan-conf", MACVLAN_CONF)]);
    let names = create_pods(cluster, "many", 20, "macvlan-conf");
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    cluster.wait_ready(&names);
    let addresses: BTreeSet<String> = names.iter().map(|name| address(cluster, name)).collect();
    assert_eq!(addresses.len(), 20);
    assert_eq!(claims(cluster).into_iter().collect::<BTreeSet<_>>(), addresses);
    cluster.delete_pods(&names);
    nothing_is_left(cluster);
}

fn json_form(cluster: &Cluster) {
    cluster.apply(&[ranged("wide", "192.168.30.0/24")]);
    let element = json!([{"name": "wide", "namespace": "default", "interface": "data0",
        "ips": ["192.168.30.77"], "mac": "02:23:45:67:89:01"}]);
    cluster.apply(&[pod("requested", "node1", &element.to_string())]);
    cluster.wait_ready(&["requested"]);
    let status = cluster.network_status("requested");
    assert_eq!(status[1]["interface"], "data0");
    assert_eq!(status[1]["ips"], json!(["192.168.30.77"]));
    assert_eq!(status[1]["mac"], "02:23:45:67:89:01");
    let shown = cluster.kubectl(&["exec", "requested", "--", "ip", "addr", "show", "dev", "data0"]);
    assert!(shown.contains("192.168.30.77/24") && shown.contains("02:23:45:67:89:01"), "{shown}");
    assert_eq!(claims(cluster), ["192.168.30.77"]);
}

fn two_networks(cluster: &Cluster) {
    cluster.apply(&[ranged("red", "192.168.31.0/24"), ranged("blue", "192.168.32.0/24")]);
    cluster.apply(&[pod("both", "node1", "red,default/blue"), pod("named", "node2", "red@front,red")]);
    cluster.wait_ready(&["both", "named"]);
    let names = |pod: &str| -> Vec<(Value, Value)> {
        cluster
            .network_status(pod)
            .iter()
            .map(|entry| (entry["name"].clone(), entry["interface"].clone()))
            .collect()
    };
    let entry = |name: &str, interface: &str| (json!(name), json!(interface));
    assert_eq!(
        names("both"),
        [entry("primary", "eth0"), entry("default/red", "net1"), entry("default/blue", "net2")]
    );
    assert_eq!(
        names("named"),
        [entry("primary", "eth0"), entry("default/red", "front"), entry("default/red", "net2")]
    );
    assert_eq!(claims(cluster).len(), 4);
}

fn no_annotation(cluster: &Cluster) {
    let mut plain = pod("plain", "node1", "");
    plain["metadata"].as_object_mut().unwrap().remove("annotations");
    cluster.apply(&[plain]);
    cluster.wait_ready(&["plain"]);
    let status = cluster.network_status("plain");
    assert_eq!(
        (status.len(), &status[0]["interface"], &status[0]["default"]),
        (1, &json!("eth0"), &json!(true))
    );
}

fn upstream_pool(cluster: &Cluster) {
    let entry = |podref: &str| json!({"id": "0123abc", "podref": podref, "ifname": "net1"});
    let entries =
        json!({"1": entry("other/a"), "2": entry("other/b"), "4": {"id": "x", "podref": "other/c"}});
    let pool = ip_pool("192.168.33.0/24", entries);
    cluster.apply(&[pool, ranged("old", "192.168.33.0/24")]);
    cluster.apply(&[pod("new0", "node1", "old"), pod("new1", "node2", "old")]);
    cluster.wait_ready(&["new0", "new1"]);
    let assigned = [address(cluster, "new0"), address(cluster, "new1")];
    assert_ne!(assigned[0], assigned[1]);
    for old in ["192.168.33.1", "192.168.33.2", "192.168.33.4"] {
        assert!(
            !assigned.contains(&old.to_owned()),
            "{old} has a holder in the pool, assigned: {assigned:?}"
        );
    }
    cluster.delete_pods(&["new0", "new1"]);
    let own = |claims: Vec<String>| claims.into_iter().filter(|c| assigned.contains(c)).collect::<Vec<_>>();
    wait_for("claims of the new pods", &Vec::new(), || own(claims(cluster)));
    // The entries of the old pods stay.
    let still = cluster.get(&["ippool", "192.168.33.0-24", "-n", "kube-system"]);
    assert_eq!(still["spec"]["allocations"].as_object().unwrap().len(), 3);
    cluster.kubectl(&["delete", "overlappingrangeipreservations", "--all", "-A"]);
}
