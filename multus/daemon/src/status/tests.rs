//! Writes of network-status to a fake API server, on a paused clock.

use std::time::Duration;

use fake_api::Fault;
use nad::rpc::{Failure, Request, Response, StatusWrite};
use node::client::{Reach, ResourceKind, Right, Verb};
use serde_json::{Value, json};

use super::written::MAX_MERGES;
use super::*;
use crate::serve::Service;
use crate::testing::{Node, pod, settle};

const POD: &str = "/api/v1/namespaces/default/pods/web-0";

const UPDATE_ONLY: &[Right] = &[
    Right {
        kind: ResourceKind::PODS,
        subresource: None,
        verbs: &[Verb::Get, Verb::List, Verb::Watch],
        reach: Reach::Cluster,
    },
    Right {
        kind: ResourceKind::PODS,
        subresource: Some("status"),
        verbs: &[Verb::Update],
        reach: Reach::Cluster,
    },
];

fn list(entries: &[(&str, &str)]) -> String {
    let entry = |(name, interface): &(&str, &str)| json!({"name": name, "interface": interface, "dns": {}});
    nad::render(&entries.iter().map(entry).collect::<Vec<Value>>()).unwrap()
}

/// What the plugin reports.
fn ours() -> String {
    list(&[("antrea", "eth0"), ("default/a", "net1")])
}

fn theirs(name: &str) -> String {
    list(&[(name, "eth1")])
}

fn merged_with(name: &str) -> String {
    list(&[("antrea", "eth0"), ("default/a", "net1"), (name, "eth1")])
}

async fn node() -> (Node, Service) {
    node_with(Node::new()).await
}

async fn node_with(node: Node) -> (Node, Service) {
    node.put_pod("web-0", "u-1", json!({nad::NETWORKS: "a", "other": "x"}));
    let service = node.running().await;
    (node, service)
}

async fn write(service: &Service, uid: &str) -> Response {
    service.answer(Request::Status(StatusWrite { pod: pod("web-0", uid), status: ours() })).await
}

/// Lets another writer replace the annotation, and returns the requests that follow.
async fn replace(node: &Node, status: &str) -> Vec<String> {
    node.requests();
    node.set_status("web-0", status);
    settle().await;
    node.requests()
}

#[tokio::test(start_paused = true)]
async fn the_status_of_a_cached_pod_is_one_request() {
    let (node, service) = node().await;
    assert_eq!(write(&service, "u-1").await, Response::Done);
    assert_eq!(node.requests(), [format!("PATCH {POD}/status")]);
    assert_eq!(node.status("web-0").unwrap(), ours());
    let text = node.metrics_text();
    assert!(text.contains("multus_daemon_status_writes_total{write=\"patch\",outcome=\"done\"} 1"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_patch_without_an_answer_is_repeated() {
    let (node, service) = node().await;
    node.server.fail(|request| request.method == "PATCH", [Fault::Reset, Fault::Status(503)]);
    assert_eq!(write(&service, "u-1").await, Response::Done);
    assert_eq!((node.requests().len(), node.status("web-0").unwrap()), (3, ours()));
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_patch_the_pod_is_read_and_replaced() {
    let (node, service) = node_with(Node::with_rights(UPDATE_ONLY)).await;
    let (patch, get, put) =
        (format!("PATCH {POD}/status"), format!("GET {POD}"), format!("PUT {POD}/status"));
    assert_eq!(write(&service, "u-1").await, Response::Done);
    assert_eq!(node.requests(), [&patch, &get, &put].map(String::as_str));
    assert_eq!(node.status("web-0").unwrap(), ours());
    assert_eq!(write(&service, "u-1").await, Response::Done);
    assert_eq!(node.requests(), [&get, &put].map(String::as_str));
    tokio::time::sleep(FORBIDDEN_RETRY).await;
    assert_eq!(write(&service, "u-1").await, Response::Done);
    assert_eq!(node.requests(), [&patch, &get, &put].map(String::as_str));
}

#[tokio::test(start_paused = true)]
async fn a_conflict_of_a_replacement_is_resolved_by_reading_again() {
    let (node, service) = node_with(Node::with_rights(UPDATE_ONLY)).await;
    node.server.fail(|request| request.method == "PUT", [Fault::Status(409), Fault::Status(409)]);
    assert_eq!(write(&service, "u-1").await, Response::Done);
    assert_eq!((node.requests().len(), node.status("web-0").unwrap()), (7, ours()));
}

/// Sends a status of the pod, and does not wait for the answer.
fn send(service: &Service, status: &str) -> tokio::task::JoinHandle<Response> {
    let (service, status) = (service.clone(), status.to_owned());
    let write = StatusWrite { pod: pod("web-0", "u-1"), status };
    tokio::spawn(async move { service.answer(Request::Status(write)).await })
}

/// The first plugin has not ended yet.
#[tokio::test(start_paused = true)]
async fn the_newest_status_of_a_pod_stays() {
    let (node, service) = node().await;
    node.server.fail(|request| request.method == "PATCH", [Fault::Silence]);
    let older = send(&service, "[1]");
    settle().await;
    let newer = send(&service, "[2]");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(node.status("web-0").unwrap(), "[2]");
    assert_eq!(newer.await.unwrap(), Response::Done);
    let superseded = "a newer network-status of pod default/web-0/u-1 is being written".to_owned();
    assert_eq!(older.await.unwrap(), Response::Failed(Failure::Unavailable(superseded)));
}

#[tokio::test(start_paused = true)]
async fn a_merge_stops_when_a_newer_status_comes() {
    let (node, service) = node().await;
    write(&service, "u-1").await;
    settle().await;
    node.server.fail(|request| request.method == "PUT", [Fault::Silence]);
    replace(&node, &theirs("default/vlan")).await;
    let without_net1 = list(&[("antrea", "eth0")]);
    let newer = send(&service, &without_net1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((newer.await.unwrap(), node.status("web-0").unwrap()), (Response::Done, without_net1));
}

/// The name is another pod's, and the watch has not told yet.
#[tokio::test(start_paused = true)]
async fn a_successor_never_gets_the_status_of_its_predecessor() {
    let (node, service) = node().await;
    node.server
        .fail(|request| request.method == "GET" && request.parameter("watch").is_some(), [Fault::Silence]);
    tokio::time::sleep(Duration::from_secs(300)).await;
    node.put_pod("web-0", "u-2", json!({}));
    assert!(service.cache.pod(&pod("web-0", "u-1")).is_some(), "the cache must be stale");
    node.requests();
    let replaced = Response::Failed(Failure::PodReplaced("u-2".to_owned()));
    assert_eq!(write(&service, "u-1").await, replaced);
    assert_eq!(node.requests(), [format!("PATCH {POD}/status"), format!("GET {POD}")]);
    assert_eq!(node.status("web-0"), None);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_gone_needs_no_status() {
    let (node, service) = node().await;
    node.server.remove(&fake_api::Key::new("pods", "default", "web-0"));
    assert_eq!(write(&service, "u-1").await, Response::Done);
    settle().await;
    assert_eq!(write(&service, "u-1").await, Response::Done);
}

#[tokio::test(start_paused = true)]
async fn a_replaced_status_is_merged_once() {
    let (node, service) = node().await;
    write(&service, "u-1").await;
    settle().await;
    let requests = replace(&node, &theirs("default/vlan")).await;
    assert_eq!(requests, [format!("GET {POD}"), format!("PUT {POD}/status")]);
    assert_eq!(node.status("web-0").unwrap(), merged_with("default/vlan"));
    tokio::time::sleep(Duration::from_secs(900)).await;
    assert_eq!(node.requests(), Vec::<String>::new());
    // The same replacement again: its writer does not accept the merge.
    assert_eq!(replace(&node, &theirs("default/vlan")).await, Vec::<String>::new());
    // Another change is merged again.
    assert_eq!(replace(&node, &theirs("default/vlan2")).await.len(), 2);
    let all = list(&[
        ("antrea", "eth0"),
        ("default/a", "net1"),
        ("default/vlan", "eth1"),
        ("default/vlan2", "eth1"),
    ]);
    assert_eq!(node.status("web-0").unwrap(), all);
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_never_stops_is_not_answered_for_ever() {
    let (node, service) = node().await;
    write(&service, "u-1").await;
    settle().await;
    for n in 0..MAX_MERGES {
        assert_eq!(replace(&node, &theirs(&format!("default/v{n}"))).await.len(), 2);
    }
    assert_eq!(replace(&node, &theirs("default/last")).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_status_is_not_written_again() {
    let (node, service) = node().await;
    write(&service, "u-1").await;
    settle().await;
    node.requests();
    node.server.edit(&fake_api::Key::new("pods", "default", "web-0"), |pod| {
        pod["metadata"]["annotations"].as_object_mut().unwrap().remove(nad::NETWORK_STATUS);
    });
    settle().await;
    assert_eq!(replace(&node, "[]").await, Vec::<String>::new());
}

/// Whoever attaches networks to a running pod changes the annotation first.
#[tokio::test(start_paused = true)]
async fn nothing_is_merged_once_the_pod_requests_other_networks() {
    let (node, service) = node().await;
    write(&service, "u-1").await;
    settle().await;
    node.server.edit(&fake_api::Key::new("pods", "default", "web-0"), |pod| {
        pod["metadata"]["annotations"][nad::NETWORKS] = "b".into();
    });
    assert_eq!(
        replace(&node, &list(&[("antrea", "eth0"), ("default/b", "net1")])).await,
        Vec::<String>::new()
    );
}

#[tokio::test(start_paused = true)]
async fn a_merge_decides_again_after_a_conflict() {
    let (node, service) = node().await;
    write(&service, "u-1").await;
    settle().await;
    node.server.fail(|request| request.method == "PUT", [Fault::Status(409)]);
    assert_eq!(replace(&node, &theirs("default/vlan")).await.len(), 4);
    assert_eq!(node.status("web-0").unwrap(), merged_with("default/vlan"));
}

#[tokio::test(start_paused = true)]
async fn a_status_that_was_not_written_is_not_merged() {
    let (node, service) = node().await;
    node.server.fail(|request| request.method == "PATCH", [Fault::Status(401)]);
    assert!(matches!(write(&service, "u-1").await, Response::Failed(Failure::Denied(_))));
    assert_eq!(replace(&node, &theirs("default/vlan")).await, Vec::<String>::new());
}

/// The plugin was killed.
#[tokio::test(start_paused = true)]
async fn a_write_that_was_broken_off_is_not_merged() {
    let (node, service) = node().await;
    node.server.fail(|request| request.method == "PATCH", [Fault::Silence]);
    let killed = send(&service, &ours());
    settle().await;
    killed.abort();
    assert!(killed.await.unwrap_err().is_cancelled());
    let text = node.metrics_text();
    assert!(text.contains("multus_daemon_requests_total{request=\"status\",outcome=\"failed\"} 1"), "{text}");
    assert_eq!(replace(&node, &theirs("default/vlan")).await, Vec::<String>::new());
}

/// A daemon whose watch ended knows no longer what a pod has.
#[tokio::test(start_paused = true)]
async fn nothing_is_merged_after_the_watch_of_pods_has_ended() {
    let (node, service) = node().await;
    write(&service, "u-1").await;
    settle().await;
    service.statuses.observe(Observation::Ended);
    assert_eq!(replace(&node, &theirs("default/vlan")).await, Vec::<String>::new());
}
