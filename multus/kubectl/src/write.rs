//! What `migrate --apply` and `--back` write: images and one annotation of workloads. Nothing else of this program sends a request that changes
//! anything.

use node::client::{ApiClient, ApiError, ObjectPath, Patch, ResourceKind};
use node::deadline::Deadline;
use node::names::{DnsLabel, DnsSubdomain, NameError};
use serde_json::Value;

use crate::migrate::Kind;

/// DaemonSets.
pub const DAEMON_SETS: ResourceKind = ResourceKind::new("apps", "v1", "daemonsets");

/// Deployments.
pub const DEPLOYMENTS: ResourceKind = ResourceKind::new("apps", "v1", "deployments");

/// CronJobs.
pub const CRON_JOBS: ResourceKind = ResourceKind::new("batch", "v1", "cronjobs");

/// A workload's place at the API server.
///
/// # Errors
/// A name that the API server would not have accepted.
pub fn workload(kind: Kind, namespace: &str, name: &str) -> Result<ObjectPath, NameError> {
    let resource = match kind {
        Kind::DaemonSet => DAEMON_SETS,
        Kind::Deployment => DEPLOYMENTS,
        Kind::CronJob => CRON_JOBS,
    };
    Ok(resource.in_namespace(&DnsLabel::new(namespace)?).object(&DnsSubdomain::new(name)?))
}

/// Applies a JSON patch to an object, once: its tests fail if the object has changed since the plan.
///
/// # Errors
/// [`ApiError::Invalid`] with code 422 if a test fails; others.
pub async fn patch(
    client: &ApiClient,
    object: &ObjectPath,
    patch: Value,
    deadline: Deadline,
) -> Result<(), ApiError> {
    client.patch::<serde::de::IgnoredAny>(object, &Patch::Json(patch), deadline).await.map(drop)
}
