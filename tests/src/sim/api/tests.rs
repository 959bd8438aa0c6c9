use serde_json::{Value, json};

use super::http::{Ask, bookmark};
use super::http::{Request, watched};
use super::store::{Key, Store};

const PODS: &str = "/api/v1/namespaces/d/pods";

fn store() -> Store {
    Store::new(Box::new(|_| ()))
}

struct Answer {
    code: u16,
    body: Value,
}

fn send(store: &mut Store, cached: u64, method: &str, url: &str, body: Value) -> Answer {
    answer(store, cached, &read(method, url, "application/merge-patch+json", body))
}

fn answer(store: &mut Store, cached: u64, request: &Request) -> Answer {
    let answer = store.answer(request, cached);
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
fn a_name_is_made_once_and_read_back() {
    let mut store = with_pods(&["a"]);
    let again = send(&mut store, 0, "POST", PODS, pod("a"));
    assert_eq!((again.code, again.body["reason"].as_str()), (409, Some("AlreadyExists")));
    let found = send(&mut store, 0, "GET", &format!("{PODS}/a"), Value::Null);
    assert_eq!((found.code, version(&found)), (200, "101"));
    assert_eq!(found.body["metadata"]["namespace"], "d");
    assert!(!found.body["metadata"]["uid"].as_str().unwrap().is_empty());
    assert_eq!(send(&mut store, 0, "GET", &format!("{PODS}/b"), Value::Null).code, 404);
    assert_eq!(send(&mut store, 0, "GET", "/api/v1/namespaces/e/pods/a", Value::Null).code, 404);
}

#[test]
fn a_replace_needs_the_version_that_was_read() {
    let mut store = with_pods(&["a"]);
    let url = format!("{PODS}/a");
    let mut read = send(&mut store, 0, "GET", &url, Value::Null).body;
    read["spec"]["x"] = json!(1);
    let first = send(&mut store, 0, "PUT", &url, read.clone());
    assert_eq!((first.code, version(&first)), (200, "102"));
    let second = send(&mut store, 0, "PUT", &url, read);
    assert_eq!((second.code, second.body["reason"].as_str()), (409, Some("Conflict")));
    assert_eq!(
        first.body["metadata"]["uid"],
        send(&mut store, 0, "GET", &url, Value::Null).body["metadata"]["uid"]
    );
}

#[test]
fn a_delete_heeds_its_preconditions() {
    let mut store = with_pods(&["a"]);
    let url = format!("{PODS}/a");
    let uid = send(&mut store, 0, "GET", &url, Value::Null).body["metadata"]["uid"].clone();
    for wrong in [json!({ "uid": "other" }), json!({ "uid": uid, "resourceVersion": "7" })] {
        let answer = send(&mut store, 0, "DELETE", &url, json!({ "preconditions": wrong }));
        assert_eq!((answer.code, answer.body["reason"].as_str()), (409, Some("Conflict")));
    }
    let right = json!({ "preconditions": { "uid": uid, "resourceVersion": "101" } });
    assert_eq!(send(&mut store, 0, "DELETE", &url, right).code, 200);
    assert_eq!(send(&mut store, 0, "DELETE", &url, Value::Null).code, 404);
    // A later object of the same name is another.
    assert_eq!(send(&mut store, 0, "POST", PODS, pod("a")).code, 201);
    assert_ne!(send(&mut store, 0, "GET", &url, Value::Null).body["metadata"]["uid"], uid);
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
    assert_eq!((again.code, again.body["reason"].as_str()), (422, Some("Invalid")));
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
fn pages_are_of_one_moment_until_it_is_forgotten() {
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
fn only_a_cached_read_is_of_the_past() {
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
fn metadata_only_leaves_the_rest_out() {
    let mut store = with_pods(&["a"]);
    let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let request = http::Request::builder().uri(format!("{PODS}/a")).header("accept", accept);
    let (head, ()) = request.body(()).unwrap().into_parts();
    let answer = answer(&mut store, 0, &Request::read(&head, &[]).unwrap());
    assert_eq!(answer.body["metadata"]["name"], "a");
    assert!(answer.body["spec"].is_null());
}

#[test]
fn a_watch_tells_what_became_of_the_selected() {
    let mut store = with_pods(&["a", "b"]);
    let ask =
        read("GET", &format!("{PODS}?watch=true&resourceVersion=101&labelSelector=app%3Db"), "", Value::Null);
    let Ask::Watch { from, selector, after } = ask.ask else { panic!("{ask:?}") };
    let relabel = json!({ "metadata": { "labels": { "app": "z" } } });
    assert_eq!(send(&mut store, 0, "PATCH", &format!("{PODS}/b"), json!({ "spec": { "x": 1 } })).code, 200);
    assert_eq!(send(&mut store, 0, "PATCH", &format!("{PODS}/b"), relabel).code, 200);
    assert_eq!(send(&mut store, 0, "DELETE", &format!("{PODS}/a"), Value::Null).code, 200);
    let said: Vec<(String, String)> = store
        .commits_after(after)
        .iter()
        .filter_map(|commit| watched(commit, &from, &selector, ask.shape))
        .map(|line| {
            let event = json(&line);
            let version = event["object"]["metadata"]["resourceVersion"].as_str().unwrap();
            (event["type"].as_str().unwrap().to_owned(), version.to_owned())
        })
        .collect();
    let expected = [("ADDED", "102"), ("MODIFIED", "103"), ("DELETED", "104")];
    assert_eq!(said, expected.map(|(kind, version)| (kind.to_owned(), version.to_owned())));
    assert_eq!(json(&bookmark(105))["object"]["metadata"]["resourceVersion"], "105");
}

#[test]
fn an_earlier_revision_can_be_read_until_it_is_compacted() {
    let mut store = with_pods(&["a"]);
    let key = Key::new("pods", "d", "a");
    store.delete(&key, &super::store::DeleteIf::default()).unwrap();
    assert!(store.get_at(&key, 101).is_ok() && store.get(&key).is_err());
    assert!(store.check_age(101).is_ok());
    store.compact(102);
    assert!(store.check_age(101).is_err());
}
