//! What the leader says about the configurations of the networks.

use super::*;

fn ipam(more: Value) -> Value {
    let mut ipam = json!({"type": "whereabouts", "range": "10.0.0.0/24"});
    ipam.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ipam
}

#[tokio::test(start_paused = true)]
async fn the_warnings_of_a_network_are_one_event_on_its_definition() {
    let world = World::new().await;
    world.network("team", "odd", ipam(json!({"range_start": "10.0.1.7", "rangeEnd": "10.0.0.9"})));
    world.network("team", "right", ipam(json!({})));
    let reported = world.check_networks(&BTreeSet::new()).await;
    let events = world.server.all("events");
    assert_eq!(events.len(), 1, "{events:?}");
    let (event, involved) = (&events[0], &events[0]["involvedObject"]);
    assert_eq!((&event["reason"], &event["type"]), (&json!("NetworkWarning"), &json!("Warning")));
    assert_eq!(event["metadata"]["namespace"], "team");
    let expected = json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "namespace": "team", "name": "odd", "uid": "nad-odd"});
    assert_eq!(*involved, expected);
    let text = event["message"].as_str().unwrap();
    assert!(
        text.contains("ipam.rangeEnd is a key of host-local") && text.contains("\"range_end\""),
        "{text}"
    );
    assert!(text.contains("range_start 10.0.1.7 is not a usable address of 10.0.0.0/24"), "{text}");
    world.check_networks(&reported).await;
    // A new leader.
    world.check_networks(&BTreeSet::new()).await;
    assert_eq!(world.server.all("events").len(), 1, "once for each configuration");
    world.network("team", "odd", ipam(json!({"range_start": "10.0.1.8"})));
    world.check_networks(&reported).await;
    assert_eq!(world.server.all("events").len(), 2, "a changed configuration is another one");
}

#[tokio::test(start_paused = true)]
async fn what_an_add_would_refuse_is_said_before_a_pod_needs_it() {
    let table = [
        (json!({"range": ""}), "unless the flat file of the nodes has a range): ipam has neither \"range\""),
        (json!({"range": "10.0.0.0/33"}), "invalid CIDR"),
        (json!({"exclude": ["x"]}), "could not parse exclude range"),
        (json!({"exclude": ["10.0.0.0/24"]}), "range 10.0.0.0/24: the excludes cover every address"),
        (json!({"network_name": "My_Net"}), "change network_name"),
        (json!({"node_slice_size": "x"}), "invalid node_slice_size"),
        (json!({"gateway": 5}), "ipam.gateway must be a string"),
        (json!({"configuration_path": "/tmp/x"}), "ipam.configuration_path"),
    ];
    for (more, expected) in table {
        let world = World::new().await;
        world.network("team", "bad", ipam(more));
        world.check_networks(&BTreeSet::new()).await;
        let events = world.events();
        assert!(
            matches!(&events[..], [(reason, text)] if reason == "InvalidNetwork"
                && text.starts_with("pods get no address of this network") && text.contains(expected)),
            "{expected}: {events:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn networks_of_other_plugins_are_none_of_our_business() {
    let world = World::new().await;
    world.network("team", "host-local", json!({"type": "host-local", "rangeStart": "10.0.1.7"}));
    world.server.put(
        "network-attachment-definitions",
        "team",
        "empty",
        json!({"metadata": {"uid": "u"}, "spec": {}}),
    );
    assert!(world.check_networks(&BTreeSet::new()).await.is_empty());
    assert!(world.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_event_that_could_not_be_created_is_tried_again() {
    let world = World::new().await;
    world.network("team", "bad", ipam(json!({"range": "banana"})));
    world.server.fail("/events");
    assert!(world.check_networks(&BTreeSet::new()).await.is_empty(), "nothing is reported yet");
}
