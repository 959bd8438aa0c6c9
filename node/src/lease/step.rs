//! What a contender does about a lease, as a function of what it read and of its own clock.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;

use super::Timing;
use crate::client::ObjectPath;

/// What a contender does about the lease it read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// There is none: make it.
    Create,
    /// Write our name into it, as the next holder.
    Take,
    /// Say that we still hold it.
    Renew,
    /// This one holds it, for so long at most unless it is renewed.
    Follow(String, Duration),
}

/// Decides. `unchanged` is for how long we know the lease as it stands, by our clock.
pub(super) fn next(lease: Option<&Lease>, me: &str, timing: &Timing, unchanged: Duration) -> Step {
    let Some(lease) = lease else { return Step::Create };
    let Some(holder) = holder(lease) else { return Step::Take };
    if holder == me {
        return Step::Renew;
    }
    // What the holder counts on, if it was told otherwise than we.
    let promised = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    let promised = promised.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0);
    let left = timing.lease.max(Duration::from_secs(promised)).saturating_sub(unchanged);
    if left.is_zero() { Step::Take } else { Step::Follow(holder.to_owned(), left) }
}

/// Who holds the lease.
pub(super) fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// The lease held by us, made or renewed at `wall`.
pub(super) fn written(
    lease: Option<&Lease>,
    me: &str,
    timing: &Timing,
    path: &ObjectPath,
    wall: Timestamp,
) -> Lease {
    let mut lease = lease.cloned().unwrap_or_else(|| Lease {
        metadata: ObjectMeta {
            name: Some(path.name().to_string()),
            namespace: path.collection().namespace().map(ToString::to_string),
            ..Default::default()
        },
        spec: None,
    });
    let old = lease.spec.take().unwrap_or_default();
    let ours = old.holder_identity.as_deref() == Some(me);
    let now = Some(MicroTime(wall));
    let transitions = old.lease_transitions.unwrap_or(0);
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: Some(i32::try_from(timing.lease.as_secs().max(1)).unwrap_or(i32::MAX)),
        acquire_time: if ours { old.acquire_time.or_else(|| now.clone()) } else { now.clone() },
        renew_time: now,
        lease_transitions: Some(if ours || old.holder_identity.is_none() {
            transitions
        } else {
            transitions.saturating_add(1)
        }),
        ..old
    });
    lease
}

/// The lease without a holder, and a short life for those who look at its length only.
pub(super) fn released(lease: &Lease) -> Lease {
    let mut lease = lease.clone();
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = Some(String::new());
    spec.lease_duration_seconds = Some(1);
    lease
}

#[cfg(test)]
mod tests;
