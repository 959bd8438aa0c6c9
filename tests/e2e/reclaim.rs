//! Reclaim: an address whose pod is gone without a DEL is free after the grace time, and no other address is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::cluster::{Cluster, wait, wait_for};

use crate::daemon::{GRACE, daemons};
use crate::objects::{addresses, claims, nothing_is_left, pod, ranged, reservation, set};
use crate::pools::entries;

pub const TESTS: &[crate::Test] = &[
    ("addresses_of_a_lost_node_are_reclaimed_and_its_late_del_does_not_release_them_again", lost_node),
    ("a_stateful_pod_that_moves_to_another_node_keeps_its_address", moves),
    ("a_second_entry_of_a_pod_is_removed_with_the_pod", copied_entry),
    ("claims_without_a_pod_to_look_up_are_kept", kept),
];

/// A node whose processes are stopped until this is dropped, like a node that hangs or has lost its network.
struct Frozen<'a>(&'a Cluster, &'static str);

impl<'a> Frozen<'a> {
    fn new(cluster: &'a Cluster, node: &'static str) -> Self {
        // -1 means every process of the node's pid namespace except this shell and process 1.
        cluster.sh(node, "kill -STOP -1; true");
        Frozen(cluster, node)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = self.0.on(self.1, &["sh", "-c", "kill -CONT -1; true"], "");
    }
}

/// The pod of each claim, by address.
fn holders(cluster: &Cluster) -> BTreeMap<String, String> {
    let list = cluster.get(&["overlappingrangeipreservations", "-A"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| (text(&item["metadata"]["name"]), text(&item["spec"]["podref"]))).collect()
}

fn lost_node(cluster: &Cluster) {
    daemons(cluster);
    cluster.apply(&[
        ranged("lost", "192.168.90.0/24"),
        pod("stays", "node1", "lost"),
        pod("lost", "node2", "lost"),
    ]);
    cluster.wait_ready(&["stays", "lost"]);
    let (stays, lost) = (addresses(cluster, "stays").concat(), addresses(cluster, "lost").concat());
    {
        let _frozen = Frozen::new(cluster, "node2");
        cluster.kubectl(&["delete", "pod", "lost", "--force", "--grace-period=0"]);
        let gone = Instant::now();
        // If the leader ran on that node, another one must take over first.
        let limit = Duration::from_secs(GRACE * 2 + 90);
        let freed = wait(limit, || (!claims(cluster).contains(&lost)).then(|| gone.elapsed()));
        let freed = freed.unwrap_or_else(|| panic!("{lost} is still claimed: {:?}", holders(cluster)));
        assert!(
            freed >= Duration::from_secs(GRACE),
            "{lost} was free after {freed:?}, within the grace time"
        );
        assert_eq!(claims(cluster), std::slice::from_ref(&stays), "claims besides that of the live pod");
        cluster.wait_event("lost", "IPAddressGarbageCollected", &lost);
        cluster.apply(&[pod("next", "node1", "lost")]);
        cluster.wait_ready(&["next"]);
        assert_eq!(addresses(cluster, "next").concat(), lost, "the lowest free address");
    }
    // The node continues and runs DEL for the old sandbox. The next pod keeps the address.
    wait_for_the_last_del(cluster, "node2");
    let expected = BTreeMap::from([(stays, "default/stays".to_owned()), (lost, "default/next".to_owned())]);
    assert_eq!(holders(cluster), expected);
}

fn moves(cluster: &Cluster) {
    daemons(cluster);
    let mut moved = set("StatefulSet", "moved", 1, "moved");
    moved["spec"]["template"]["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": "node2"});
    cluster.apply(&[ranged("moved", "192.168.91.0/24"), moved.clone()]);
    let pod_is_ready = || {
        cluster.wait_ready(&["moved-0"]);
        addresses(cluster, "moved-0")
    };
    wait_for("the pod", &true, || cluster.try_kubectl(&["get", "pod", "moved-0"], "").status.success());
    let before = pod_is_ready();
    {
        let _frozen = Frozen::new(cluster, "node2");
        moved["spec"]["template"]["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": "node1"});
        cluster.apply(&[moved]);
        cluster.kubectl(&["delete", "pod", "moved-0", "--force", "--grace-period=0", "--wait=false"]);
        // For a moment there is no pod of this name.
        wait_for("node of the new pod", &Some(json!("node1")), || {
            cluster.find(&["pod", "moved-0"]).map(|pod| pod["spec"]["nodeName"].clone())
        });
        assert_eq!(pod_is_ready(), before, "the address of a stateful pod on another node");
        // Longer than the grace time after the old pod: the claim has the UID of the new one.
        std::thread::sleep(Duration::from_secs(GRACE * 3));
        assert_eq!(claims(cluster), before);
    }
    wait_for_the_last_del(cluster, "node2");
    assert_eq!(claims(cluster), before, "claims after the late DEL on the old node");
    cluster.kubectl(&["delete", "statefulset", "moved"]);
    nothing_is_left(cluster);
}

/// Waits until a node that was frozen is Ready and has no sandbox, so that its late DELs are done.
#[track_caller]
fn wait_for_the_last_del(cluster: &Cluster, node: &str) {
    wait_for(&format!("Ready of {node}"), &"True".to_owned(), || {
        let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        cluster.kubectl(&["get", "node", node, "-o", path])
    });
    wait_for(&format!("sandboxes on {node}"), &Vec::<String>::new(), || {
        let names = cluster.sh(node, "ls /run/netns");
        names.lines().filter(|name| name.starts_with("cni-")).map(str::to_owned).collect()
    });
}

/// Whereabouts' test of its pod controller: a second entry of the same container does not outlive the pod.
fn copied_entry(cluster: &Cluster) {
    daemons(cluster);
    let pool = "192.168.92.0-24";
    cluster.apply(&[ranged("copied", "192.168.92.0/24"), pod("copied", "node1", "copied")]);
    cluster.wait_ready(&["copied"]);
    wait_for("entries", &1, || entries(cluster, pool).len());
    let object = cluster.get(&["ippool", pool, "-n", "kube-system"]);
    let mut copy = object["spec"]["allocations"]["1"].clone();
    // `via` marks an entry that our leader wrote.
    copy.as_object_mut().unwrap().remove("via");
    let patch = json!({"spec": {"allocations": {"50": copy}}}).to_string();
    cluster.kubectl(&["patch", "ippool", pool, "-n", "kube-system", "--type=merge", "-p", &patch]);
    wait_for("claims", &vec!["192.168.92.1".to_owned(), "192.168.92.50".to_owned()], || {
        let mut all = claims(cluster);
        all.sort();
        all
    });
    cluster.delete_pods(&["copied"]);
    wait_for("entries", &BTreeMap::new(), || entries(cluster, pool));
    nothing_is_left(cluster);
}

fn kept(cluster: &Cluster) {
    daemons(cluster);
    // A reservation by an administrator, one of a pod that is not scheduled yet, one whose podref is no pod's name, and, to see that the
    // leader reclaims at all, one of a pod that does not exist.
    let mut pending = pod("pending", "node1", "none");
    pending["spec"]["schedulingGates"] = json!([{"name": "tests/never"}]);
    cluster.apply(&[pending]);
    cluster.apply(&[
        reservation("192.168.93.1", "", "net1"),
        reservation("192.168.93.2", "default/pending", "net1"),
        reservation("192.168.93.3", "no pod's name", "net1"),
        reservation("192.168.93.4", "default/never-was", "net1"),
    ]);
    wait_for("claims", &3, || claims(cluster).len());
    std::thread::sleep(Duration::from_secs(GRACE * 2));
    assert_eq!(claims(cluster), ["192.168.93.1", "192.168.93.2", "192.168.93.3"]);
    cluster.kubectl(&["delete", "overlappingrangeipreservations", "--all", "-A"]);
}
