use std::time::Duration;

use fake_api::{ApiServer, Fault, Key, Received};
use serde_json::{Value, json};

use script::{Piece, Scripted, body, scripted, status};

use super::error::Cause;
use super::query::ObjectList;
use super::resource::{RequestName, Verb};
use super::*;
use crate::deadline::Deadline;
use crate::names::{DnsLabel, DnsSubdomain, PodUid};

mod connecting;
mod malformed;
mod reflecting;
mod retrying;
mod script;
pub(in crate::client) mod tls;
mod watching;

const POOLS: ResourceKind = ResourceKind::new("whereabouts.cni.cncf.io", "v1alpha1", "ippools");

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

fn pod() -> ObjectPath {
    ResourceKind::PODS
        .in_namespace(&DnsLabel::new("default").unwrap())
        .object(&DnsSubdomain::new("web-0").unwrap())
}

fn pods() -> Collection {
    ResourceKind::PODS.in_namespace(&DnsLabel::new("default").unwrap())
}

fn pools() -> Collection {
    POOLS.in_namespace(&DnsLabel::new("kube-system").unwrap())
}

fn pool() -> ObjectPath {
    pools().object(&DnsSubdomain::new("10.0.0.0-8").unwrap())
}

fn pod_key() -> Key {
    Key::new("pods", "default", "web-0")
}

fn pool_key() -> Key {
    Key::new("ippools.whereabouts.cni.cncf.io", "kube-system", "10.0.0.0-8")
}

/// A client of an API server with one pod and one pool, whose UIDs are `u-1` and `u-2`.
async fn serving() -> (ApiClient, ApiServer) {
    let server = ApiServer::default();
    let metadata = json!({"uid": "u-1", "labels": {"a": "b&x#"}});
    server.put(&pod_key(), json!({"metadata": metadata, "spec": {"nodeName": "n1"}, "status": {}}));
    server.put(&pool_key(), json!({"metadata": {"uid": "u-2"}, "spec": {"range": "10.0.0.0/8"}}));
    (ApiClient::from_service(server.clone(), Timeouts::default()).await, server)
}

/// A client of that server, on which every request fails.
async fn failing(fault: Fault) -> ApiClient {
    let (client, server) = serving().await;
    server.fail(|_| true, std::iter::repeat(fault));
    client
}

/// The single request that the server received.
fn only(server: &ApiServer) -> Received {
    let mut received = server.received();
    assert_eq!(received.len(), 1, "{received:?}");
    received.remove(0)
}

#[tokio::test]
async fn get_requests_the_object() {
    let (client, server) = serving().await;
    let found: Value = client.get(&pod(), soon()).await.unwrap();
    assert_eq!((&found["metadata"]["name"], &found["spec"]["nodeName"]), (&json!("web-0"), &json!("n1")));
    assert_eq!(only(&server).line(), "GET /api/v1/namespaces/default/pods/web-0");
}

#[tokio::test]
async fn get_metadata_requests_metadata_only() {
    let (client, server) = serving().await;
    assert_eq!(client.get_metadata(&pool(), soon()).await.unwrap().uid.unwrap(), "u-2");
    let received = only(&server);
    assert_eq!(
        received.line(),
        "GET /apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools/10.0.0.0-8"
    );
    assert!(received.accept.contains("as=PartialObjectMetadata"), "{}", received.accept);
}

#[tokio::test]
async fn a_cached_list_requests_version_zero_and_escapes_its_selectors() {
    let (client, server) = serving().await;
    server.put(&Key::new("pods", "default", "web-1"), json!({"spec": {"nodeName": "n1"}}));
    let query = ListQuery {
        freshness: Freshness::Cached,
        labels: Some("a=b&x#".to_owned()),
        fields: Some("spec.nodeName=n1".to_owned()),
    };
    let list = client.list::<Value>(&ResourceKind::PODS.in_cluster(), &query, soon()).await.unwrap();
    assert_eq!((list.items.len(), list.metadata.resource_version.as_deref()), (1, Some("103")));
    assert_eq!(list.items[0]["metadata"]["name"], "web-0");
    let received = only(&server);
    assert_eq!(received.line(), "GET /api/v1/pods");
    assert_eq!(
        received.query.trim_start_matches('&'),
        "fieldSelector=spec.nodeName%3Dn1&labelSelector=a%3Db%26x%23&resourceVersion=0&\
         resourceVersionMatch=NotOlderThan"
    );
}

#[tokio::test]
async fn a_latest_list_requests_no_version() {
    let (client, server) = serving().await;
    let query = ListQuery::all(Freshness::Latest);
    let list = client.list_metadata(&pools(), &query, soon()).await.unwrap();
    assert_eq!(list[0].name.as_deref(), Some("10.0.0.0-8"));
    let received = only(&server);
    assert!(!received.query.contains("resourceVersion"), "{}", received.query);
    assert!(received.accept.contains("as=PartialObjectMetadataList"), "{}", received.accept);
}

#[tokio::test]
async fn a_list_of_metadata_may_be_null() {
    let answer = body(200, &json!({"metadata": {"resourceVersion": "7"}, "items": null}));
    let (client, _) = scripted(vec![answer]).await;
    let query = ListQuery::all(Freshness::Latest);
    assert!(client.list_metadata(&pools(), &query, soon()).await.unwrap().is_empty());
}

#[tokio::test]
async fn create_posts_to_the_collection() {
    let (client, server) = serving().await;
    let namespace = DnsLabel::new("default").unwrap();
    let event = json!({"metadata": {"name": "e"}, "reason": "x"});
    let events = ResourceKind::EVENTS.in_namespace(&namespace);
    let made: Value = client.create(&events, &event, soon()).await.unwrap();
    assert_eq!((&made["reason"], &made["metadata"]["resourceVersion"]), (&json!("x"), &json!("103")));
    let received = only(&server);
    assert_eq!(received.line(), "POST /api/v1/namespaces/default/events");
    assert_eq!((received.content_type.as_str(), received.body), ("application/json", event));
}

#[tokio::test]
async fn replace_puts_the_object_and_replace_status_its_status() {
    let (client, server) = serving().await;
    let mut new = server.get(&pool_key()).unwrap();
    new["spec"]["range"] = json!("10.0.0.0/9");
    let replaced: Value = client.replace(&pool(), &new, soon()).await.unwrap();
    assert_eq!(replaced["spec"]["range"], "10.0.0.0/9");
    let mut new = server.get(&pod_key()).unwrap();
    (new["spec"]["nodeName"], new["status"]["phase"]) = (json!("n2"), json!("Running"));
    client.replace_status(&pod(), &new, soon()).await.unwrap();
    let replaced = server.get(&pod_key()).unwrap();
    assert_eq!(
        (&replaced["spec"]["nodeName"], &replaced["status"]["phase"]),
        (&json!("n1"), &json!("Running"))
    );
    let lines: Vec<String> = server.received().iter().map(Received::line).collect();
    assert_eq!(
        lines,
        [
            "PUT /apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools/10.0.0.0-8",
            "PUT /api/v1/namespaces/default/pods/web-0/status"
        ]
    );
}

#[tokio::test]
async fn patches_have_their_content_type() {
    let (client, server) = serving().await;
    let merge = json!({"spec": {"nodeName": null}});
    let merged: Value = client.patch(&pod(), &Patch::Merge(merge.clone()), soon()).await.unwrap();
    assert_eq!(merged["spec"], json!({}));
    let add = json!([{"op": "add", "path": "/spec/nodeName", "value": "n2"}]);
    let added: Value = client.patch(&pod(), &Patch::Json(add.clone()), soon()).await.unwrap();
    assert_eq!(added["spec"]["nodeName"], "n2");
    let received = server.received();
    assert_eq!(received[0].line(), "PATCH /api/v1/namespaces/default/pods/web-0");
    assert_eq!(received[0].content_type, "application/merge-patch+json");
    assert_eq!(received[0].body, merge);
    assert_eq!(received[1].content_type, "application/json-patch+json");
    assert_eq!(received[1].body, add);
}

#[tokio::test]
async fn writes_of_subresources_ask_for_no_more_than_the_metadata() {
    let (client, server) = serving().await;
    client.replace_status(&pod(), &server.get(&pod_key()).unwrap(), soon()).await.unwrap();
    client.patch_status(&pod(), &Patch::Merge(json!({})), soon()).await.unwrap();
    let received = server.received();
    assert_eq!(received.len(), 2);
    for request in received {
        let (partial, whole) = request.accept.split_once(", ").unwrap();
        assert_eq!(partial, "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
        // For a server that knows no other form.
        assert_eq!(whole, "application/json");
    }
}

#[tokio::test]
async fn every_request_names_the_program_and_every_write_its_field_manager() {
    let (client, server) = serving().await;
    let _: Value = client.get(&pod(), soon()).await.unwrap();
    let new = server.get(&pool_key()).unwrap();
    let _: Value = client.replace(&pool(), &new, soon()).await.unwrap();
    client.replace_status(&pod(), &server.get(&pod_key()).unwrap(), soon()).await.unwrap();
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"a": "1"}}}));
    let _: Value = client.patch(&pod(), &patch, soon()).await.unwrap();
    client.patch_status(&pod(), &patch, soon()).await.unwrap();
    assert_eq!(server.get(&pod_key()).unwrap()["metadata"]["annotations"]["a"], "1");
    assert_eq!(
        server.received().last().unwrap().line(),
        "PATCH /api/v1/namespaces/default/pods/web-0/status"
    );
    let _: Value = client.create(&pods(), &json!({"metadata": {"name": "web-1"}}), soon()).await.unwrap();
    for request in server.received() {
        let agent = format!("multus-rs/{} (", env!("CARGO_PKG_VERSION"));
        assert!(request.user_agent.starts_with(&agent), "{request:?}");
        let manager = (request.method != "GET").then(|| "multus-rs".to_owned());
        assert_eq!(request.parameter("fieldManager"), manager, "{}", request.line());
    }
}

#[tokio::test]
async fn delete_sends_its_preconditions() {
    let (client, server) = serving().await;
    let version = |version: &str| Preconditions {
        uid: Some(PodUid::new("u-2").unwrap()),
        resource_version: Some(version.to_owned()),
    };
    let error = client.delete(&pool(), &version("101"), soon()).await.unwrap_err();
    assert!(matches!(error, ApiError::Conflict { .. }), "{error:?}");
    client.delete(&pool(), &version("102"), soon()).await.unwrap();
    assert_eq!(server.get(&pool_key()), None);
    let received = server.received().remove(1);
    assert!(received.line().starts_with("DELETE /apis/"), "{}", received.line());
    assert_eq!(received.body, json!({"preconditions": {"uid": "u-2", "resourceVersion": "102"}}));
}

/// The error for this response, and the name of its variant.
async fn outcome(verb: Verb, code: u16, reason: &str) -> (String, ApiError) {
    let (client, _) = scripted(vec![status(code, reason, "the server's message")]).await;
    let error = match verb {
        Verb::Get => client.get::<Value>(&pod(), soon()).await.unwrap_err(),
        Verb::Create => client.create::<Value>(&pools(), &json!({}), soon()).await.unwrap_err(),
        Verb::Update => client.replace::<Value>(&pool(), &json!({}), soon()).await.unwrap_err(),
        Verb::Delete => client.delete(&pool(), &Preconditions::default(), soon()).await.unwrap_err(),
        Verb::List | Verb::Watch | Verb::Patch => unreachable!(),
    };
    let variant = format!("{error:?}").split([' ', '{']).next().unwrap().to_owned();
    (variant, error)
}

#[tokio::test]
async fn each_status_becomes_an_error_by_what_the_caller_can_do() {
    use Verb::{Create, Delete, Get, Update};
    let table = [
        (Get, 404, "NotFound", "NotFound"),
        (Delete, 404, "NotFound", "NotFound"),
        (Create, 409, "AlreadyExists", "AlreadyExists"),
        (Create, 409, "", "AlreadyExists"),
        (Create, 409, "Conflict", "Conflict"),
        (Update, 409, "Conflict", "Conflict"),
        (Delete, 409, "Conflict", "Conflict"),
        (Get, 410, "Expired", "Gone"),
        (Update, 422, "Invalid", "Invalid"),
        (Create, 400, "BadRequest", "Invalid"),
        (Create, 413, "RequestEntityTooLarge", "Invalid"),
        (Get, 401, "Unauthorized", "Denied"),
        (Get, 403, "Forbidden", "Denied"),
        (Create, 429, "TooManyRequests", "Retryable"),
        (Get, 500, "InternalError", "Retryable"),
        (Get, 502, "", "Retryable"),
        (Get, 503, "ServiceUnavailable", "Retryable"),
        (Get, 504, "Timeout", "Retryable"),
        (Create, 500, "InternalError", "OutcomeUnknown"),
        (Update, 502, "", "OutcomeUnknown"),
        (Update, 503, "ServiceUnavailable", "OutcomeUnknown"),
        (Delete, 504, "Timeout", "OutcomeUnknown"),
        (Get, 301, "", "Invalid"),
    ];
    for (verb, code, reason, expected) in table {
        assert_eq!(outcome(verb, code, reason).await.0, expected, "{verb} {code} {reason}");
    }
}

#[tokio::test]
async fn errors_name_the_request_and_quote_the_server() {
    let (_, error) = outcome(Verb::Update, 409, "Conflict").await;
    assert_eq!(
        error.to_string(),
        "update ippools.whereabouts.cni.cncf.io kube-system/10.0.0.0-8: conflict, the object has changed since it was \
         read: the server's message"
    );
}

#[tokio::test]
async fn a_denial_names_the_user_and_the_right_to_grant() {
    let (_, error) = outcome(Verb::Get, 403, "Forbidden").await;
    assert_eq!(
        error.to_string(),
        "get pods default/web-0: this pod's service account lacks a right (403: the server's message): grant \"get\" on \
         pods in namespace default"
    );
    let (_, error) = outcome(Verb::Get, 401, "Unauthorized").await;
    assert!(error.to_string().contains("the token has expired"), "{error}");
}

#[tokio::test]
async fn retry_after_in_seconds_is_read_and_a_date_is_not() {
    for (value, expected) in [("3", Some(Duration::from_secs(3))), ("Wed, 21 Oct 2026 07:28:00 GMT", None)] {
        let answer = Scripted { headers: vec![("retry-after", value)], ..body(429, &json!({})) };
        let (client, _) = scripted(vec![answer]).await;
        let error = client.get::<Value>(&pod(), soon()).await.unwrap_err();
        assert_eq!(error.retry_after(), expected, "{value}");
    }
}

#[tokio::test]
async fn a_hostile_message_is_escaped_and_cut() {
    let message = format!("\u{1b}[31m\n{}", "x".repeat(9000));
    let (client, _) = scripted(vec![status(404, "NotFound", &message)]).await;
    let text = client.get::<Value>(&pod(), soon()).await.unwrap_err().to_string();
    assert!(text.len() < 700 && text.chars().all(|c| !c.is_control()), "{text}");
}

#[tokio::test]
async fn a_response_of_another_shape_is_unreadable() {
    let (client, _) = scripted(vec![body(200, &json!({"items": "none"}))]).await;
    let query = ListQuery::all(Freshness::Latest);
    let error = client.list::<Value>(&pools(), &query, soon()).await.unwrap_err();
    assert!(matches!(error, ApiError::Unreadable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_a_write_unknown() {
    let half =
        Scripted { pieces: vec![Piece::Text("{\"meta".to_owned()), Piece::Break], ..body(201, &json!({})) };
    let (client, _) = scripted(vec![half]).await;
    let error = client.create::<Value>(&pools(), &json!({}), soon()).await.unwrap_err();
    assert!(matches!(error, ApiError::OutcomeUnknown { cause: Cause::Lost(_), .. }), "{error:?}");
}

#[tokio::test]
async fn a_broken_connection_leaves_a_write_unknown_but_not_a_read() {
    let client = failing(Fault::Reset).await;
    let read = client.get::<Value>(&pod(), soon()).await.unwrap_err();
    assert!(matches!(read, ApiError::Retryable { cause: Cause::Lost(_), .. }), "{read:?}");
    let write = client.create::<Value>(&pools(), &json!({}), soon()).await.unwrap_err();
    assert!(matches!(write, ApiError::OutcomeUnknown { cause: Cause::Lost(_), .. }), "{write:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_times_out_at_the_limit_of_a_request() {
    let client = failing(Fault::Silence).await;
    let endless = Deadline::after(Duration::from_secs(9999));
    let read = client.get::<Value>(&pod(), endless).await.unwrap_err();
    let fifteen = Duration::from_secs(15);
    assert!(
        matches!(&read, ApiError::Retryable { cause: Cause::TimedOut(t), .. } if *t == fifteen),
        "{read:?}"
    );
    let write = client.replace::<Value>(&pool(), &json!({}), endless).await.unwrap_err();
    assert!(matches!(write, ApiError::OutcomeUnknown { cause: Cause::TimedOut(_), .. }), "{write:?}");
}

#[tokio::test]
async fn after_the_deadline_nothing_is_sent() {
    let (client, server) = serving().await;
    let past = Deadline::after(Duration::ZERO);
    let error = client.create::<Value>(&pools(), &json!({}), past).await.unwrap_err();
    assert!(matches!(error, ApiError::Retryable { cause: Cause::DeadlinePassed, .. }), "{error:?}");
    assert!(server.received().is_empty());
}

#[test]
fn block_on_ends_at_the_deadline() {
    assert_eq!(block_on(soon(), async { 7 }).unwrap(), 7);
    let brief = Deadline::after(Duration::from_millis(20));
    let error = block_on(brief, std::future::pending::<()>()).unwrap_err();
    assert!(matches!(error, BlockOnError::DeadlinePassed(_)), "{error:?}");
}
