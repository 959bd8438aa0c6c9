//! Writing the network-status annotation of a pod.

use std::time::Duration;

use node::client::{ApiClient, ApiError, OnUnknown, Patch, RetryPolicy, retry};
use node::deadline::Deadline;
use node::names::PodUid;
use serde_json::{Map, Value, json};

use super::error::SourceError;
use super::pod::{PodObject, get, verified};
use super::within::within;
use crate::annotation::NETWORK_STATUS;
use crate::pod::PodRef;

/// The wait after the first conflict (409). It doubles with each failure, up to 640 ms.
const CONFLICT_WAIT: Duration = Duration::from_millis(10);

/// Writes the annotation. `object` is the pod as last read; without it, the pod is read first. A pod that is gone needs no status.
///
/// # Errors
/// [`SourceError`].
pub async fn write_status(
    client: &ApiClient,
    pod: &PodRef,
    object: Option<PodObject>,
    status: &str,
    deadline: Deadline,
) -> Result<(), SourceError> {
    edit_status(client, pod, object, |_| Some(status.to_owned()), deadline).await.map(drop)
}

/// Replaces the annotation by what `edit` makes of its current value, and returns what was written: `None` if `edit` returns `None`, or if the
/// pod is gone. After a conflict the pod is read and edited again. `object` is the pod as last read; without it, the pod is read first.
///
/// The write replaces `pods/status`, the only part of a pod that multus may write by upstream's RBAC rules. Every other field of the
/// object goes back as it came.
///
/// # Errors
/// [`SourceError`].
pub async fn edit_status(
    client: &ApiClient,
    pod: &PodRef,
    object: Option<PodObject>,
    edit: impl Fn(Option<&str>) -> Option<String>,
    deadline: Deadline,
) -> Result<Option<String>, SourceError> {
    within(deadline, async |deadline| {
        let mut object = object;
        let mut failures = 0_u32;
        loop {
            let current = match object.take() {
                Some(object) => object,
                None => match get(client, pod, deadline).await {
                    Err(SourceError::PodMissing(_)) => return Ok(None),
                    other => other?,
                },
            };
            // After a conflict the name may be another pod's.
            verified(pod, &current)?;
            let Some(status) = edit(annotation(&current)) else { return Ok(None) };
            let written = annotated(current, &status);
            let error = match client.replace_status(&pod.object(), &written, deadline).await {
                Ok(_) => return Ok(Some(status)),
                Err(ApiError::NotFound { .. }) => return Ok(None),
                Err(error) => error,
            };
            let Some(wait) = wait(&error, failures).filter(|wait| *wait < deadline.remaining()) else {
                return Err(error.into());
            };
            tokio::time::sleep(wait).await;
            failures = failures.saturating_add(1);
        }
    })
    .await
}

/// Writes the annotation by a patch of `pods/status`, without a read: for a caller that knows the UID of the pod's object and has the right to
/// patch, which upstream's RBAC rules do not give. A pod that is gone needs no status.
///
/// # Errors
/// [`ApiError::Conflict`] or [`ApiError::Invalid`] if the pod has another UID; others.
pub async fn patch_status(
    client: &ApiClient,
    pod: &PodRef,
    uid: &PodUid,
    status: &str,
    deadline: Deadline,
) -> Result<(), ApiError> {
    // The UID is a precondition: the API server lets no patch change it.
    let patch = Patch::Merge(json!({"metadata": {"uid": uid, "annotations": {NETWORK_STATUS: status}}}));
    let path = pod.object();
    // A repetition writes the same again.
    let policy = RetryPolicy::new(OnUnknown::Repeat);
    match retry(deadline, policy, || client.patch_status(&path, &patch, deadline)).await {
        Ok(_) | Err(ApiError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The wait before the next attempt; `None` if another attempt cannot succeed.
fn wait(error: &ApiError, failures: u32) -> Option<Duration> {
    if matches!(error, ApiError::Conflict { .. }) {
        return Some(CONFLICT_WAIT.saturating_mul(1 << failures.min(6)));
    }
    // A write without an answer can be repeated: if it succeeded, the resourceVersion makes the repetition a conflict.
    RetryPolicy::new(OnUnknown::Repeat).delay(error, failures, u64::from(failures))
}

/// The annotation's value.
fn annotation(PodObject(object): &PodObject) -> Option<&str> {
    object.pointer("/metadata/annotations")?.get(NETWORK_STATUS)?.as_str()
}

/// The object with the annotation.
fn annotated(PodObject(mut object): PodObject, status: &str) -> Value {
    if let Some(metadata) = object_member(&mut object, "metadata")
        && let Some(Value::Object(annotations)) = object_member(metadata, "annotations")
    {
        annotations.insert(NETWORK_STATUS.to_owned(), status.into());
    }
    object
}

/// The member `key`, which is made an object if it is none. `None` if `parent` is not an object.
fn object_member<'a>(parent: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    let member = parent.as_object_mut()?.entry(key).or_insert(Value::Null);
    if !member.is_object() {
        *member = Value::Object(Map::new());
    }
    Some(member)
}
