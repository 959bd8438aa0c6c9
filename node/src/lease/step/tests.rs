use std::time::Duration;

use serde_json::{Value, json};

use super::{Lease, Step, Timestamp, Timing, next, released, written};
use crate::client::{ObjectPath, ResourceKind};
use crate::names::{DnsLabel, DnsSubdomain};

const SECOND: Duration = Duration::from_secs(1);

fn lease(spec: Value) -> Lease {
    let metadata = json!({"name": "l", "namespace": "kube-system", "resourceVersion": "7", "uid": "u"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn held(holder: &str, seconds: i32) -> Lease {
    lease(json!({
        "holderIdentity": holder,
        "leaseDurationSeconds": seconds,
        "acquireTime": "2020-01-01T00:00:00.000000Z",
        "renewTime": "2020-01-01T00:00:10.000000Z",
        "leaseTransitions": 3,
    }))
}

fn path() -> ObjectPath {
    ResourceKind::LEASES
        .in_namespace(&DnsLabel::new("kube-system").unwrap())
        .object(&DnsSubdomain::new("l").unwrap())
}

#[test]
fn the_lease_and_the_time_without_a_change_decide() {
    let follow = |name: &str, left: Duration| Step::Follow(name.to_owned(), left);
    let table = [
        ("there is none", None, Duration::ZERO, Step::Create),
        ("nobody ever held it", Some(lease(json!({}))), Duration::ZERO, Step::Take),
        ("it was released", Some(held("", 1)), Duration::ZERO, Step::Take),
        ("it is ours", Some(held("me", 15)), Duration::ZERO, Step::Renew),
        ("it is ours, and old", Some(held("me", 15)), 99 * SECOND, Step::Renew),
        // The times in the lease are years old. Only our clock decides.
        ("just seen", Some(held("you", 15)), Duration::ZERO, follow("you", 15 * SECOND)),
        ("seen a while ago", Some(held("you", 15)), 14 * SECOND, follow("you", SECOND)),
        ("expired", Some(held("you", 15)), 15 * SECOND, Step::Take),
        ("the holder has a longer lease", Some(held("you", 60)), 15 * SECOND, follow("you", 45 * SECOND)),
        ("the holder has a shorter lease", Some(held("you", 5)), 5 * SECOND, follow("you", 10 * SECOND)),
        ("a negative duration", Some(held("you", -1)), 14 * SECOND, follow("you", SECOND)),
    ];
    for (case, lease, unchanged, expected) in table {
        assert_eq!(next(lease.as_ref(), "me", &Timing::default(), unchanged), expected, "{case}");
    }
}

fn now() -> Timestamp {
    "2026-11-25T10:00:00.123456Z".parse().unwrap()
}

fn spec(lease: &Lease) -> Value {
    serde_json::to_value(lease).unwrap()["spec"].clone()
}

#[test]
fn a_new_lease_has_its_name_and_ours_as_holder() {
    let lease = written(None, "me", &Timing::default(), &path(), now());
    assert_eq!(lease.metadata.name.as_deref(), Some("l"));
    assert_eq!(lease.metadata.namespace.as_deref(), Some("kube-system"));
    let expected = json!({
        "acquireTime": "2026-11-25T10:00:00.123456Z",
        "holderIdentity": "me",
        "leaseDurationSeconds": 15,
        "leaseTransitions": 0,
        "renewTime": "2026-11-25T10:00:00.123456Z",
    });
    assert_eq!(spec(&lease), expected);
}

#[test]
fn a_renewal_changes_only_the_renew_time() {
    let old = held("me", 15);
    let mut expected = spec(&old);
    expected["renewTime"] = json!("2026-11-25T10:00:00.123456Z");
    let lease = written(Some(&old), "me", &Timing::default(), &path(), now());
    assert_eq!(spec(&lease), expected);
    assert_eq!(lease.metadata, old.metadata);
}

#[test]
fn a_change_of_holder_increments_the_transitions() {
    for old in [held("you", 15), held("", 1)] {
        let spec = spec(&written(Some(&old), "me", &Timing::default(), &path(), now()));
        assert_eq!((&spec["leaseTransitions"], &spec["holderIdentity"]), (&json!(4), &json!("me")));
        assert_eq!((&spec["acquireTime"], &spec["leaseDurationSeconds"]), (&spec["renewTime"], &json!(15)));
    }
}

#[test]
fn a_released_lease_is_taken_at_once() {
    let lease = released(&held("you", 15));
    assert_eq!(next(Some(&lease), "me", &Timing::default(), Duration::ZERO), Step::Take);
    assert_eq!(lease.metadata.resource_version.as_deref(), Some("7"));
}
