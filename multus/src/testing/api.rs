//! A fake API server with one pod and some definitions.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::client::Body;
use node::client::{ApiClient, Timeouts};
use serde_json::{Value, json};

use crate::plugin::Api;

#[derive(Clone, Default)]
pub(crate) struct FakeApi(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    /// Status codes for the next requests of a method; 0 is a lost connection.
    refusals: BTreeMap<String, VecDeque<u16>>,
    seen: Vec<(String, Value)>,
}

const POD: &str = "/api/v1/namespaces/default/pods/pod0";

impl FakeApi {
    /// With the pod `default/pod0`, UID `u-1`, and these annotations.
    pub(crate) fn new(annotations: Value) -> FakeApi {
        let api = FakeApi::default();
        api.put(
            POD,
            json!({"metadata": {"name": "pod0", "namespace": "default", "uid": "u-1", "resourceVersion": "1",
            "annotations": annotations, "managedFields": [{"manager": "m"}]},
            "spec": {"nodeName": "n1", "unheardOf": [1]}, "status": {"phase": "Pending"}}),
        );
        api
    }

    pub(crate) fn with_nad(self, at: &str, config: &Value) -> FakeApi {
        let (namespace, name) = at.split_once('/').unwrap();
        let path =
            format!("/apis/k8s.cni.cncf.io/v1/namespaces/{namespace}/network-attachment-definitions/{name}");
        self.put(&path, json!({"metadata": {"name": name}, "spec": {"config": config.to_string()}}));
        self
    }

    pub(crate) fn put(&self, path: &str, object: Value) {
        self.0.lock().unwrap().objects.insert(path.to_owned(), object);
    }

    /// Changes the pod.
    pub(crate) fn edit_pod(&self, edit: impl FnOnce(&mut Value)) {
        edit(self.0.lock().unwrap().objects.get_mut(POD).unwrap());
    }

    pub(crate) fn delete_pod(&self) {
        self.0.lock().unwrap().objects.remove(POD);
    }

    /// Makes the next requests of this method fail with these status codes.
    pub(crate) fn refuse(&self, method: &str, codes: &[u16]) {
        self.0.lock().unwrap().refusals.insert(method.to_owned(), codes.iter().copied().collect());
    }

    pub(crate) fn pod(&self) -> Value {
        self.0.lock().unwrap().objects[POD].clone()
    }

    pub(crate) fn status(&self) -> Option<String> {
        Some(self.pod()["metadata"]["annotations"].get(nad::NETWORK_STATUS)?.as_str().unwrap().to_owned())
    }

    /// The requests so far, as `METHOD path`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.0.lock().unwrap().seen.iter().map(|(line, _)| line.clone()).collect()
    }

    /// The messages of the events so far.
    pub(crate) fn events(&self) -> Vec<String> {
        let state = self.0.lock().unwrap();
        let events = state.seen.iter().filter(|(line, _)| line == "POST /api/v1/namespaces/default/events");
        let mut messages: Vec<String> =
            events.map(|(_, body)| body["message"].as_str().unwrap().to_owned()).collect();
        messages.sort();
        messages
    }

    /// A client of this server.
    pub(crate) async fn client(&self) -> ApiClient {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                let (head, body) = request.into_parts();
                let body =
                    serde_json::from_slice(&body.collect_bytes().await.unwrap()).unwrap_or(Value::Null);
                let (code, answer) = api.answer(&head.method, head.uri.path(), body);
                if code == 0 {
                    return Err(std::io::Error::other("reset"));
                }
                Ok(Response::builder()
                    .status(code)
                    .body(Body::from(answer.to_string().into_bytes()))
                    .unwrap())
            }
        });
        ApiClient::from_service(service, Timeouts::default()).await
    }

    /// The plugin's blocking requests to this server.
    pub(crate) fn api(&self) -> Api {
        Api::with_client(async { Ok(Some(self.client().await)) }).unwrap().unwrap()
    }

    fn answer(&self, method: &Method, path: &str, body: Value) -> (u16, Value) {
        let mut state = self.0.lock().unwrap();
        state.seen.push((format!("{method} {path}"), body.clone()));
        if let Some(code) = state.refusals.get_mut(method.as_str()).and_then(VecDeque::pop_front) {
            return (code, json!({"kind": "Status", "message": "refused by the test"}));
        }
        let missing = (404, json!({"kind": "Status", "message": format!("{path} not found")}));
        match *method {
            Method::GET => state.objects.get(path).cloned().map_or(missing, |object| (200, object)),
            Method::POST => (201, body),
            _ => {
                let Some(object) = state.objects.get_mut(path.trim_end_matches("/status")) else {
                    return missing;
                };
                if object["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] {
                    return (409, json!({"kind": "Status", "reason": "Conflict"}));
                }
                *object = body;
                (200, object.clone())
            }
        }
    }
}
