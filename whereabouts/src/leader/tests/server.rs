//! An API server in memory, with the rules that claims and the leader rely on: resourceVersions, preconditions, merge and JSON patches.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Bytes};
use node::client::{ApiClient, Timeouts};
use serde_json::{Value, json};

#[derive(Clone, Default)]
pub struct Server {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// By kind, namespace, name.
    objects: BTreeMap<[String; 3], Value>,
    version: u64,
    drops_via: bool,
    fails: Vec<String>,
    requests: Vec<String>,
}

impl Server {
    pub async fn client(&self) -> ApiClient {
        let state = self.state.clone();
        let service = tower::service_fn(move |request: Request<_>| respond(state.clone(), request));
        ApiClient::from_service(service, Timeouts::default()).await
    }

    pub fn put(&self, kind: &str, namespace: &str, name: &str, object: Value) {
        self.state.lock().unwrap().put([kind, namespace, name].map(str::to_owned), object);
    }

    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        self.state.lock().unwrap().objects.get(&[kind, namespace, name].map(str::to_owned)).cloned()
    }

    pub fn remove(&self, kind: &str, namespace: &str, name: &str) {
        self.state.lock().unwrap().objects.remove(&[kind, namespace, name].map(str::to_owned)).unwrap();
    }

    pub fn all(&self, kind: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        state.objects.iter().filter(|([of, ..], _)| of == kind).map(|(_, object)| object.clone()).collect()
    }

    pub fn names(&self, kind: &str) -> Vec<String> {
        self.all(kind).iter().map(|object| object["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The number of writes that changed an object.
    pub fn writes(&self) -> u64 {
        self.state.lock().unwrap().version
    }

    /// Returns method and object name of each request since the last call.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    /// From now on the IPPool definition is Whereabouts' own, without `via` and status.
    pub fn drop_via(&self) {
        self.state.lock().unwrap().drops_via = true;
    }

    /// From now on requests whose path ends with `path` get a 500 response.
    pub fn fail(&self, path: &str) {
        self.state.lock().unwrap().fails.push(path.to_owned());
    }
}

impl State {
    fn put(&mut self, key: [String; 3], mut object: Value) -> Value {
        let [kind, namespace, name] = &key;
        if self.drops_via && kind == "ippools" {
            object.as_object_mut().unwrap().remove("status");
            let entries = object["spec"]["allocations"].as_object_mut().unwrap();
            entries.values_mut().for_each(|entry| drop(entry.as_object_mut().unwrap().remove("via")));
        }
        let old = self.objects.get(&key);
        if let Some(old) = old.filter(|old| without_version(old) == without_version(&object)) {
            return old.clone();
        }
        let uid = old.map(|old| old["metadata"]["uid"].clone());
        self.version += 1;
        let metadata = &mut object["metadata"];
        metadata["name"] = json!(name);
        if !namespace.is_empty() {
            metadata["namespace"] = json!(namespace);
        }
        if metadata.get("uid").is_none() {
            metadata["uid"] = uid.unwrap_or_else(|| json!(format!("uid-{}", self.version)));
        }
        metadata["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(key, object.clone());
        object
    }

    fn act(&mut self, method: &Method, path: &str, content_type: &str, body: Value) -> (u16, Value) {
        if self.fails.iter().any(|fails| path.ends_with(fails)) {
            return (500, json!({"message": "etcd is away"}));
        }
        let mut key = key(path);
        if method == Method::POST {
            key[2] = body["metadata"]["name"].as_str().unwrap().to_owned();
        }
        self.requests.push(format!("{method} {}", key[2]));
        if method == Method::POST {
            return match self.objects.contains_key(&key) {
                true => refused(409, "AlreadyExists"),
                false => (201, self.put(key, body)),
            };
        }
        if method == Method::GET && key[2].is_empty() {
            let is_selected = |of: &[String; 3]| of[..2] == key[..2];
            let items: Vec<&Value> =
                self.objects.iter().filter(|(of, _)| is_selected(of)).map(|(_, object)| object).collect();
            return (200, json!({ "metadata": {}, "items": items }));
        }
        let Some(present) = self.objects.get(&key).cloned() else { return refused(404, "NotFound") };
        match method.as_str() {
            "GET" => (200, present),
            "DELETE" => {
                let (preconditions, metadata) = (&body["preconditions"], &present["metadata"]);
                let holds =
                    |part: &str| preconditions[part].is_null() || preconditions[part] == metadata[part];
                if !holds("uid") || !holds("resourceVersion") {
                    return refused(409, "Conflict");
                }
                self.objects.remove(&key);
                (200, present)
            }
            "PUT" => self.change(key, &present, &body, body.clone()),
            "PATCH" if content_type.contains("merge") => {
                let mut new = present.clone();
                merge(&mut new, &body);
                self.change(key, &present, &body, new)
            }
            "PATCH" => match apply_json_patch(&present, &body) {
                Some(new) => (200, self.put(key, new)),
                None => refused(422, "Invalid"),
            },
            other => panic!("{other}"),
        }
    }

    fn change(&mut self, key: [String; 3], present: &Value, sent: &Value, new: Value) -> (u16, Value) {
        let version = &sent["metadata"]["resourceVersion"];
        if !version.is_null() && *version != present["metadata"]["resourceVersion"] {
            return refused(409, "Conflict");
        }
        (200, self.put(key, new))
    }
}

fn without_version(object: &Value) -> Value {
    let mut object = object.clone();
    for part in ["resourceVersion", "uid", "name", "namespace"] {
        let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
        metadata.and_then(|metadata| metadata.remove(part));
    }
    object
}

fn refused(code: u16, reason: &str) -> (u16, Value) {
    (code, json!({"kind": "Status", "status": "Failure", "reason": reason, "message": reason, "code": code}))
}

/// Kind, namespace and name in a path; empty if missing.
fn key(path: &str) -> [String; 3] {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let parts = if parts[0] == "api" { &parts[2..] } else { &parts[3..] };
    let part = |at: usize| parts.get(at).copied().unwrap_or_default().to_owned();
    if parts[0] == "namespaces" && parts.len() > 2 {
        return [part(2), part(1), part(3)];
    }
    [part(0), String::new(), part(1)]
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in members {
        match value {
            Value::Null => drop(target.as_object_mut().unwrap().remove(key)),
            _ => merge(&mut target[key.as_str()], value),
        }
    }
}

/// Applies a JSON patch. Supports `test` and `remove`; `None` if a test fails.
fn apply_json_patch(object: &Value, patch: &Value) -> Option<Value> {
    let mut new = object.clone();
    for step in patch.as_array().unwrap() {
        let path = step["path"].as_str().unwrap();
        match step["op"].as_str().unwrap() {
            "test" => (new.pointer(path)? == &step["value"]).then_some(())?,
            "remove" => {
                let (parent, key) = path.rsplit_once('/')?;
                new.pointer_mut(parent)?.as_object_mut()?.remove(key)?;
            }
            other => panic!("{other}"),
        }
    }
    Some(new)
}

async fn respond<B: Body>(
    state: Arc<Mutex<State>>,
    request: Request<B>,
) -> Result<Response<Full<Bytes>>, std::io::Error>
where
    B::Error: std::fmt::Debug,
{
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let content_type = head.headers.get("content-type").map_or("", |value| value.to_str().unwrap());
    let (code, object) = state.lock().unwrap().act(&head.method, head.uri.path(), content_type, body);
    let body = Full::new(Bytes::from(object.to_string()));
    Ok(Response::builder().status(code).header("content-type", "application/json").body(body).unwrap())
}
