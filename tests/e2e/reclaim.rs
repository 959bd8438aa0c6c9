//! Addresses of pods that are gone without a DEL are free again after the grace time, and nobody else's ever are.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::cluster::{Cluster, wait, wait_for};

use crate::daemon::{GRACE, daemons};
use crate::objects::{addresses, claims, nothing_is_left, pod, ranged, set};
use crate::pools::entries;

pub const TESTS: &[crate::Test] = &[
    ("addresses_of_a_lost_nodes_pods_are_reclaimed_and_its_late_dels_harm_nobody", lost_node),
    ("a_stateful_pod_that_comes_back_elsewhere_keeps_its_address", comes_back_elsewhere),
    ("a_copy_of_a_live_pods_entry_goes_with_the_pod", copied_entry),
    ("what_nobody_can_judge_is_left_alone", left_alone),
];

/// A node on which nothing runs until this is dropped: as one that hangs, or is cut off.
struct Frozen<'a>(&'a Cluster, &'static str);

impl<'a> Frozen<'a> {
    fn new(cluster: &'a Cluster, node: &'static str) -> Self {
        cluster.sh(node, "kill -STOP -1; true");
        Frozen(cluster, node)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = self.0.on(self.1, &["sh", "-c", "kill -CONT -1; true"], "");
    }
}

/// Claims by address, with the pod.
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
        // If the leader was on that node another one has to take over first.
        let limit = Duration::from_secs(GRACE * 2 + 90);
        let freed = wait(limit, || (!claims(cluster).contains(&lost)).then(|| gone.elapsed()));
        let freed = freed.unwrap_or_else(|| panic!("{lost} is still claimed: {:?}", holders(cluster)));
        assert!(
            freed >= Duration::from_secs(GRACE),
            "{lost} was free after {freed:?}, before the grace time"
        );
        assert_eq!(claims(cluster), std::slice::from_ref(&stays), "the live pod's address is its own");
        cluster.wait_event("lost", "IPAddressGarbageCollected", &lost);
        cluster.apply(&[pod("heir", "node1", "lost")]);
        cluster.wait_ready(&["heir"]);
        assert_eq!(addresses(cluster, "heir").concat(), lost, "the lowest free address is given again");
    }
    // The node wakes up and tears the old sandbox down: the heir keeps its address.
    wait_for("node2 is Ready", &"True".to_owned(), || {
        let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        cluster.kubectl(&["get", "node", "node2", "-o", path])
    });
    let sandboxes = || cluster.sh("node2", "ls /run/netns | grep -c cni- || true");
    wait_for("sandboxes on node2", &"0".to_owned(), sandboxes);
    let expected = BTreeMap::from([(stays, "default/stays".to_owned()), (lost, "default/heir".to_owned())]);
    assert_eq!(holders(cluster), expected);
}

fn comes_back_elsewhere(cluster: &Cluster) {
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
        let on_node1 = || cluster.get(&["pod", "moved-0"])["spec"]["nodeName"] == json!("node1");
        wait(Duration::from_secs(60), || {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(on_node1)).ok().filter(|b| *b)
        });
        assert_eq!(pod_is_ready(), before, "the same pod has the same address wherever it runs");
        // Twice the grace time: the successor's UID is the claim's now.
        std::thread::sleep(Duration::from_secs(GRACE * 3));
        assert_eq!(claims(cluster), before);
    }
    std::thread::sleep(Duration::from_secs(10));
    assert_eq!(claims(cluster), before, "the old node's late DEL frees nothing of the successor");
    cluster.kubectl(&["delete", "statefulset", "moved"]);
    nothing_is_left(cluster);
}

/// Whereabouts' test of its pod controller: a second entry of the same container must not outlive the pod.
fn copied_entry(cluster: &Cluster) {
    daemons(cluster);
    let pool = "192.168.92.0-24";
    cluster.apply(&[ranged("copied", "192.168.92.0/24"), pod("copied", "node1", "copied")]);
    cluster.wait_ready(&["copied"]);
    wait_for("entries", &1, || entries(cluster, pool).len());
    let object = cluster.get(&["ippool", pool, "-n", "kube-system"]);
    let mut copy = object["spec"]["allocations"]["1"].clone();
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

fn left_alone(cluster: &Cluster) {
    daemons(cluster);
    // Kept free by hand; of a pod that waits for something; of something that is no pod's name.
    let mut pending = pod("pending", "node1", "none");
    pending["spec"]["schedulingGates"] = json!([{"name": "tests/never"}]);
    cluster.apply(&[pending]);
    let reservation = |ip: &str, podref: &str| {
        json!({"apiVersion": "whereabouts.cni.cncf.io/v1alpha1", "kind": "OverlappingRangeIPReservation",
            "metadata": {"name": ip, "namespace": "kube-system"}, "spec": {"podref": podref, "ifname": "net1"}})
    };
    cluster.apply(&[
        reservation("192.168.93.1", ""),
        reservation("192.168.93.2", "default/pending"),
        reservation("192.168.93.3", "no pod's name"),
        reservation("192.168.93.4", "default/was-never-there"),
    ]);
    wait_for("claims", &3, || claims(cluster).len());
    std::thread::sleep(Duration::from_secs(GRACE * 2));
    assert_eq!(claims(cluster), ["192.168.93.1", "192.168.93.2", "192.168.93.3"]);
    cluster.kubectl(&["delete", "overlappingrangeipreservations", "--all", "-A"]);
}
