//! Reading the pod of a sandbox.

use node::client::{ApiClient, ApiError, OnUnknown, RetryPolicy, retry};
use node::deadline::Deadline;
use node::names::PodUid;
use serde_json::Value;

use super::error::SourceError;
use super::within::within;
use crate::annotation::{DEFAULT_NETWORK, NETWORKS};
use crate::identity::{MIRROR_POD, PodIdentity};
use crate::pod::{Pod, PodRef};

/// A pod object as the API server sent it. With its `resourceVersion` the status can be written without another read.
#[derive(Debug)]
pub struct PodObject(pub(super) Value);

impl PodObject {
    /// The whole object.
    pub const fn value(&self) -> &Value {
        &self.0
    }
}

/// Reads a pod. If its UID is not that of `pod`, this is another pod of the name, and an error.
///
/// # Errors
/// [`SourceError`].
pub async fn read_pod(
    client: &ApiClient,
    pod: &PodRef,
    deadline: Deadline,
) -> Result<(Pod, PodObject), SourceError> {
    within(deadline, async |deadline| {
        let object = get(client, pod, deadline).await?;
        Ok((verified(pod, &object)?, object))
    })
    .await
}

/// Requests the object of a pod, and repeats the request after failures that may pass.
pub(super) async fn get(
    client: &ApiClient,
    pod: &PodRef,
    deadline: Deadline,
) -> Result<PodObject, SourceError> {
    let path = pod.object();
    let policy = RetryPolicy::new(OnUnknown::Repeat);
    match retry(deadline, policy, || client.get(&path, deadline)).await {
        Ok(object) => Ok(PodObject(object)),
        // Not repeated: the runtime sets up a new sandbox if the pod still exists.
        Err(ApiError::NotFound { .. }) => Err(SourceError::PodMissing(pod.clone())),
        Err(error) => Err(error.into()),
    }
}

/// Returns the pod of an object, if it is the one that the runtime means.
pub(super) fn verified(pod: &PodRef, PodObject(object): &PodObject) -> Result<Pod, SourceError> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let annotation = |key: &str| object.pointer("/metadata/annotations")?.get(key)?.as_str();
    let uid = text("/metadata/uid").unwrap_or_default();
    let identity = PodIdentity::new(uid, annotation(MIRROR_POD));
    if let Some(expected) = pod.uid.as_ref().filter(|expected| !identity.is(expected.as_str())) {
        let (pod, expected, found) = (pod.clone(), expected.clone(), uid.to_owned());
        return Err(SourceError::PodReplaced { pod, expected, found });
    }
    Ok(Pod {
        pod_ref: PodRef { uid: PodUid::new(uid).ok(), ..pod.clone() },
        networks: annotation(NETWORKS).map(str::to_owned),
        default_network: annotation(DEFAULT_NETWORK).map(str::to_owned),
        node: text("/spec/nodeName").map(str::to_owned),
    })
}
