use std::sync::Arc;

use serde_json::{Value, json};

use super::{CachedAllocation, CachedObject, CachedPool, CachedReservation, Via};
use crate::crd::interner::Interner;
use crate::crd::ip_pool::ClaimNaming;
use crate::crd::packed::Decimal;
use crate::crd::reservation::{Reservation, ReservationOwner, ReservationSpec};

const DIGEST: &str = "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef";
const UID: &str = "0b5dbf05-7e5c-4e3b-8d0e-0a6a1d5bd0d1";

fn reservation() -> Reservation {
    let spec = ReservationSpec { podref: "a/b".into(), ifname: "net1".into(), containerid: DIGEST.into() };
    let range = "10.0.0.0/8".parse().unwrap();
    let owner = ReservationOwner {
        pool: "10.0.0.0-8",
        whole: "10.0.0.0-8",
        range,
        pod_uid: Some(UID),
        node: Some("n1"),
        spec,
    };
    let mut claim = Reservation::new("10.0.0.1", owner);
    claim.metadata.uid = Some(UID.into());
    claim.metadata.resource_version = Some("4711".into());
    claim
}

fn read(object: Value) -> CachedReservation {
    serde_json::from_value(object).unwrap()
}

#[test]
fn a_claim_parsed_in_part_equals_one_parsed_whole() {
    let whole = reservation();
    let mut object = serde_json::to_value(&whole).unwrap();
    object["metadata"]["managedFields"] = json!([{"manager": "m", "fieldsV1": {"f:spec": {"f:podref": {}}}}]);
    assert_eq!(read(object.clone()), CachedReservation::from(&whole));
    let no_labels: fn(&mut Value) = |object| object["metadata"]["labels"] = Value::Null;
    let changes: [fn(&mut Value); 6] = [
        |object| object["metadata"]["annotations"]["whereabouts.multus-rs/owner"] = json!("container"),
        no_labels,
        |object| object["metadata"]["annotations"] = json!({}),
        |object| object["metadata"]["annotations"] = Value::Null,
        |object| object["spec"] = json!({"podref": "a/b"}),
        |object| object["metadata"] = json!({"name": "x"}),
    ];
    for change in changes {
        let mut object = object.clone();
        change(&mut object);
        let whole: Reservation = serde_json::from_value(object.clone()).unwrap();
        assert_eq!(read(object), CachedReservation::from(&whole));
    }
    assert_eq!(CachedReservation::from(&whole).version.1, Some(Decimal::of("4711")));
}

/// A daemon may cache tens of thousands, and needs only 10 MiB otherwise.
#[test]
fn claims_and_entries_are_small() {
    assert!(size_of::<CachedReservation>() <= 200, "{}", size_of::<CachedReservation>());
    assert!(size_of::<(Decimal, CachedAllocation)>() <= 112, "{}", size_of::<(Decimal, CachedAllocation)>());
}

#[test]
fn equal_texts_are_interned_until_the_last_user_is_gone() {
    let mut interner = Interner::default();
    let [one, other] = [1, 2].map(|_| CachedReservation::from(&reservation()).interned(&mut interner));
    assert!(Arc::ptr_eq(&one.ifname, &other.ifname));
    assert!(Arc::ptr_eq(one.pool.as_ref().unwrap(), other.pool.as_ref().unwrap()));
    drop(one);
    interner.remove_unused();
    assert_eq!(interner.0.len(), 2);
    drop(other);
    interner.remove_unused();
    assert_eq!(interner.0.len(), 0);
}

#[test]
fn allocations_are_found_by_key_and_invalid_keys_have_no_address() {
    let entry = |via: Option<&str>| json!({"id": DIGEST, "podref": "a/b", "ifname": "net1", "via": via});
    let pool = json!({"metadata": {"name": "p", "resourceVersion": "7", "annotations": {"whereabouts.multus-rs/claim-names": "pool"}},
        "spec": {"range": "10.0.0.0/28", "allocations": {"10": entry(None), "9": entry(Some("claim:89abcdef")),
            "2": entry(Some("claim:x")), "99": entry(None), "banana": {}, "-1": {}}}});
    let pool: CachedPool = serde_json::from_value(pool).unwrap();
    assert_eq!((pool.naming, pool.entries().len()), (Some(ClaimNaming::Pool), 6));
    let via = |key: u64| pool.entry(&Decimal::from(key)).map(|entry| entry.via.clone());
    let expected = [Some(Via::Other("claim:x".into())), Some(Via::OfId), Some(Via::Absent), None];
    assert_eq!([2, 9, 10, 11].map(via), expected);
    let addresses: Vec<String> = pool.addresses().map(|(key, ip, _)| format!("{key} {ip}")).collect();
    assert_eq!(addresses, ["2 10.0.0.2", "9 10.0.0.9", "10 10.0.0.10"]);
    assert_eq!(pool.entries()[0].1.spec().containerid, DIGEST);
}

#[test]
fn a_static_pod_has_two_uids() {
    let pod = json!({"metadata": {"name": "b", "namespace": "a", "uid": UID, "annotations": {"kubernetes.io/config.mirror": "hash"}}});
    let pod: CachedObject = serde_json::from_value(pod).unwrap();
    assert_eq!((pod.namespace.as_str(), pod.name.as_str()), ("a", "b"));
    assert!(pod.identity.is(UID) && pod.identity.is("hash") && !pod.identity.is("other"));
}
