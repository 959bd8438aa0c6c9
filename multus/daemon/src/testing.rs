//! Support for the tests of several modules: a node with an API server in memory.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use fake_api::{ApiServer, Key};
use k8s_openapi::api::core::v1::Event;
use nad::{NadRef, PodRef};
use node::client::{ApiClient, Right, Timeouts};
use node::daemon::metrics_text;
use node::event::{Reporter, Severity, about_pod};
use node::names::{DnsSubdomain, PodUid};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use crate::cache::{Cache, follow_definitions, follow_pods};
use crate::changes::Changed;
use crate::events::Events;
use crate::metrics::Metrics;
use crate::rights::RIGHTS;
use crate::rights::tests::granted;
use crate::serve::Service;
use crate::status::Statuses;

/// A node `n1`.
pub(crate) struct Node {
    pub(crate) server: ApiServer,
    pub(crate) metrics: Metrics,
    registry: Registry,
}

impl Node {
    /// A node whose daemon has the rights of the table.
    pub(crate) fn new() -> Node {
        Node::with_rights(RIGHTS)
    }

    /// A node whose daemon has these rights.
    pub(crate) fn with_rights(rights: &[Right]) -> Node {
        let (metrics, registry) = Metrics::new();
        let node = Node { server: ApiServer::default(), metrics, registry };
        node.server.grant(granted(rights));
        node
    }

    /// Makes or replaces the pod `default/<name>` on this node.
    pub(crate) fn put_pod(&self, name: &str, uid: &str, annotations: Value) {
        let metadata = json!({"uid": uid, "annotations": annotations, "managedFields": [{"manager": "m"}]});
        let pod = json!({"metadata": metadata, "spec": {"nodeName": "n1"}, "status": {"phase": "Pending"}});
        self.server.put(&pod_key(name), pod);
    }

    /// Makes or replaces the definition `default/<name>`.
    pub(crate) fn put_definition(&self, name: &str, config: &str) {
        let key = Key::new("network-attachment-definitions.k8s.cni.cncf.io", "default", name);
        self.server.put(&key, json!({"spec": {"config": config}}));
    }

    /// Sets the network-status of a pod, as another writer does.
    pub(crate) fn set_status(&self, name: &str, status: &str) {
        self.server.edit(&pod_key(name), |pod| {
            pod["metadata"]["annotations"][nad::NETWORK_STATUS] = status.into();
        });
    }

    /// The network-status of a pod.
    pub(crate) fn status(&self, name: &str) -> Option<String> {
        let pod = self.server.get(&pod_key(name)).unwrap();
        pod["metadata"]["annotations"].get(nad::NETWORK_STATUS)?.as_str().map(str::to_owned)
    }

    /// The requests since the last time, as `METHOD path`, without lists and watches.
    pub(crate) fn requests(&self) -> Vec<String> {
        let mut all = self.server.take_received();
        all.retain(|request| {
            let is_list = request.method == "GET"
                && (request.path.ends_with("/pods") || request.path.ends_with("-definitions"));
            !is_list
        });
        all.iter().map(fake_api::Received::line).collect()
    }

    /// A client.
    pub(crate) async fn client(&self) -> ApiClient {
        ApiClient::from_service(self.server.clone(), Timeouts::default()).await
    }

    /// The daemon's service, whose cache is empty and is not kept up to date.
    pub(crate) async fn service(&self) -> Service {
        let (api, metrics) = (self.client().await, self.metrics.clone());
        let cache = Arc::new(Cache::new(metrics.clone()));
        let statuses = Arc::new(Statuses::new(api.clone(), cache.clone(), metrics.clone()));
        let events = Arc::new(Events::new(api.clone(), metrics.clone()));
        let (node, changed) = (Some(DnsSubdomain::new("n1").unwrap()), Arc::<Changed>::default());
        Service { api, node, cache, statuses, events, changed, metrics }
    }

    /// The daemon's service, with all background tasks, after they have seen what there is.
    pub(crate) async fn running(&self) -> Service {
        let service = self.service().await;
        let node = service.node.clone().unwrap();
        let (cache, api) = (service.cache.clone(), service.api.clone());
        tokio::spawn(follow_definitions(cache.clone(), api.clone()));
        let (observer, merger, sender) =
            (service.statuses.clone(), service.statuses.clone(), service.events.clone());
        let changed = service.changed.clone();
        tokio::spawn(follow_pods(cache, api, node, move |seen| {
            changed.observe(&seen);
            observer.observe(seen);
        }));
        tokio::spawn(async move { merger.run_merges().await });
        tokio::spawn(async move { sender.run().await });
        settle().await;
        self.server.take_received();
        service
    }

    /// The metrics as Prometheus reads them.
    pub(crate) fn metrics_text(&self) -> String {
        metrics_text(&self.registry)
    }
}

/// Lets every task run until all wait for something that takes longer than a tenth of a second. Needs a paused clock.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn pod_key(name: &str) -> Key {
    Key::new("pods", "default", name)
}

/// The pod `default/<name>` with this UID.
pub(crate) fn pod(name: &str, uid: &str) -> PodRef {
    PodRef { uid: Some(PodUid::new(uid).unwrap()), ..PodRef::from_str(&format!("default/{name}")).unwrap() }
}

/// The definition `default/<name>`.
pub(crate) fn nad(name: &str) -> NadRef {
    serde_json::from_value(json!({"namespace": "default", "name": name})).unwrap()
}

/// An event about a pod.
pub(crate) fn event(message: &str) -> Event {
    let now = "2026-11-23T10:00:00Z".parse().unwrap();
    let reporter = Reporter { component: "multus", host: "n1" };
    about_pod(&pod("web-0", "u-1").into(), Severity::Normal, "AddedInterface", message, reporter, now)
}
