//! The cache against a fake API server, on a paused clock.

use std::time::Duration;

use nad::{NetworkAttachmentDefinition, PodRef};
use node::client::{Reach, ResourceKind, Right, Verb};
use serde_json::json;

use super::*;
use crate::rights::RIGHTS;
use crate::rights::tests::granted;
use crate::testing::{Node, nad, pod, settle};

/// The rules of Multus 4.0: no list, no watch, no patch.
const OF_MULTUS_4_0: &[Right] = &[
    Right { kind: ResourceKind::PODS, subresource: None, verbs: &[Verb::Get], reach: Reach::Cluster },
    Right {
        kind: NetworkAttachmentDefinition::KIND,
        subresource: None,
        verbs: &[Verb::Get],
        reach: Reach::Cluster,
    },
];

#[tokio::test(start_paused = true)]
async fn a_pod_is_known_by_its_uid_alone() {
    let node = Node::new();
    node.put_pod("web-0", "u-1", json!({nad::NETWORKS: "a", nad::MIRROR_POD: "0f9a"}));
    let cache = node.running().await.cache;
    assert_eq!(cache.pod(&pod("web-0", "u-1")).unwrap().networks.as_deref(), Some("a"));
    assert!(cache.pod(&pod("web-0", "0f9a")).is_some());
    assert_eq!(cache.pod(&pod("web-0", "u-2")), None);
    assert_eq!(cache.pod(&pod("web-1", "u-1")), None);
    assert_eq!(cache.pod(&PodRef { uid: None, ..pod("web-0", "u-1") }), None);
}

#[tokio::test(start_paused = true)]
async fn changes_reach_the_cache_and_what_is_gone_leaves_it() {
    let node = Node::new();
    let cache = node.running().await.cache;
    node.put_pod("web-0", "u-1", json!({nad::NETWORKS: "a"}));
    node.put_definition("a", "{}");
    settle().await;
    assert!(cache.pod(&pod("web-0", "u-1")).is_some());
    assert_eq!(cache.definition(&nad("a")).unwrap().spec.config, "{}");
    node.put_pod("web-0", "u-2", json!({}));
    node.put_definition("a", "{\"x\":1}");
    settle().await;
    assert!(cache.pod(&pod("web-0", "u-1")).is_none() && cache.pod(&pod("web-0", "u-2")).is_some());
    assert_eq!(cache.definition(&nad("a")).unwrap().spec.config, "{\"x\":1}");
    node.server.remove(&fake_api::Key::new("pods", "default", "web-0"));
    settle().await;
    assert!(cache.pod(&pod("web-0", "u-2")).is_none());
    let text = node.metrics_text();
    assert!(text.contains("multus_daemon_cached{kind=\"pod\"} 0"), "{text}");
    assert!(text.contains("multus_daemon_cached{kind=\"definition\"} 1"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_other_nodes_are_not_listed() {
    let node = Node::new();
    node.put_pod("web-0", "u-1", json!({}));
    node.server.edit(&fake_api::Key::new("pods", "default", "web-0"), |pod| {
        pod["spec"]["nodeName"] = "n2".into();
    });
    let service = node.service().await;
    let name = service.node.clone().unwrap();
    tokio::spawn(follow_pods(service.cache.clone(), service.api, name, |_| ()));
    settle().await;
    assert_eq!(service.cache.pod(&pod("web-0", "u-1")), None);
    assert_eq!(service.cache.contact()[0], ("pods", Contact::Following));
    for request in node.server.received() {
        assert_eq!(request.parameter("fieldSelector").as_deref(), Some("spec.nodeName=n1"), "{request:?}");
        assert!(request.accept.contains("as=PartialObjectMetadata"), "{request:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_list_the_cache_is_empty_and_list_is_tried_again_rarely() {
    let node = Node::with_rights(OF_MULTUS_4_0);
    node.put_pod("web-0", "u-1", json!({}));
    node.put_definition("a", "{}");
    let cache = node.running().await.cache;
    assert_eq!(cache.contact(), [("pods", Contact::OneByOne), ("definitions", Contact::OneByOne)]);
    assert_eq!((cache.pod(&pod("web-0", "u-1")), cache.definition(&nad("a"))), (None, None));
    tokio::time::sleep(follow::FORBIDDEN_RETRY - Duration::from_secs(1)).await;
    assert_eq!(node.server.take_received(), []);
    node.server.grant(granted(RIGHTS));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(cache.contact(), [("pods", Contact::Following), ("definitions", Contact::Following)]);
    assert!(cache.pod(&pod("web-0", "u-1")).is_some() && cache.definition(&nad("a")).is_some());
}

/// An object that nothing keeps up to date any more must not be an answer.
#[tokio::test(start_paused = true)]
async fn a_right_that_is_taken_away_empties_the_cache() {
    let node = Node::new();
    node.put_pod("web-0", "u-1", json!({}));
    node.put_definition("a", "{}");
    let cache = node.running().await.cache;
    assert!(cache.pod(&pod("web-0", "u-1")).is_some());
    node.server.grant(granted(OF_MULTUS_4_0));
    // The server ends a watch after five minutes; the next one is forbidden.
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(cache.contact(), [("pods", Contact::OneByOne), ("definitions", Contact::OneByOne)]);
    assert_eq!((cache.pod(&pod("web-0", "u-1")), cache.definition(&nad("a"))), (None, None));
}

/// Users write both, and the daemon's memory is limited.
#[tokio::test(start_paused = true)]
async fn what_is_huge_is_not_cached_and_an_older_state_of_it_is_forgotten() {
    let node = Node::new();
    node.put_pod("web-0", "u-1", json!({nad::NETWORKS: "a"}));
    node.put_definition("a", "{}");
    let cache = node.running().await.cache;
    assert!(cache.pod(&pod("web-0", "u-1")).is_some() && cache.definition(&nad("a")).is_some());
    node.put_pod("web-0", "u-1", json!({nad::NETWORKS: "a".repeat(200_000)}));
    node.put_definition("a", &"x".repeat(follow::MAX_CONFIG + 1));
    settle().await;
    assert_eq!((cache.pod(&pod("web-0", "u-1")), cache.definition(&nad("a"))), (None, None));
}

#[tokio::test(start_paused = true)]
async fn the_cache_keeps_its_content_while_the_api_server_is_away() {
    let node = Node::new();
    node.put_pod("web-0", "u-1", json!({}));
    let cache = node.running().await.cache;
    node.server.fail(|_| true, std::iter::repeat(fake_api::Fault::Status(503)));
    tokio::time::sleep(Duration::from_secs(900)).await;
    assert!(cache.pod(&pod("web-0", "u-1")).is_some());
}
