//! The API server of a test. Kinds are named by their plurals.

use std::time::Duration;

use fake_api::{ApiServer, Fault, Key};
use node::client::{ApiClient, Timeouts};
use serde_json::Value;

#[derive(Clone, Default)]
pub struct Server(ApiServer);

/// A plural and its group.
fn kind(plural: &str) -> String {
    match plural {
        "events" | "nodes" | "pods" => plural.to_owned(),
        "network-attachment-definitions" => format!("{plural}.k8s.cni.cncf.io"),
        _ => format!("{plural}.whereabouts.cni.cncf.io"),
    }
}

fn key(plural: &str, namespace: &str, name: &str) -> Key {
    Key::new(&kind(plural), namespace, name)
}

impl Server {
    /// A client with the rights that the manifests grant.
    pub async fn client(&self) -> ApiClient {
        self.0.grant(crate::crd::rights::tests::granted());
        ApiClient::from_service(self.0.clone(), Timeouts::default()).await
    }

    pub fn put(&self, plural: &str, namespace: &str, name: &str, object: Value) {
        self.0.put(&key(plural, namespace, name), object);
    }

    pub fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        self.0.get(&key(plural, namespace, name))
    }

    pub fn remove(&self, plural: &str, namespace: &str, name: &str) {
        self.0.remove(&key(plural, namespace, name));
    }

    pub fn all(&self, plural: &str) -> Vec<Value> {
        self.0.list(&kind(plural))
    }

    pub fn names(&self, plural: &str) -> Vec<String> {
        self.all(plural)
            .iter()
            .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// How many writes changed something.
    pub fn writes(&self) -> usize {
        self.0.with(|store| store.commits_after(0).len())
    }

    /// `METHOD name` of each request since the last call of this function.
    pub fn take_requests(&self) -> Vec<String> {
        let received = self.0.take_received();
        let name = |request: &fake_api::Received| match request.method.as_str() {
            "POST" => request.body["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            _ => request.path.rsplit('/').next().unwrap_or_default().to_owned(),
        };
        received.iter().map(|request| format!("{} {}", request.method, name(request))).collect()
    }

    /// The definition of IPPool is Whereabouts' own, which knows neither `via` nor a status.
    pub fn drop_via(&self) {
        self.0.with(|store| {
            store.prune(&kind("ippools"), |pool| {
                pool.as_object_mut().unwrap().remove("status");
                let entries = pool["spec"]["allocations"].as_object_mut().unwrap();
                entries.values_mut().for_each(|entry| drop(entry.as_object_mut().unwrap().remove("via")));
            });
        });
    }

    /// From now on, `hook` is called with method and path of each request, before the request is carried out. It must not use the server.
    pub fn on_request(&self, hook: impl Fn(&str, &str) + Send + 'static) {
        let never = move |request: &fake_api::Received| {
            hook(&request.method, &request.path);
            false
        };
        self.0.fail(never, []);
    }

    /// From now on, each request and each response takes up to this time, by chance.
    pub fn delay(&self, most: Duration) {
        self.0.delay(move || most.mul_f64(fastrand::f64()));
    }

    /// The next requests of this method, whose path ends like this, fail so, one after the other.
    pub fn fail_next(&self, method: &'static str, path: &str, faults: &'static [Fault]) {
        let path = path.to_owned();
        let applies =
            move |request: &fake_api::Received| request.method == method && request.path.ends_with(&path);
        self.0.fail(applies, faults.iter().cloned());
    }

    /// From now on, requests whose path ends like this fail with 500.
    pub fn fail(&self, path: &str) {
        let path = path.to_owned();
        let faults = std::iter::repeat(Fault::Status(500));
        self.0.fail(move |request| request.path.ends_with(&path), faults);
    }
}
