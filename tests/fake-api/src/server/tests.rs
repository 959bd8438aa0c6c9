use std::time::Duration;

use futures::FutureExt as _;
use http_body_util::Full;
use serde_json::json;
use tower::Service as _;

use super::*;
use crate::access::Reach;

const PODS: &str = "/api/v1/namespaces/d/pods";

fn pod(name: &str) -> Key {
    Key::new("pods", "d", name)
}

async fn send(server: &ApiServer, method: &str, url: &str) -> io::Result<http::Response<Body>> {
    let request = http::Request::builder().method(method).uri(url);
    server.clone().call(request.body(Full::new(Bytes::new())).unwrap()).await
}

async fn code(server: &ApiServer, method: &str, url: &str) -> u16 {
    send(server, method, url).await.map_or(0, |response| response.status().as_u16())
}

/// The type and resourceVersion of a watch's next event.
async fn event(watch: &mut Body) -> Option<(String, String)> {
    let line = watch.frame().await?.unwrap().into_data().unwrap();
    let event: Value = serde_json::from_slice(&line).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Some((text(&event["type"]), text(&event["object"]["metadata"]["resourceVersion"])))
}

fn pair(kind: &str, version: &str) -> Option<(String, String)> {
    Some((kind.to_owned(), version.to_owned()))
}

#[tokio::test]
async fn requests_fail_as_chosen_and_change_nothing() {
    let server = ApiServer::default();
    server.put(&pod("a"), json!({}));
    let faults = [Fault::Status(503), Fault::Reset];
    server.fail(|request| request.method == "DELETE" && request.path.ends_with("/a"), faults);
    assert_eq!(code(&server, "GET", &format!("{PODS}/a")).await, 200);
    assert_eq!(code(&server, "DELETE", &format!("{PODS}/a")).await, 503);
    assert_eq!(code(&server, "DELETE", &format!("{PODS}/b")).await, 404);
    assert_eq!(code(&server, "DELETE", &format!("{PODS}/a")).await, 0);
    assert!(server.get(&pod("a")).is_some());
    assert_eq!(code(&server, "DELETE", &format!("{PODS}/a")).await, 200);
    server.fail(|_| true, std::iter::repeat(Fault::Silence));
    assert!(send(&server, "GET", PODS).now_or_never().is_none());
}

#[tokio::test]
async fn a_request_beyond_the_granted_access_is_denied() {
    let server = ApiServer::default();
    server.put(&pod("a"), json!({}));
    let access = |verb: &str, resource: &str, reach| Access {
        verb: verb.to_owned(),
        resource: resource.to_owned(),
        reach,
    };
    server.grant([
        access("list", "pods", Reach::Namespace),
        access("delete", "pods", Reach::Namespace),
        access("get", "nodes", Reach::Cluster),
    ]);
    assert_eq!(code(&server, "GET", PODS).await, 200);
    assert_eq!(code(&server, "GET", &format!("{PODS}?watch=true&resourceVersion=1")).await, 403);
    assert_eq!(code(&server, "GET", "/api/v1/pods").await, 403, "the whole cluster");
    assert_eq!(code(&server, "GET", &format!("{PODS}/a")).await, 403);
    assert_eq!(code(&server, "PUT", &format!("{PODS}/a/status")).await, 403);
    assert_eq!(code(&server, "GET", "/api/v1/nodes/n").await, 404);
    assert_eq!(code(&server, "DELETE", &format!("{PODS}/a")).await, 200);
}

#[tokio::test]
async fn requests_are_recorded_with_their_query() {
    let server = ApiServer::default();
    code(&server, "GET", &format!("{PODS}?labelSelector=a%3Db")).await;
    code(&server, "DELETE", &format!("{PODS}/a")).await;
    let received = server.take_received();
    let lines: Vec<String> = received.iter().map(Received::line).collect();
    assert_eq!(lines, [format!("GET {PODS}"), format!("DELETE {PODS}/a")]);
    assert_eq!(received[0].parameter("labelSelector").as_deref(), Some("a=b"));
    assert!(server.received().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_watch_waits_for_changes_sends_bookmarks_and_ends_at_its_timeout() {
    let server = ApiServer::default();
    server.put(&pod("a"), json!({}));
    let query = "watch=true&resourceVersion=100&allowWatchBookmarks=true&timeoutSeconds=100";
    let mut watch = send(&server, "GET", &format!("{PODS}?{query}")).await.unwrap().into_body();
    let begin = Instant::now();
    assert_eq!(event(&mut watch).await, pair("ADDED", "101"));
    assert!(event(&mut watch).now_or_never().is_none());
    let (received, ()) = tokio::join!(event(&mut watch), async {
        tokio::time::sleep(Duration::from_secs(7)).await;
        server.edit(&pod("a"), |pod| pod["spec"] = json!(1));
    });
    assert_eq!((received, begin.elapsed().as_secs()), (pair("MODIFIED", "102"), 7));
    assert_eq!((event(&mut watch).await, begin.elapsed().as_secs()), (pair("BOOKMARK", "102"), 60));
    assert_eq!((event(&mut watch).await, begin.elapsed().as_secs()), (None, 100));
}

#[tokio::test]
async fn a_watch_without_timeout_or_bookmarks_lasts() {
    let server = ApiServer::default();
    let mut watch =
        send(&server, "GET", &format!("{PODS}?watch=1&resourceVersion=100")).await.unwrap().into_body();
    let (received, ()) = tokio::join!(event(&mut watch), async { server.put(&pod("a"), json!({})) });
    assert_eq!(received, pair("ADDED", "101"));
    server.remove(&pod("a"));
    assert_eq!(event(&mut watch).await, pair("DELETED", "102"));
}

#[tokio::test]
async fn a_watch_of_compacted_events_is_refused() {
    let server = ApiServer::default();
    server.put(&pod("a"), json!({}));
    server.with(|store| store.compact(101));
    assert_eq!(code(&server, "GET", &format!("{PODS}?watch=1&resourceVersion=100")).await, 410);
}
