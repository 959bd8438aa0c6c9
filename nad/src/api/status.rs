//! Writing the network-status annotation of a pod.

use std::time::Duration;

use nad::{NETWORK_STATUS, PodRef};
use node::client::{ApiClient, ApiError, OnUnknown, RetryPolicy};
use node::deadline::Deadline;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::error::SourceError;
use super::pod::{PodObject, get, verified};
use super::within::within;

/// The wait after the first conflict (409). It doubles with each failure, up to 640 ms.
const CONFLICT_WAIT: Duration = Duration::from_millis(10);

/// Writes the annotation. `object` is the pod as last read; without it, the pod is read first. A pod that is gone needs no status.
///
/// The write replaces `pods/status`, the only part of a pod that multus may write by upstream's RBAC rules. Every other field of the
/// object goes back as it came.
pub(crate) async fn write_status(
    client: &ApiClient,
    pod: &PodRef,
    object: Option<PodObject>,
    status: &str,
    deadline: Deadline,
) -> Result<(), SourceError> {
    within(deadline, async |deadline| {
        let mut object = object;
        let mut failures = 0_u32;
        loop {
            let current = match object.take() {
                Some(object) => object,
                None => match get(client, pod, deadline).await {
                    Err(SourceError::PodMissing(_)) => return Ok(()),
                    other => other?,
                },
            };
            // After a conflict the name may be another pod's.
            verified(pod, &current)?;
            let written = annotated(current, status);
            let error = match client.replace_status::<IgnoredAny>(&pod.object(), &written, deadline).await {
                Ok(_) | Err(ApiError::NotFound { .. }) => return Ok(()),
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

/// The wait before the next attempt; `None` if another attempt cannot succeed.
fn wait(error: &ApiError, failures: u32) -> Option<Duration> {
    if matches!(error, ApiError::Conflict { .. }) {
        return Some(CONFLICT_WAIT.saturating_mul(1 << failures.min(6)));
    }
    // A write without an answer can be repeated: if it succeeded, the resourceVersion makes the repetition a conflict.
    RetryPolicy::new(OnUnknown::Repeat).delay(error, failures, u64::from(failures))
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
