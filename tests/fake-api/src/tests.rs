use serde_json::{Value, json};

use super::request::{Operation, Request};
use super::store::{Endpoint, Key, Preconditions, Store};
use super::watch::{Next, Watch};

const PODS: &str = "/api/v1/namespaces/d/pods";

fn store() -> Store {
    Store::new(Box::new(|_| ()))
}

struct Answer {
    code: u16,
    body: Value,
}

impl Answer {
    fn reason(&self) -> (u16, &str) {
        (self.code, self.body["reason"].as_str().unwrap())
    }
}

fn send(store: &mut Store, cached: u64, method: &str, url: &str, body: Value) -> Answer {
    answer(store, cached, &read(method, url, "application/merge-patch+json", body))
}

fn answer(store: &mut Store, cached: u64, request: &Request) -> Answer {
    let answer = store.serve(request, cached);
    Answer { code: answer.code, body: json(&answer.body) }
}

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

fn read(method: &str, url: &str, content_type: &str, body: Value) -> Request {
    let request = http::Request::builder().method(method).uri(url).header("content-type", content_type);
    let (head, ()) = request.body(()).unwrap().into_parts();
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    Request::read(&head, &body).unwrap()
}

fn pod(name: &str) -> Value {
    json!({ "metadata": { "name": name, "labels": { "app": name } }, "spec": { "nodeName": "n1" } })
}

fn with_pods(names: &[&str]) -> Store {
    let mut store = store();
    for name in names {
        assert_eq!(send(&mut store, 0, "POST", PODS, pod(name)).code, 201);
    }
    store
}

fn names(answer: &Answer) -> Vec<&str> {
    answer.body["items"].as_array().unwrap().iter().map(|i| i["metadata"]["name"].as_str().unwrap()).collect()
}

fn version(answer: &Answer) -> &str {
    answer.body["metadata"]["resourceVersion"].as_str().unwrap()
}

#[test]
fn one_of_two_creates_of_a_name_succeeds() {
    let mut store = with_pods(&["a"]);
    let again = send(&mut store, 0, "POST", PODS, pod("a"));
    assert_eq!(again.reason(), (409, "AlreadyExists"));
    let found = send(&mut store, 0, "GET", &format!("{PODS}/a"), Value::Null);
    assert_eq!((found.code, version(&found)), (200, "101"));
    assert_eq!(found.body["metadata"]["namespace"], "d");
    assert!(!found.body["metadata"]["uid"].as_str().unwrap().is_empty());
    assert_eq!(send(&mut store, 0, "GET", &format!("{PODS}/b"), Value::Null).code, 404);
    assert_eq!(send(&mut store, 0, "GET", "/api/v1/namespaces/e/pods/a", Value::Null).code, 404);
}

#[test]
fn a_create_needs_a_name_no_resource_version_and_the_urls_namespace() {
    let mut store = store();
    let mut create = |metadata: Value| {
        let answer = send(&mut store, 0, "POST", PODS, json!({ "metadata": metadata }));
        (answer.code, answer.body["reason"].as_str().map(str::to_owned))
    };
    assert_eq!(create(json!({})), (422, Some("Invalid".to_owned())));
    let bad_request = (400, Some("BadRequest".to_owned()));
    assert_eq!(create(json!({ "name": "a", "resourceVersion": "7" })), bad_request);
    assert_eq!(create(json!({ "name": "a", "namespace": "e" })), bad_request);
    assert_eq!(create(json!({ "name": "a", "namespace": "d" })), (201, None));
}

#[test]
fn cluster_scoped_objects_have_no_namespace() {
    let mut store = store();
    let node = send(&mut store, 0, "POST", "/api/v1/nodes", json!({ "metadata": { "name": "n1" } }));
    assert_eq!((node.code, node.body["metadata"].get("namespace")), (201, None));
    assert_eq!(send(&mut store, 0, "GET", "/api/v1/nodes/n1", Value::Null).code, 200);
}

#[test]
fn a_replace_with_an_old_resource_version_conflicts() {
    let mut store = with_pods(&["a"]);
    let url = format!("{PODS}/a");
    let mut read = send(&mut store, 0, "GET", &url, Value::Null).body;
    read["spec"]["x"] = json!(1);
    let first = send(&mut store, 0, "PUT", &url, read.clone());
    assert_eq!((first.code, version(&first)), (200, "102"));
    let second = send(&mut store, 0, "PUT", &url, read);
    assert_eq!(second.reason(), (409, "Conflict"));
    assert_eq!(
        first.body["metadata"]["uid"],
        send(&mut store, 0, "GET", &url, Value::Null).body["metadata"]["uid"]
    );
}

#[test]
fn only_core_kinds_are_replaced_without_a_resource_version() {
    let mut store = with_pods(&["a"]);
    assert_eq!(send(&mut store, 0, "PUT", &format!("{PODS}/a"), pod("a")).code, 200);
    let leases = "/apis/coordination.k8s.io/v1/namespaces/d/leases";
    let lease = json!({ "metadata": { "name": "l" } });
    assert_eq!(send(&mut store, 0, "POST", leases, lease.clone()).code, 201);
    assert_eq!(send(&mut store, 0, "PUT", &format!("{leases}/l"), lease).reason(), (422, "Invalid"));
}

#[test]
fn an_update_that_changes_nothing_keeps_the_resource_version() {
    let mut store = with_pods(&["a"]);
    let url = format!("{PODS}/a");
    let same = json!({ "spec": { "nodeName": "n1" } });
    assert_eq!(version(&send(&mut store, 0, "PATCH", &url, same)), "101");
    assert_eq!(version(&send(&mut store, 0, "PUT", &url, pod("a"))), "101");
    assert!(store.commits_after(101).is_empty(), "watches receive no event");
    let other = json!({ "spec": { "nodeName": "n2" } });
    assert_eq!(version(&send(&mut store, 0, "PATCH", &url, other)), "102");
}

#[test]
fn a_pods_status_is_written_at_its_subresource_only() {
    let mut store = with_pods(&["a"]);
    let (url, status) = (format!("{PODS}/a"), format!("{PODS}/a/status"));
    let change = json!({
        "metadata": { "annotations": { "x": "y" } }, "spec": { "nodeName": "n2" }, "status": { "phase": "Running" },
    });
    let changed = send(&mut store, 0, "PATCH", &url, change.clone());
    assert_eq!((&changed.body["spec"]["nodeName"], changed.body.get("status")), (&json!("n2"), None));
    let mut pod = changed.body;
    pod["metadata"]["annotations"]["x"] = json!("z");
    pod["spec"]["nodeName"] = json!("n3");
    pod["status"] = json!({ "phase": "Running" });
    let changed = send(&mut store, 0, "PUT", &status, pod.clone());
    assert_eq!(changed.body["spec"]["nodeName"], "n2");
    assert_eq!(
        (&changed.body["status"]["phase"], &changed.body["metadata"]["annotations"]["x"]),
        (&json!("Running"), &json!("z"))
    );
    assert_eq!(send(&mut store, 0, "PUT", &status, pod).reason(), (409, "Conflict"));
    // No other kind here has the subresource.
    let pools = "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/d/ippools";
    assert_eq!(send(&mut store, 0, "POST", pools, json!({ "metadata": { "name": "p" } })).code, 201);
    assert_eq!(
        send(&mut store, 0, "PATCH", &format!("{pools}/p/status"), change).reason(),
        (404, "NotFound")
    );
}

#[test]
fn a_request_for_a_certificate_is_decided_at_its_approval_only_and_once() {
    let mut store = with_pods(&["a"]);
    let all = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let (url, approval) = (format!("{all}/c"), format!("{all}/c/approval"));
    let new = json!({ "metadata": { "name": "c" }, "spec": { "signerName": "s" } });
    let mut object = send(&mut store, 0, "POST", all, new).body;
    object["spec"]["signerName"] = json!("t");
    object["status"] = json!({ "conditions": [{ "type": "Approved" }], "certificate": "x" });
    let ignored = send(&mut store, 0, "PUT", &url, object.clone());
    assert_eq!(ignored.body.get("status"), None);
    object["metadata"] = ignored.body["metadata"].clone();
    let approved = send(&mut store, 0, "PUT", &approval, object);
    assert_eq!(approved.body["status"], json!({ "conditions": [{ "type": "Approved" }] }));
    assert_eq!(approved.body["spec"]["signerName"], "t", "written at the object's own endpoint");
    let mut object = approved.body;
    object["status"]["conditions"].as_array_mut().unwrap().push(json!({ "type": "Denied" }));
    assert_eq!(send(&mut store, 0, "PUT", &approval, object).reason(), (422, "Invalid"));
    let of_a_pod = format!("{PODS}/a/approval");
    assert_eq!(send(&mut store, 0, "PUT", &of_a_pod, pod("a")).reason(), (404, "NotFound"));
}

#[test]
fn writes_drop_what_the_kinds_definition_does_not_contain() {
    let mut store = with_pods(&["a"]);
    store.prune("pods", |pod| drop(pod["spec"].as_object_mut().unwrap().remove("unknown")));
    let unknown = json!({ "spec": { "unknown": 1 } });
    let answer = send(&mut store, 0, "PATCH", &format!("{PODS}/a"), unknown);
    assert_eq!((version(&answer), &answer.body["spec"]), ("101", &json!({ "nodeName": "n1" })));
}

#[test]
fn a_deletion_needs_its_preconditions() {
    let mut store = with_pods(&["a"]);
    let url = format!("{PODS}/a");
    let uid = send(&mut store, 0, "GET", &url, Value::Null).body["metadata"]["uid"].clone();
    for wrong in [json!({ "uid": "other" }), json!({ "uid": uid, "resourceVersion": "7" })] {
        let answer = send(&mut store, 0, "DELETE", &url, json!({ "preconditions": wrong }));
        assert_eq!(answer.reason(), (409, "Conflict"));
    }
    let right = json!({ "preconditions": { "uid": uid, "resourceVersion": "101" } });
    assert_eq!(send(&mut store, 0, "DELETE", &url, right).code, 200);
    assert_eq!(send(&mut store, 0, "DELETE", &url, Value::Null).code, 404);
    // A later object of the same name is another.
    assert_eq!(send(&mut store, 0, "POST", PODS, pod("a")).code, 201);
    assert_ne!(send(&mut store, 0, "GET", &url, Value::Null).body["metadata"]["uid"], uid);
}

#[test]
fn a_merge_patch_with_an_old_resource_version_conflicts() {
    let mut store = with_pods(&["a"]);
    let patch = |version: &str| json!({ "metadata": { "resourceVersion": version }, "spec": { "x": 1 } });
    let url = format!("{PODS}/a");
    assert_eq!(send(&mut store, 0, "PATCH", &url, patch("100")).reason(), (409, "Conflict"));
    assert_eq!(send(&mut store, 0, "PATCH", &url, patch("101")).code, 200);
}

#[test]
fn requests_that_the_server_does_not_support_are_refused() {
    let code = |method: &str, url: &str, content_type: &str| {
        let request = http::Request::builder().method(method).uri(url).header("content-type", content_type);
        let (head, ()) = request.body(()).unwrap().into_parts();
        Request::read(&head, b"{}").unwrap_err().code().0
    };
    assert_eq!(code("GET", "/version", ""), 404);
    assert_eq!(code("DELETE", PODS, ""), 405);
    assert_eq!(code("PATCH", &format!("{PODS}/a"), "application/apply-patch+yaml"), 415);
    for query in [
        "dryRun=All",
        "resourceVersion=x",
        "watch=true",
        "labelSelector=a+in+(b)",
        "fieldSelector=spec.x%3D1",
    ] {
        assert_eq!(code("GET", &format!("{PODS}?{query}"), ""), 400, "{query}");
    }
}

#[test]
fn patches_change_what_they_name() {
    let mut store = with_pods(&["a"]);
    let url = format!("{PODS}/a");
    let merge = json!({ "metadata": { "labels": { "app": null, "tier": "x" } } });
    let merged = send(&mut store, 0, "PATCH", &url, merge);
    assert_eq!(merged.body["metadata"]["labels"], json!({ "tier": "x" }));
    let mut json_patch =
        |patch: Value| answer(&mut store, 0, &read("PATCH", &url, "application/json-patch+json", patch));
    let test = json!({ "op": "test", "path": "/spec/nodeName", "value": "n1" });
    let gone = json_patch(json!([test, { "op": "remove", "path": "/metadata/labels/tier" }]));
    assert_eq!((gone.code, &gone.body["metadata"]["labels"]), (200, &json!({})));
    let again = json_patch(json!([test, { "op": "remove", "path": "/metadata/labels/tier" }]));
    assert_eq!(again.reason(), (422, "Invalid"));
    let added = json_patch(json!([{ "op": "add", "path": "/metadata/labels/a~1b", "value": "c" }]));
    assert_eq!(added.body["metadata"]["labels"], json!({ "a/b": "c" }));
    let wrong = json!({ "op": "test", "path": "/spec/nodeName", "value": "n2" });
    let refused = json_patch(json!([{ "op": "remove", "path": "/spec" }, wrong]));
    assert_eq!(refused.code, 422);
    assert_eq!(json_patch(json!([{ "op": "replace", "path": "/spec/none", "value": 1 }])).code, 422);
    let kept = send(&mut store, 0, "GET", &url, Value::Null);
    assert_eq!(kept.body["spec"]["nodeName"], "n1", "a patch that fails in part changes nothing");
}

#[test]
fn lists_select_by_label_field_and_namespace() {
    let mut store = with_pods(&["a", "b", "c"]);
    assert_eq!(send(&mut store, 0, "POST", "/api/v1/namespaces/e/pods", pod("a")).code, 201);
    let mut list = |url: &str| {
        let answer = send(&mut store, 0, "GET", url, Value::Null);
        names(&answer).join(" ")
    };
    assert_eq!(list("/api/v1/pods"), "a b c a");
    assert_eq!(list(PODS), "a b c");
    assert_eq!(list(&format!("{PODS}?labelSelector=app%3Db")), "b");
    assert_eq!(list(&format!("{PODS}?labelSelector=app%21%3Db")), "a c");
    assert_eq!(list(&format!("{PODS}?fieldSelector=metadata.name%3Dc")), "c");
    assert_eq!(list(&format!("{PODS}?fieldSelector=spec.nodeName%3Dn2")), "");
    assert_eq!(list("/apis/x.y/v1/namespaces/d/pods"), "", "another group's");
}

#[test]
fn all_pages_show_the_first_pages_revision_until_it_is_compacted() {
    let mut store = with_pods(&["a", "b", "c"]);
    let first = send(&mut store, 0, "GET", &format!("{PODS}?limit=2"), Value::Null);
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(send(&mut store, 0, "DELETE", &format!("{PODS}/c"), Value::Null).code, 200);
    let next = format!("{PODS}?limit=2&continue={}", first.body["metadata"]["continue"].as_str().unwrap());
    let second = send(&mut store, 0, "GET", &next, Value::Null);
    assert_eq!((names(&second), version(&second)), (vec!["c"], version(&first)));
    assert!(second.body["metadata"]["continue"].is_null());
    store.compact(104);
    assert_eq!(send(&mut store, 0, "GET", &next, Value::Null).code, 410);
}

#[test]
fn only_a_read_with_a_resource_version_comes_from_the_cache() {
    let mut store = with_pods(&["a", "b"]);
    let list = |store: &mut Store, query: &str| {
        let answer = send(store, 101, "GET", &format!("{PODS}{query}"), Value::Null);
        (names(&answer).join(" "), version(&answer).to_owned())
    };
    assert_eq!(list(&mut store, "?resourceVersion=0"), ("a".to_owned(), "101".to_owned()));
    assert_eq!(list(&mut store, "?resourceVersion=102"), ("a b".to_owned(), "102".to_owned()));
    assert_eq!(list(&mut store, ""), ("a b".to_owned(), "102".to_owned()));
    assert_eq!(send(&mut store, 101, "GET", &format!("{PODS}/b?resourceVersion=0"), Value::Null).code, 404);
    assert_eq!(send(&mut store, 101, "GET", &format!("{PODS}/b"), Value::Null).code, 200);
}

#[test]
fn partial_object_metadata_has_no_spec() {
    let mut store = with_pods(&["a"]);
    let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let request = http::Request::builder().uri(format!("{PODS}/a")).header("accept", accept);
    let (head, ()) = request.body(()).unwrap().into_parts();
    let answer = answer(&mut store, 0, &Request::read(&head, &[]).unwrap());
    assert_eq!(answer.body["metadata"]["name"], "a");
    assert!(answer.body["spec"].is_null());
}

fn watch(store: &Store, query: &str) -> Watch {
    let request = read("GET", &format!("{PODS}?watch=true&{query}"), "", Value::Null);
    let Operation::Watch(watch) = request.operation else { panic!("{request:?}") };
    Watch::open(store, &watch, request.parts).unwrap()
}

/// The type and resourceVersion of each event in a cache of this revision, and what comes after them.
fn events(watch: &mut Watch, store: &Store, cached: u64) -> (Vec<(String, String)>, Next) {
    let mut events = Vec::new();
    loop {
        match watch.next(store, cached) {
            Next::Event(line) => {
                let event = json(&line);
                let version = event["object"]["metadata"]["resourceVersion"].as_str().unwrap();
                events.push((event["type"].as_str().unwrap().to_owned(), version.to_owned()));
            }
            end => return (events, end),
        }
    }
}

fn pairs(events: &[(&str, &str)]) -> Vec<(String, String)> {
    events.iter().map(|(kind, version)| ((*kind).to_owned(), (*version).to_owned())).collect()
}

#[test]
fn a_watch_sends_the_changes_of_objects_that_match() {
    let mut store = with_pods(&["a", "b"]);
    let mut watch = watch(&store, "resourceVersion=101&labelSelector=app%3Db");
    let relabel = json!({ "metadata": { "labels": { "app": "z" } } });
    assert_eq!(send(&mut store, 0, "PATCH", &format!("{PODS}/b"), json!({ "spec": { "x": 1 } })).code, 200);
    assert_eq!(send(&mut store, 0, "PATCH", &format!("{PODS}/b"), relabel).code, 200);
    assert_eq!(send(&mut store, 0, "DELETE", &format!("{PODS}/a"), Value::Null).code, 200);
    let expected = pairs(&[("ADDED", "102"), ("MODIFIED", "103"), ("DELETED", "104")]);
    assert_eq!(events(&mut watch, &store, 105), (expected, Next::UpToDate));
    assert_eq!(json(&watch.bookmark())["object"]["metadata"]["resourceVersion"], "105");
}

#[test]
fn a_watch_sends_no_event_that_its_cache_does_not_have() {
    let store = with_pods(&["a", "b"]);
    let mut watch = watch(&store, "resourceVersion=100");
    assert_eq!(events(&mut watch, &store, 101), (pairs(&[("ADDED", "101")]), Next::CacheIsBehind));
    assert_eq!(events(&mut watch, &store, 102), (pairs(&[("ADDED", "102")]), Next::UpToDate));
}

#[test]
fn a_watch_of_compacted_events_ends_with_410() {
    let mut store = with_pods(&["a", "b"]);
    let mut watch = watch(&store, "resourceVersion=101");
    store.compact(102);
    let (events, end) = events(&mut watch, &store, 102);
    let Next::Expired(line) = end else { panic!("{end:?}") };
    assert_eq!((events, &json(&line)["object"]["code"]), (Vec::new(), &json!(410)));
}

#[test]
fn an_earlier_revision_can_be_read_until_it_is_compacted() {
    let mut store = with_pods(&["a"]);
    let key = Key::new("pods", "d", "a");
    store.delete(&key, &Preconditions::default()).unwrap();
    assert!(store.get_at(&key, 101).is_ok() && store.get(&key).is_err());
    assert!(store.check_age(101).is_ok());
    store.compact(102);
    assert!(store.check_age(101).is_err());
}

#[test]
fn a_test_can_put_an_object_with_a_uid_of_its_choice() {
    let mut store = store();
    let key = Key::new("pods", "d", "a");
    let made = store.put(&key, json!({ "metadata": { "uid": "u-1" } }));
    assert_eq!((&made["metadata"]["name"], &made["metadata"]["uid"]), (&json!("a"), &json!("u-1")));
    let again = store.put(&key, json!({ "spec": {} }));
    assert_eq!(
        (&again["metadata"]["uid"], &again["metadata"]["resourceVersion"]),
        (&json!("u-1"), &json!("102"))
    );
    let patch = json!({ "spec": { "x": 1 } });
    assert_eq!(store.merge_patch(&key, Endpoint::Object, &patch).unwrap()["spec"]["x"], 1);
}
