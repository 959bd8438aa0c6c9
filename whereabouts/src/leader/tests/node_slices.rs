//! Node slices, and the leader's notices about them.

use super::*;

fn sliced(more: Value) -> Value {
    let mut ipam = json!({"type": "whereabouts", "range": "10.0.0.0/24", "node_slice_size": "26"});
    ipam.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ipam
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(one, two)| ((*one).to_owned(), (*two).to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn nodes_get_slices_of_a_network_with_node_slice_size() {
    let world = World::new().await;
    world.network("kube-system", "net-a", sliced(json!({})));
    ["n1", "n2"].iter().for_each(|node| world.server.put("nodes", "", node, json!({})));
    assert!(world.plan_slices().await.is_empty());
    let free = [("", "10.0.0.128/26"), ("", "10.0.0.192/26")];
    assert_eq!(
        world.slices("net-a"),
        pairs(&[&[("n1", "10.0.0.0/26"), ("n2", "10.0.0.64/26")], &free[..]].concat())
    );
    let object = world.server.get("nodeslicepools", "kube-system", "net-a").unwrap();
    assert_eq!(
        object["spec"],
        json!({"range": "10.0.0.0/24", "sliceSize": "26"}),
        "the text of the configuration"
    );
    assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "nad-net-a");
    let writes = world.server.writes();
    world.plan_slices().await;
    assert_eq!(world.server.writes(), writes, "an object that is current is not written");
    // A deleted node keeps its slice until its addresses are released.
    let spec = ReservationSpec { podref: "a/b".into(), ifname: "net1".into(), containerid: ID.into() };
    let range = "10.0.0.0/26".parse().unwrap();
    let claim = Reservation::new(
        "10.0.0.1",
        ReservationOwner {
            pool: "n1-10.0.0.0-26",
            whole: "10.0.0.0-24",
            range,
            pod_uid: None,
            node: None,
            spec,
        },
    );
    world.server.put(RESERVATIONS, "kube-system", "10.0.0.1", serde_json::to_value(claim).unwrap());
    world.server.remove("nodes", "", "n1");
    world.plan_slices().await;
    assert_eq!(world.slices("net-a")[0], pairs(&[("n1", "10.0.0.0/26")])[0]);
    world.server.remove(RESERVATIONS, "kube-system", "10.0.0.1");
    world.plan_slices().await;
    assert_eq!(
        world.slices("net-a"),
        pairs(&[&[("", "10.0.0.0/26"), ("n2", "10.0.0.64/26")], &free[..]].concat())
    );
}

#[tokio::test(start_paused = true)]
async fn an_owner_in_another_namespace_is_removed() {
    let world = World::new().await;
    world.network("team", "net-a", sliced(json!({})));
    let owner = json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "name": "net-a", "uid": "nad-net-a"});
    let object = json!({"metadata": {"ownerReferences": [owner], "labels": {"team": "x"}},
        "spec": {"range": "10.0.0.0/24", "sliceSize": "/26"}, "status": {"allocations": []}});
    world.server.put("nodeslicepools", "kube-system", "net-a", object);
    world.plan_slices().await;
    let object = world.server.get("nodeslicepools", "kube-system", "net-a").unwrap();
    assert_eq!(object["metadata"].get("ownerReferences"), None, "Kubernetes would delete the object");
    assert_eq!(object["metadata"]["labels"]["team"], "x");
    assert_eq!(object["spec"]["sliceSize"], "/26", "a text with the same meaning stays");
}

#[tokio::test(start_paused = true)]
async fn owners_get_an_event_for_each_problem() {
    let world = World::new().await;
    world.network("a", "small", sliced(json!({"range": "10.1.0.0/26"})));
    world.network("a", "one", sliced(json!({"network_name": "x"})));
    world.network("b", "two", sliced(json!({"network_name": "x", "node_slice_size": "/27"})));
    ["n1", "n2"].iter().for_each(|node| world.server.put("nodes", "", node, json!({})));
    let notices = world.plan_slices().await;
    let text_for = |name: &str| {
        notices.iter().find(|notice| notice.network == name).map(|notice| notice.text.clone()).unwrap()
    };
    assert!(text_for("a/small").starts_with("no slice of 10.1.0.0/26 is left for node n2"), "{notices:?}");
    assert!(
        text_for("a/one").starts_with("found IPAM conf mismatch") && text_for("b/two").contains("/27"),
        "{notices:?}"
    );
    assert_eq!(world.slices("small"), pairs(&[("n1", "10.1.0.0/26")]));
    assert_eq!(
        world.server.get("nodeslicepools", "kube-system", "x"),
        None,
        "it is unknown which network is right"
    );
    assert_eq!(world.events().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_network_without_a_name_gets_the_slices_of_its_definitions_name() {
    let world = World::new().await;
    let config = json!({"cniVersion": "1.0.0", "type": "macvlan", "ipam": sliced(json!({}))});
    let object = json!({"metadata": {"uid": "u"}, "spec": {"config": config.to_string()}});
    world.server.put("network-attachment-definitions", "team", "unnamed", object);
    world.server.put("nodes", "", "n1", json!({}));
    assert!(world.plan_slices().await.is_empty());
    assert_eq!(world.slices("unnamed")[0], pairs(&[("n1", "10.0.0.0/26")])[0]);
}

#[tokio::test(start_paused = true)]
async fn the_slices_of_a_deleted_network_go_and_those_of_one_with_a_mistake_stay() {
    let world = World::new().await;
    let unnamed = |name: &str| world.network("team", name, sliced(json!({"range": "10.7.0.0/24"})));
    ["deleted", "mistake", "broken", "shared"].iter().for_each(|name| unnamed(name));
    world.network("other", "too", sliced(json!({"range": "10.7.0.0/24", "network_name": "shared"})));
    world.server.put("nodes", "", "n1", json!({}));
    // Made by Whereabouts: it names no networks.
    world.server.put(
        "nodeslicepools",
        "kube-system",
        "foreign",
        json!({"spec": {"range": "10.8.0.0/24", "sliceSize": "26"}}),
    );
    world.plan_slices().await;
    assert_eq!(world.server.names("nodeslicepools"), ["broken", "deleted", "foreign", "mistake", "shared"]);
    ["deleted", "shared"].iter().for_each(|name| {
        world.server.remove("network-attachment-definitions", "team", name);
    });
    let no_json = json!({"metadata": {"uid": "nad-mistake"}, "spec": {"config": "{,"}});
    world.server.put("network-attachment-definitions", "team", "mistake", no_json);
    world.network("team", "broken", sliced(json!({"range": "banana"})));
    world.plan_slices().await;
    assert_eq!(world.server.names("nodeslicepools"), ["broken", "foreign", "mistake", "shared"]);
    world.server.remove("network-attachment-definitions", "other", "too");
    world.plan_slices().await;
    let left = world.server.names("nodeslicepools");
    assert_eq!(left, ["broken", "foreign", "mistake"], "it goes with the last network");
}
