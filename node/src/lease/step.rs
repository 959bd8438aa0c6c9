//! What a candidate does next, as a function of the lease and of its own clock.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;

use super::timing::Timing;
use crate::client::ObjectPath;

/// What a candidate does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// There is no lease: create it.
    Create,
    /// Nobody holds the lease: write our name into it.
    Take,
    /// We hold the lease: renew it.
    Renew,
    /// The candidate of this name holds the lease. Without a renewal it expires after so long.
    Follow(String, Duration),
}

/// Decides. `unchanged` is for how long the lease has not changed, by our clock.
pub(super) fn next(lease: Option<&Lease>, me: &str, timing: &Timing, unchanged: Duration) -> Step {
    let Some(lease) = lease else { return Step::Create };
    let Some(holder) = holder(lease) else { return Step::Take };
    if holder == me {
        return Step::Renew;
    }
    // The holder may run with a longer lease than we. Nobody may take over before the longer one has expired.
    let promised = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    let promised = promised.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0);
    let left = timing.lease.max(Duration::from_secs(promised)).saturating_sub(unchanged);
    if left.is_zero() { Step::Take } else { Step::Follow(holder.to_owned(), left) }
}

/// The name of the lease's holder.
pub(super) fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// The lease to write so that we hold it. `wall` is the time of day.
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

/// The lease without a holder. A duration of 1 s frees it for candidates that do not read the holder, as client-go does it.
pub(super) fn released(lease: &Lease) -> Lease {
    let mut lease = lease.clone();
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = Some(String::new());
    spec.lease_duration_seconds = Some(1);
    lease
}

#[cfg(test)]
mod tests;
