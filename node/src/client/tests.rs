use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::error::Cause;
use super::query::ObjectList;
use super::resource::{RequestName, Verb};
use super::*;
use crate::deadline::Deadline;
use crate::names::{DnsLabel, DnsSubdomain, PodUid};

mod connecting;
mod reflecting;
mod retrying;
mod script;
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

/// A request as the server received it.
#[derive(Debug, Clone, Default)]
struct Received {
    line: String,
    accept: String,
    content_type: String,
    body: Value,
}

type Log = Arc<Mutex<Vec<Received>>>;

/// A server with the same response to every request.
async fn responding(
    code: u16,
    headers: &'static [(&'static str, &'static str)],
    body: Value,
) -> (ApiClient, Log) {
    let log = Log::default();
    let seen = log.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (seen, body) = (seen.clone(), body.clone());
        async move {
            let request = receive(request).await;
            seen.lock().unwrap().push(request);
            let mut response = Response::builder().status(code);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            Ok::<_, std::io::Error>(response.body(Body::from(body.to_string().into_bytes())).unwrap())
        }
    });
    (ApiClient::from_service(service, Timeouts::default()).await, log)
}

async fn receive(request: Request<Body>) -> Received {
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).map_or("", |v| v.to_str().unwrap()).to_owned();
    let body = body.collect_bytes().await.unwrap();
    Received {
        line: format!("{} {}", head.method, head.uri),
        accept: header("accept"),
        content_type: header("content-type"),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    }
}

/// The only request that the server received.
fn only(log: &Log) -> Received {
    let seen = log.lock().unwrap();
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen[0].clone()
}

fn status(reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "status": "Failure", "reason": reason, "message": message})
}

#[tokio::test]
async fn get_requests_the_object() {
    let (client, log) = responding(200, &[], json!({"metadata": {"name": "web-0"}})).await;
    let found: Value = client.get(&pod(), soon()).await.unwrap();
    assert_eq!(found["metadata"]["name"], "web-0");
    assert_eq!(only(&log).line, "GET /api/v1/namespaces/default/pods/web-0");
}

#[tokio::test]
async fn get_metadata_requests_metadata_only() {
    let (client, log) = responding(200, &[], json!({"metadata": {"name": "10.0.0.0-8", "uid": "u"}})).await;
    assert_eq!(client.get_metadata(&pool(), soon()).await.unwrap().uid.unwrap(), "u");
    let seen = only(&log);
    assert_eq!(
        seen.line,
        "GET /apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools/10.0.0.0-8"
    );
    assert!(seen.accept.contains("as=PartialObjectMetadata"), "{}", seen.accept);
}

#[tokio::test]
async fn a_cached_list_requests_version_zero_and_escapes_its_selectors() {
    let (client, log) =
        responding(200, &[], json!({"metadata": {"resourceVersion": "7"}, "items": [1, 2]})).await;
    let query = ListQuery {
        freshness: Freshness::Cached,
        labels: Some("a=b&x#".to_owned()),
        fields: Some("spec.nodeName=n1".to_owned()),
    };
    let list: ObjectList<u8> = client.list(&ResourceKind::PODS.in_cluster(), &query, soon()).await.unwrap();
    assert_eq!((list.items, list.metadata.resource_version.unwrap()), (vec![1, 2], "7".to_owned()));
    assert_eq!(
        only(&log).line,
        "GET /api/v1/pods?&fieldSelector=spec.nodeName%3Dn1&labelSelector=a%3Db%26x%23&resourceVersion=0&\
         resourceVersionMatch=NotOlderThan"
    );
}

#[tokio::test]
async fn a_latest_list_requests_no_version() {
    let (client, log) = responding(200, &[], json!({"items": [{"metadata": {"name": "a"}}]})).await;
    let query = ListQuery::all(Freshness::Latest);
    let list = client.list_metadata(&pools(), &query, soon()).await.unwrap();
    assert_eq!(list[0].name.as_deref(), Some("a"));
    let seen = only(&log);
    assert!(!seen.line.contains("resourceVersion"), "{}", seen.line);
    assert!(seen.accept.contains("as=PartialObjectMetadataList"), "{}", seen.accept);
}

#[tokio::test]
async fn a_list_of_metadata_may_be_null() {
    let (client, _) =
        responding(200, &[], json!({"metadata": {"resourceVersion": "7"}, "items": null})).await;
    let query = ListQuery::all(Freshness::Latest);
    assert!(client.list_metadata(&pools(), &query, soon()).await.unwrap().is_empty());
}

#[tokio::test]
async fn create_posts_to_the_collection() {
    let (client, log) = responding(201, &[], json!({})).await;
    let namespace = DnsLabel::new("default").unwrap();
    let event = json!({"reason": "x"});
    let _: Value =
        client.create(&ResourceKind::EVENTS.in_namespace(&namespace), &event, soon()).await.unwrap();
    let seen = only(&log);
    assert_eq!(seen.line.trim_end_matches('?'), "POST /api/v1/namespaces/default/events");
    assert_eq!((seen.content_type.as_str(), seen.body), ("application/json", event));
}

#[tokio::test]
async fn replace_puts_the_object_and_replace_status_its_status() {
    let (client, log) = responding(200, &[], json!({})).await;
    let _: Value = client.replace(&pool(), &json!({"a": 1}), soon()).await.unwrap();
    let _: Value = client.replace_status(&pod(), &json!({"a": 1}), soon()).await.unwrap();
    let lines: Vec<String> =
        log.lock().unwrap().iter().map(|s| s.line.trim_end_matches('?').to_owned()).collect();
    assert_eq!(
        lines,
        [
            "PUT /apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools/10.0.0.0-8",
            "PUT /api/v1/namespaces/default/pods/web-0/status"
        ]
    );
}

#[tokio::test]
async fn patches_carry_their_content_type() {
    let (client, log) = responding(200, &[], json!({})).await;
    let _: Value = client.patch(&pod(), &Patch::Merge(json!({"a": null})), soon()).await.unwrap();
    let _: Value = client.patch(&pod(), &Patch::Json(json!([{"op": "test"}])), soon()).await.unwrap();
    let seen = log.lock().unwrap().clone();
    assert_eq!(seen[0].line, "PATCH /api/v1/namespaces/default/pods/web-0");
    assert_eq!(seen[0].content_type, "application/merge-patch+json");
    assert_eq!(seen[0].body, json!({"a": null}));
    assert_eq!(seen[1].content_type, "application/json-patch+json");
    assert_eq!(seen[1].body, json!([{"op": "test"}]));
}

#[tokio::test]
async fn delete_carries_its_preconditions() {
    let (client, log) = responding(200, &[], json!({"kind": "Status"})).await;
    let preconditions =
        Preconditions { uid: Some(PodUid::new("u-1").unwrap()), resource_version: Some("7".to_owned()) };
    client.delete(&pool(), &preconditions, soon()).await.unwrap();
    let seen = only(&log);
    assert!(seen.line.starts_with("DELETE /apis/"), "{}", seen.line);
    assert_eq!(seen.body, json!({"preconditions": {"uid": "u-1", "resourceVersion": "7"}}));
}

/// The error, with the name of its variant.
async fn outcome(verb: Verb, code: u16, reason: &str) -> (String, ApiError) {
    let (client, _) = responding(code, &[], status(reason, "the server's message")).await;
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
async fn each_status_has_its_error() {
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
         read: \
         the server's message"
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
async fn retry_after_is_read() {
    let (client, _) = responding(429, &[("retry-after", "3")], json!({})).await;
    let error = client.get::<Value>(&pod(), soon()).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
    let (client, _) = responding(503, &[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")], json!({})).await;
    let error = client.get::<Value>(&pod(), soon()).await.unwrap_err();
    assert_eq!(error.retry_after(), None);
}

#[tokio::test]
async fn a_hostile_message_is_escaped_and_cut() {
    let text = format!("\u{1b}[31m\n{}", "x".repeat(9000));
    let (client, _) = responding(404, &[], status("NotFound", &text)).await;
    let text = client.get::<Value>(&pod(), soon()).await.unwrap_err().to_string();
    assert!(text.len() < 700 && text.chars().all(|c| !c.is_control()), "{text}");
}

#[tokio::test]
async fn a_response_of_another_shape_is_unreadable() {
    let (client, _) = responding(200, &[], json!({"items": "none"})).await;
    let query = ListQuery::all(Freshness::Latest);
    let error = client.list::<Value>(&pools(), &query, soon()).await.unwrap_err();
    assert!(matches!(error, ApiError::Unreadable { .. }), "{error:?}");
}

/// A server that breaks every connection after the request.
async fn breaking() -> ApiClient {
    let reset = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let service = tower::service_fn(move |_: Request<Body>| async move { Err::<Response<Body>, _>(reset()) });
    ApiClient::from_service(service, Timeouts::default()).await
}

#[tokio::test]
async fn a_broken_connection_leaves_a_write_unknown_but_not_a_read() {
    let client = breaking().await;
    let read = client.get::<Value>(&pod(), soon()).await.unwrap_err();
    assert!(matches!(read, ApiError::Retryable { cause: Cause::Lost(_), .. }), "{read:?}");
    let write = client.create::<Value>(&pools(), &json!({}), soon()).await.unwrap_err();
    assert!(matches!(write, ApiError::OutcomeUnknown { cause: Cause::Lost(_), .. }), "{write:?}");
}

/// A server that never responds.
async fn silent() -> ApiClient {
    let service = tower::service_fn(|_: Request<Body>| {
        std::future::pending::<Result<Response<Body>, std::io::Error>>()
    });
    ApiClient::from_service(service, Timeouts::default()).await
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_times_out_at_the_limit_of_a_request() {
    let client = silent().await;
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
    let (client, log) = responding(200, &[], json!({})).await;
    let past = Deadline::after(Duration::ZERO);
    let error = client.create::<Value>(&pools(), &json!({}), past).await.unwrap_err();
    assert!(matches!(error, ApiError::Retryable { cause: Cause::DeadlinePassed, .. }), "{error:?}");
    assert!(log.lock().unwrap().is_empty());
}

#[test]
fn block_on_ends_at_the_deadline() {
    assert_eq!(block_on(soon(), async { 7 }).unwrap(), 7);
    let brief = Deadline::after(Duration::from_millis(20));
    let error = block_on(brief, std::future::pending::<()>()).unwrap_err();
    assert!(matches!(error, BlockOnError::DeadlinePassed(_)), "{error:?}");
}
