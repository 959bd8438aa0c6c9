//! The API server of a test, with one pod and some NetworkAttachmentDefinitions.

use fake_api::{ApiServer, Fault, Key};
use node::client::{ApiClient, Timeouts};
use serde_json::{Value, json};

use crate::plugin::Api;

#[derive(Clone, Default)]
pub(crate) struct FakeApi(ApiServer);

fn pod_key() -> Key {
    Key::new("pods", "default", "pod0")
}

impl FakeApi {
    /// With the pod `default/pod0`, UID `u-1`, and these annotations.
    pub(crate) fn new(annotations: Value) -> FakeApi {
        let api = FakeApi::default();
        let pod = json!({
            "metadata": {"uid": "u-1", "annotations": annotations, "managedFields": [{"manager": "m"}]},
            "spec": {"nodeName": "n1", "unheardOf": [1]}, "status": {"phase": "Pending"},
        });
        api.0.put(&pod_key(), pod);
        api
    }

    /// With a NetworkAttachmentDefinition at `namespace/name`.
    pub(crate) fn with_nad(self, at: &str, config: &Value) -> FakeApi {
        let (namespace, name) = at.split_once('/').unwrap();
        let key = Key::new("network-attachment-definitions.k8s.cni.cncf.io", namespace, name);
        self.0.put(&key, json!({"spec": {"config": config.to_string()}}));
        self
    }

    /// With a NetworkAttachmentDefinition at `namespace/name` whose attachments get devices of `resource`.
    pub(crate) fn with_device_nad(self, at: &str, config: &Value, resource: &str) -> FakeApi {
        let (namespace, name) = at.split_once('/').unwrap();
        let key = Key::new("network-attachment-definitions.k8s.cni.cncf.io", namespace, name);
        let annotations = json!({"k8s.v1.cni.cncf.io/resourceName": resource});
        let spec = json!({"config": config.to_string()});
        self.0.put(&key, json!({"metadata": {"annotations": annotations}, "spec": spec}));
        self
    }

    /// With any other object.
    pub(crate) fn with(self, kind: &str, namespace: &str, name: &str, object: Value) -> FakeApi {
        self.0.put(&Key::new(kind, namespace, name), object);
        self
    }

    /// An object, if it exists.
    pub(crate) fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        self.0.get(&Key::new(kind, namespace, name))
    }

    /// Changes the pod. It gets a new resourceVersion.
    pub(crate) fn edit_pod(&self, edit: impl FnOnce(&mut Value)) {
        self.0.edit(&pod_key(), edit);
    }

    pub(crate) fn delete_pod(&self) {
        self.0.remove(&pod_key());
    }

    /// Makes the next requests of this method fail with these status codes; 0 breaks the connection.
    pub(crate) fn refuse(&self, method: &'static str, codes: &[u16]) {
        let fault = |code: &u16| if *code == 0 { Fault::Reset } else { Fault::Status(*code) };
        let faults: Vec<Fault> = codes.iter().map(fault).collect();
        self.0.fail(move |request| request.method == method, faults);
    }

    /// Makes the next write of an object of this kind fail with this status code.
    pub(crate) fn refuse_writes_of(&self, plural: &'static str, code: u16) {
        let part = format!("/{plural}/");
        self.0.fail(
            move |request| request.method == "PUT" && request.line().contains(&part),
            vec![Fault::Status(code)],
        );
    }

    /// The pod, without the resourceVersion, which every write changes.
    pub(crate) fn pod(&self) -> Value {
        let mut pod = self.0.get(&pod_key()).unwrap();
        pod["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        pod
    }

    /// The pod's network-status annotation.
    pub(crate) fn status(&self) -> Option<String> {
        let pod = self.pod();
        let status = pod["metadata"]["annotations"].get(nad::NETWORK_STATUS)?;
        Some(status.as_str().unwrap().to_owned())
    }

    /// The requests so far, as `METHOD path`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.0.received().iter().map(|request| request.line()).collect()
    }

    /// The messages of the events that were sent so far, sorted.
    pub(crate) fn events(&self) -> Vec<String> {
        let mut sent = self.0.received();
        sent.retain(|request| request.line() == "POST /api/v1/namespaces/default/events");
        let message = |body: &Value| body["message"].as_str().unwrap().to_owned();
        let mut messages: Vec<String> = sent.iter().map(|request| message(&request.body)).collect();
        messages.sort();
        messages
    }

    /// A client of this server, with the rights that the manifests grant.
    pub(crate) async fn client(&self) -> ApiClient {
        self.0.grant(crate::source::granted());
        ApiClient::from_service(self.0.clone(), Timeouts::default()).await
    }

    /// The plugin's blocking requests to this server.
    pub(crate) fn api(&self) -> Api {
        Api::with_client(None, async { Ok(self.client().await) }).unwrap()
    }
}
