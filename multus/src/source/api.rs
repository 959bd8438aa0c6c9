//! The API server, asked with the conf's kubeconfig.

use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Event;
use node::client::{
    ApiClient, ApiError, Credentials, ObjectPath, OnUnknown, ResourceKind, RetryPolicy, Timeouts, retry,
};
use node::deadline::Deadline;
use node::names::DnsLabel;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use tokio::runtime::{Builder, Runtime};

use super::SourceError;
use crate::demand::{Found, Lookup};
use crate::nad::{Nad, NadRef};
use crate::pod::{Pod, PodRef};
use crate::selection::{DEFAULT_NETWORK, NETWORKS};
use crate::status::NETWORK_STATUS;

/// Longest time for one question, all attempts together.
const PATIENCE: Duration = Duration::from_secs(20);

/// The wait after the first conflict, which doubles.
const CONFLICT_WAIT: Duration = Duration::from_millis(10);

/// A connection to the API server, with a runtime of its own that stands still between calls.
#[derive(Debug)]
pub struct Api {
    client: ApiClient,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    /// The pod's object as last read. Written back with its `resourceVersion`, it saves a read.
    object: Option<Value>,
}

impl Api {
    /// Reads the credentials. Connects with the first question.
    pub fn connect(credentials: Credentials, deadline: Deadline) -> Result<Api, SourceError> {
        Self::with_client(deadline, async { Ok(ApiClient::connect(credentials, Timeouts::default()).await?) })
    }

    /// As [`Api::connect`], with a client that `client` makes.
    pub(crate) fn with_client(
        deadline: Deadline,
        client: impl Future<Output = Result<ApiClient, SourceError>>,
    ) -> Result<Api, SourceError> {
        let runtime =
            Builder::new_current_thread().enable_io().enable_time().build().map_err(SourceError::Runtime)?;
        let client = within(&runtime, deadline, client)??;
        Ok(Api { client, runtime: Some(runtime), object: None })
    }

    /// See [`Source::pod`](super::Source::pod).
    pub fn pod(&mut self, at: &PodRef, deadline: Deadline) -> Result<Pod, SourceError> {
        let client = &self.client;
        let object = self.run(deadline, |deadline| get_pod(client, at, deadline))??;
        let pod = verified(at, &object)?;
        self.object = Some(object);
        Ok(pod)
    }

    /// See [`Source::definitions`](super::Source::definitions).
    pub fn definitions(&self, wanted: &[NadRef], deadline: Deadline) -> Result<Found, SourceError> {
        let one = async |at: &NadRef, deadline| match get::<Nad>(&self.client, &at.object(), deadline).await {
            Ok(nad) => Ok((at.clone(), Lookup::Found(nad))),
            Err(ApiError::NotFound { message, .. }) => {
                let reason = if message.is_empty() { "not found".to_owned() } else { message };
                Ok((at.clone(), Lookup::Absent(reason)))
            }
            Err(error) => Err(SourceError::from(error)),
        };
        let answers =
            self.run(deadline, |deadline| join_all(wanted.iter().map(move |at| one(at, deadline))))?;
        answers.into_iter().collect()
    }

    /// See [`Source::publish`](super::Source::publish).
    pub fn publish(&mut self, at: &PodRef, status: &str, deadline: Deadline) -> Result<(), SourceError> {
        let object = self.object.take();
        let client = &self.client;
        self.run(deadline, |deadline| write_status(client, at, object, status, deadline))?
    }

    /// See [`Source::tell`](super::Source::tell).
    pub fn tell(&self, events: &[Event], deadline: Deadline) {
        let one = async |event: &Event, deadline| {
            let Some(Ok(namespace)) = event.metadata.namespace.as_deref().map(DnsLabel::new) else { return };
            let events = ResourceKind::EVENTS.in_namespace(&namespace);
            // An event that is lost is no reason to take a network away.
            let _ = self.client.create::<IgnoredAny>(&events, event, deadline).await;
        };
        let _ = self.run(deadline, |deadline| join_all(events.iter().map(move |event| one(event, deadline))));
    }

    /// Runs `work` until the deadline, or [`PATIENCE`] if that is shorter.
    fn run<T, F: Future<Output = T>>(
        &self,
        deadline: Deadline,
        work: impl FnOnce(Deadline) -> F,
    ) -> Result<T, SourceError> {
        let deadline = deadline.child(PATIENCE);
        match &self.runtime {
            Some(runtime) => within(runtime, deadline, work(deadline)),
            None => Err(SourceError::DeadlinePassed(Duration::ZERO)),
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Name resolution runs on a thread of its own that must not be waited for.
            runtime.shutdown_background();
        }
    }
}

fn within<T>(runtime: &Runtime, deadline: Deadline, work: impl Future<Output = T>) -> Result<T, SourceError> {
    let limit = deadline.remaining();
    let result = runtime.block_on(async { tokio::time::timeout(limit, work).await });
    result.map_err(|_| SourceError::DeadlinePassed(limit))
}

async fn get<T: serde::de::DeserializeOwned>(
    client: &ApiClient,
    object: &ObjectPath,
    deadline: Deadline,
) -> Result<T, ApiError> {
    retry(deadline, RetryPolicy::new(OnUnknown::Repeat), || client.get(object, deadline)).await
}

async fn get_pod(client: &ApiClient, at: &PodRef, deadline: Deadline) -> Result<Value, SourceError> {
    match get(client, &path(at), deadline).await {
        Err(ApiError::NotFound { .. }) => Err(SourceError::PodMissing(at.clone())),
        other => Ok(other?),
    }
}

fn path(at: &PodRef) -> ObjectPath {
    ResourceKind::PODS.in_namespace(&at.namespace).object(&at.name)
}

/// Writes the annotation by way of the status, the one part of a pod that multus may write; every other field goes back as it came.
/// After a conflict, or an answer that did not come, the pod is read and written again.
async fn write_status(
    client: &ApiClient,
    at: &PodRef,
    mut object: Option<Value>,
    status: &str,
    deadline: Deadline,
) -> Result<(), SourceError> {
    let policy = RetryPolicy::new(OnUnknown::Repeat);
    let mut failures = 0_u32;
    loop {
        let mut current = match object.take() {
            Some(object) => object,
            None => match get_pod(client, at, deadline).await {
                Err(SourceError::PodMissing(_)) => return Ok(()),
                other => other?,
            },
        };
        verified(at, &current)?;
        annotate(&mut current, status);
        let error = match client.replace_status::<IgnoredAny>(&path(at), &current, deadline).await {
            Ok(_) | Err(ApiError::NotFound { .. }) => return Ok(()),
            Err(error) => error,
        };
        let conflict = matches!(error, ApiError::Conflict { .. })
            .then(|| CONFLICT_WAIT.saturating_mul(1 << failures.min(6)));
        let wait = conflict.or_else(|| policy.delay(&error, failures, u64::from(failures)));
        let Some(wait) = wait.filter(|wait| *wait < deadline.remaining()) else { return Err(error.into()) };
        tokio::time::sleep(wait).await;
        failures = failures.saturating_add(1);
    }
}

fn annotate(object: &mut Value, status: &str) {
    let member = |object: &mut Value, key: &str| -> Option<()> {
        let members = object.as_object_mut()?;
        if !members.get(key).is_some_and(Value::is_object) {
            members.insert(key.to_owned(), Value::Object(Map::new()));
        }
        Some(())
    };
    let _ = member(object, "metadata");
    if let Some(metadata) = object.get_mut("metadata")
        && member(metadata, "annotations").is_some()
        && let Some(Value::Object(annotations)) = metadata.get_mut("annotations")
    {
        annotations.insert(NETWORK_STATUS.to_owned(), status.into());
    }
}

/// The pod of an object, if it is the one that the runtime means. A static pod has one UID on the node and another at the API server.
fn verified(at: &PodRef, object: &Value) -> Result<Pod, SourceError> {
    let metadata = object.get("metadata");
    let annotation = |name: &str| metadata?.get("annotations")?.get(name)?.as_str().map(str::to_owned);
    let uid = metadata.and_then(|m| m.get("uid")).and_then(Value::as_str).unwrap_or_default();
    let is_static = annotation("kubernetes.io/config.source").is_some_and(|source| source != "api");
    if let Some(expected) = at.uid.as_ref().map(node::names::PodUid::as_str)
        && !is_static
        && expected != uid
    {
        return Err(SourceError::PodReplaced {
            pod: at.clone(),
            expected: expected.to_owned(),
            found: uid.to_owned(),
        });
    }
    Ok(Pod {
        at: PodRef { uid: node::names::PodUid::new(uid).ok(), ..at.clone() },
        networks: annotation(NETWORKS),
        default_network: annotation(DEFAULT_NETWORK),
        node: object.pointer("/spec/nodeName").and_then(Value::as_str).map(str::to_owned),
    })
}
