//! Requests of plugins, answered by the service and over the socket.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fake_api::Fault;
use nad::rpc::Failure;
use node::client::{Credentials, Reach, ResourceKind, Right, Verb};
use node::rpc::{RpcError, call};
use serde_json::json;
use tokio::sync::oneshot;

use super::*;
use crate::options::Options;
use crate::testing::{Node, event, nad, pod, settle};
use node::daemon::{Log, LogTarget};

const PODS: &str = "/api/v1/namespaces/default/pods";
const DEFINITIONS: &str = "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions";

fn unavailable(response: &Response) -> bool {
    matches!(response, Response::Failed(Failure::Unavailable(_)))
}

#[tokio::test(start_paused = true)]
async fn a_cached_pod_and_its_definitions_need_no_request() {
    let node = Node::new();
    node.put_pod("web-0", "u-1", json!({nad::NETWORKS: "a,b", nad::DEFAULT_NETWORK: "c"}));
    node.put_definition("a", r#"{"type":"x"}"#);
    let service = node.running().await;
    let Response::Pod(found) = service.answer(Request::Pod(pod("web-0", "u-1"))).await else { panic!() };
    assert_eq!((found.networks.as_deref(), found.default_network.as_deref()), (Some("a,b"), Some("c")));
    assert_eq!((found.node.as_deref(), found.pod_ref), (Some("n1"), pod("web-0", "u-1")));
    let Response::Definitions(found) = service.answer(Request::Definitions(vec![nad("a")])).await else {
        panic!()
    };
    assert!(matches!(&found[..], [(_, Lookup::Found(a))] if a.spec.config == r#"{"type":"x"}"#));
    assert_eq!(node.requests(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_pod_with_another_uid_is_read_from_the_api_server() {
    let node = Node::new();
    node.put_pod("web-0", "u-1", json!({}));
    let service = node.running().await;
    // The watch is late: the server has the successor already.
    node.server.fail(|request| request.parameter("watch").is_some(), [Fault::Silence]);
    tokio::time::sleep(Duration::from_secs(300)).await;
    node.put_pod("web-0", "u-2", json!({nad::NETWORKS: "a"}));
    node.requests();
    let Response::Pod(found) = service.answer(Request::Pod(pod("web-0", "u-2"))).await else { panic!() };
    assert_eq!((found.networks.as_deref(), found.pod_ref), (Some("a"), pod("web-0", "u-2")));
    assert_eq!(node.requests(), [format!("GET {PODS}/web-0")]);
    let other = service.answer(Request::Pod(pod("web-0", "u-3"))).await;
    assert_eq!(other, Response::Failed(Failure::PodReplaced("u-2".to_owned())));
    let missing = service.answer(Request::Pod(pod("web-9", "u-1"))).await;
    assert_eq!(missing, Response::Failed(Failure::PodMissing));
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_a_uid_is_never_answered_from_the_cache() {
    let node = Node::new();
    node.put_pod("web-0", "u-1", json!({}));
    let service = node.running().await;
    let any = PodRef { uid: None, ..pod("web-0", "u-1") };
    assert!(matches!(service.answer(Request::Pod(any)).await, Response::Pod(_)));
    assert_eq!(node.requests(), [format!("GET {PODS}/web-0")]);
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_is_not_cached_is_read_and_may_be_absent() {
    let node = Node::new();
    node.put_definition("a", "{}");
    let service = node.service().await;
    let wanted = Request::Definitions(vec![nad("a"), nad("b")]);
    let Response::Definitions(found) = service.answer(wanted).await else { panic!() };
    let found: std::collections::BTreeMap<_, _> = found.into_iter().collect();
    assert!(matches!(&found[&nad("a")], Lookup::Found(_)));
    assert!(matches!(&found[&nad("b")], Lookup::Absent(reason) if reason.contains("not found")), "{found:?}");
    let read: BTreeSet<String> = node.requests().into_iter().collect();
    assert_eq!(read, [format!("GET {DEFINITIONS}/a"), format!("GET {DEFINITIONS}/b")].into());
}

#[tokio::test(start_paused = true)]
async fn by_get_alone_every_answer_is_there() {
    const GET: &[Verb] = &[Verb::Get];
    let right = |kind, subresource, verbs| Right { kind, subresource, verbs, reach: Reach::Cluster };
    let rights = [
        right(ResourceKind::PODS, None, GET),
        right(ResourceKind::PODS, Some("status"), &[Verb::Update]),
        right(nad::NetworkAttachmentDefinition::KIND, None, GET),
    ];
    let node = Node::with_rights(&rights);
    node.put_pod("web-0", "u-1", json!({nad::NETWORKS: "a"}));
    node.put_definition("a", "{}");
    let service = node.running().await;
    assert!(matches!(service.answer(Request::Pod(pod("web-0", "u-1"))).await, Response::Pod(_)));
    let definitions = service.answer(Request::Definitions(vec![nad("a")])).await;
    assert!(matches!(definitions, Response::Definitions(_)));
    let write = StatusWrite { pod: pod("web-0", "u-1"), status: "[{}]".to_owned() };
    assert_eq!(service.answer(Request::Status(write)).await, Response::Done);
    let get = format!("GET {PODS}/web-0");
    assert_eq!(
        node.requests(),
        [&get, &format!("GET {DEFINITIONS}/a"), &get, &format!("PUT {PODS}/web-0/status")]
            .map(String::as_str)
    );
    assert_eq!(node.status("web-0").unwrap(), "[{}]");
}

fn attached(status: &str) -> Request {
    let status = StatusWrite { pod: pod("web-0", "u-1"), status: status.to_owned() };
    let began = node::clock::since_boot().saturating_sub(Duration::from_secs(2));
    Request::Attached(AttachedPod { status, events: vec![event("a")], began })
}

#[tokio::test(start_paused = true)]
async fn an_attached_pod_gets_its_status_and_its_events_and_is_counted() {
    let node = Node::new();
    node.put_pod("web-0", "u-1", json!({}));
    let service = node.running().await;
    assert_eq!(service.answer(attached("[{}]")).await, Response::Done);
    assert_eq!(node.status("web-0").unwrap(), "[{}]");
    settle().await;
    let requests = [format!("PATCH {PODS}/web-0/status"), "POST /api/v1/namespaces/default/events".into()];
    assert_eq!(node.requests(), requests);
    let text = node.metrics_text();
    assert!(text.contains("multus_daemon_calls_total{verb=\"add\",outcome=\"done\"} 1"), "{text}");
    let sum =
        text.lines().find_map(|line| line.strip_prefix("multus_daemon_call_seconds_sum{verb=\"add\"} "));
    let sum: f64 = sum.unwrap().parse().unwrap();
    assert!((2.0..60.0).contains(&sum), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_attached_pod_without_its_status_is_not_reported_as_attached() {
    let node = Node::new();
    node.put_pod("web-0", "u-1", json!({}));
    let service = node.running().await;
    node.server.fail(|request| request.method == "PATCH", [Fault::Status(401)]);
    let response = service.answer(attached("[{}]")).await;
    assert!(matches!(response, Response::Failed(Failure::Denied(_))), "{response:?}");
    settle().await;
    assert_eq!(node.requests(), [format!("PATCH {PODS}/web-0/status")]);
    let text = node.metrics_text();
    assert!(text.contains("multus_daemon_calls_total{verb=\"add\",outcome=\"done\"} 0"), "{text}");
}

/// The runtime kills a plugin whose ADD takes too long, and makes the sandbox again.
#[tokio::test]
async fn the_status_of_a_plugin_that_was_killed_is_not_written_any_more() {
    let (node, folder) = (Node::new(), tempfile::tempdir().unwrap());
    node.put_pod("web-0", "u-1", json!({}));
    let daemon = start(&node, folder.path(), 4).await;
    let is_write = |request: &fake_api::Received| request.method != "GET";
    node.server.fail(is_write, [Fault::Status(503), Fault::Status(503)]);
    let mut killed = tokio::net::UnixStream::connect(&daemon.socket).await.unwrap();
    let mut line = serde_json::to_vec(&attached("[\"old\"]")).unwrap();
    line.push(b'\n');
    tokio::io::AsyncWriteExt::write_all(&mut killed, &line).await.unwrap();
    while !node.server.received().iter().any(is_write) {
        tokio::task::yield_now().await;
    }
    drop(killed);
    // The end waits for the requests in flight, and this one would be written at the third attempt.
    daemon.stop.send(()).unwrap();
    daemon.task.await.unwrap();
    assert_eq!(node.status("web-0"), None);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_does_not_answer_is_reported_before_the_plugin_gives_up() {
    let node = Node::new();
    let service = node.service().await;
    node.server.fail(|_| true, std::iter::repeat(Fault::Silence));
    let write = StatusWrite { pod: pod("web-0", "u-1"), status: "[{}]".to_owned() };
    for request in
        [Request::Pod(pod("web-0", "u-1")), Request::Definitions(vec![nad("a")]), Request::Status(write)]
    {
        let before = Instant::now();
        let response = service.answer(request).await;
        assert!(unavailable(&response), "{response:?}");
        assert!(before.elapsed() < nad::rpc::WAIT_LIMIT);
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_is_told_apart_so_that_the_plugin_tries_its_own_credentials() {
    let node = Node::with_rights(&[]);
    let service = node.service().await;
    for request in [Request::Pod(pod("web-0", "u-1")), Request::Definitions(vec![nad("a")])] {
        let response = service.answer(request).await;
        let Response::Failed(Failure::Denied(text)) = &response else { panic!("{response:?}") };
        assert!(text.contains("grant \"get\" on "), "{text}");
    }
}

/// A daemon on a socket, with the API server in memory.
struct Running {
    socket: PathBuf,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

async fn start(node: &Node, folder: &Path, connections: usize) -> Running {
    let socket = folder.join("run/multus.sock");
    let options = Options {
        certificate: None,
        upkeep: None,
        socket: socket.clone(),
        credentials: Credentials::InCluster,
        node: Some(DnsSubdomain::new("n1").unwrap()),
        listen: None,
        connections: NonZeroUsize::new(connections).unwrap(),
        log: Log { level: tracing::Level::ERROR, target: LogTarget::Stderr },
        warnings: Vec::new(),
    };
    let (stop, stopped) = oneshot::channel();
    let api = node.client().await;
    let daemon = crate::run::serve(options, api, async { stopped.await.unwrap_or_default() });
    let task = tokio::spawn(async { daemon.await.unwrap() });
    while !socket.exists() {
        tokio::task::yield_now().await;
    }
    Running { socket, stop, task }
}

/// A call of a plugin, on a thread of its own, because it blocks.
fn plugin(socket: &Path, request: Request) -> tokio::task::JoinHandle<Result<Response, RpcError>> {
    let socket = socket.to_owned();
    tokio::task::spawn_blocking(move || call(&socket, &request, Deadline::after(Duration::from_secs(60))))
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_hundred_plugins_at_once_are_answered_over_the_socket() {
    let (node, folder) = (Node::new(), tempfile::tempdir().unwrap());
    for n in 0..100 {
        node.put_pod(&format!("web-{n}"), &format!("u-{n}"), json!({nad::NETWORKS: "a"}));
    }
    node.put_definition("a", "{}");
    let daemon = start(&node, folder.path(), 4).await;
    assert_eq!((mode(&daemon.socket), mode(daemon.socket.parent().unwrap())), (0o600, 0o700));
    let status = |n: usize| StatusWrite {
        pod: pod(&format!("web-{n}"), &format!("u-{n}")),
        status: format!("[{{\"n\":{n}}}]"),
    };
    for request in [
        &(|n| Request::Pod(pod(&format!("web-{n}"), &format!("u-{n}")))) as &dyn Fn(usize) -> Request,
        &|_| Request::Definitions(vec![nad("a")]),
        &|n| Request::Status(status(n)),
        &|n| Request::Events(vec![event(&n.to_string())]),
    ] {
        let calls: Vec<_> = (0..100).map(|n| plugin(&daemon.socket, request(n))).collect();
        for call in calls {
            let response = call.await.unwrap().unwrap();
            assert!(!matches!(response, Response::Failed(_)), "{response:?}");
        }
    }
    daemon.stop.send(()).unwrap();
    daemon.task.await.unwrap();
    for n in 0..100 {
        assert_eq!(node.status(&format!("web-{n}")).unwrap(), format!("[{{\"n\":{n}}}]"));
    }
    // The end waits for the events.
    assert_eq!(node.server.received().iter().filter(|request| request.method == "POST").count(), 100);
}

#[tokio::test]
async fn a_request_in_flight_is_answered_at_the_end_and_the_next_daemon_takes_over() {
    let (node, folder) = (Node::new(), tempfile::tempdir().unwrap());
    node.put_pod("web-0", "u-1", json!({}));
    let daemon = start(&node, folder.path(), 4).await;
    // A read that the cache cannot answer, and that takes two attempts.
    let is_get = |request: &fake_api::Received| request.path.ends_with("/web-1");
    node.server.fail(is_get, [Fault::Status(503), Fault::Status(503)]);
    let in_flight = plugin(&daemon.socket, Request::Pod(pod("web-1", "u-1")));
    while !node.server.received().iter().any(is_get) {
        tokio::task::yield_now().await;
    }
    daemon.stop.send(()).unwrap();
    assert_eq!(in_flight.await.unwrap().unwrap(), Response::Failed(Failure::PodMissing));
    daemon.task.await.unwrap();
    let error = plugin(&daemon.socket, Request::Pod(pod("web-0", "u-1"))).await.unwrap().unwrap_err();
    assert!(matches!(error, RpcError::Absent { .. }), "{error}");
    std::fs::remove_file(&daemon.socket).unwrap();
    let next = start(&node, folder.path(), 4).await;
    let response = plugin(&next.socket, Request::Pod(pod("web-0", "u-1"))).await.unwrap().unwrap();
    assert!(matches!(response, Response::Pod(_)), "{response:?}");
}

/// A burst holds no more than the requests that are served: the others wait in the kernel.
#[tokio::test]
async fn a_burst_of_requests_does_not_reach_the_api_server_at_once() {
    let (node, folder) = (Node::new(), tempfile::tempdir().unwrap());
    let daemon = start(&node, folder.path(), 8).await;
    node.server.fail(|request| request.path.contains("/pods/"), std::iter::repeat_n(Fault::Silence, 8));
    let calls: Vec<_> =
        (0..150).map(|n| plugin(&daemon.socket, Request::Pod(pod(&format!("web-{n}"), "u-1")))).collect();
    let reads = || node.server.received().iter().filter(|request| request.path.contains("/pods/")).count();
    while reads() < 8 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Enough turns for all that could run.
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(reads(), 8);
    drop(calls);
    daemon.task.abort();
}

#[tokio::test(start_paused = true)]
async fn events_are_answered_before_they_are_sent() {
    let node = Node::new();
    let service = node.running().await;
    node.server.fail(|request| request.method == "POST", std::iter::repeat(Fault::Silence));
    let before = Instant::now();
    assert_eq!(service.answer(Request::Events(vec![event("a")])).await, Response::Done);
    assert_eq!(before.elapsed(), Duration::ZERO);
    settle().await;
    assert_eq!(node.requests(), ["POST /api/v1/namespaces/default/events"]);
}
