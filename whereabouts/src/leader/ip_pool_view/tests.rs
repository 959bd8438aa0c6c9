use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::{Entries, LIMIT, LastWrite, PoolView, ViaSupport, ViewChange, change, due, of};
use crate::crd::allocation_state::{AllocationState, allocation_state};
use crate::crd::cached::{CachedAllocation, CachedPool, CachedReservation};
use crate::crd::ip_pool::{Allocation, Counts};
use crate::crd::packed::Decimal;
use crate::crd::pod::PodIdentity;
use crate::crd::reservation::{Reservation, ReservationOwner, ReservationSpec};
use crate::pool::claim_reader::ClaimNameReader;

const ID: &str = "0123456789abcdef";
const NEXT: &str = "fedcba9876543210";

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn claim_of(pool: &str, range: &str, name: &str, podref: &str, container: &str) -> CachedReservation {
    let spec =
        ReservationSpec { podref: podref.into(), ifname: "net1".into(), containerid: container.into() };
    let holding = ReservationOwner { pool, range: net(range), pod_uid: Some("u1"), node: None, spec };
    CachedReservation::from(&Reservation::new(name, holding))
}

fn claim(name: &str, podref: &str, container: &str) -> CachedReservation {
    claim_of("10.0.0.0-24", "10.0.0.0/24", name, podref, container)
}

/// As Whereabouts makes them.
fn bare_claim(podref: &str) -> CachedReservation {
    let claim = json!({"metadata": {"name": "10.0.0.1"}, "spec": {"podref": podref, "ifname": "net1"}});
    serde_json::from_value(claim).unwrap()
}

fn entry(id: &str, podref: &str, via: Option<&str>) -> Allocation {
    Allocation { id: id.into(), podref: podref.into(), ifname: "net1".into(), via: via.map(str::to_owned) }
}

fn pod(uid: &str) -> PodIdentity {
    PodIdentity::of(&ObjectMeta { uid: Some(uid.into()), ..ObjectMeta::default() })
}

fn shown<'a>(view: &'a PoolView<'a>) -> &'a BTreeMap<u64, &'a CachedReservation> {
    match &view.entries {
        Entries::Shown(entries) => entries,
        Entries::TooMany => panic!("too many"),
    }
}

fn keys(view: &PoolView<'_>) -> Vec<u64> {
    shown(view).keys().copied().collect()
}

fn pool(allocations: Value) -> CachedPool {
    serde_json::from_value(pool_object(allocations)).unwrap()
}

fn pool_object(allocations: Value) -> Value {
    json!({"metadata": {"name": "10.0.0.0-24", "resourceVersion": "7"},
        "spec": {"range": "10.0.0.0/24", "allocations": allocations}})
}

#[test]
fn a_claims_address_is_read_from_its_name() {
    let table = [
        // claim, pool, range, address
        ("10.0.0.5", "10.0.0.0-8", "10.0.0.0/8", Some("10.0.0.5")),
        ("10.0.0.0-8-10.0.0.5", "10.0.0.0-8", "10.0.0.0/8", Some("10.0.0.5")),
        ("net-a-10.0.0.5", "net-a-10.0.0.0-8", "10.0.0.0/8", Some("10.0.0.5")),
        ("net-a-10.0.0.0-8-10.0.0.5", "net-a-10.0.0.0-8", "10.0.0.0/8", Some("10.0.0.5")),
        // Slices: the node is in the pool's name and not in the claim's.
        ("10.0.0.5", "node-1-10.0.0.0-26", "10.0.0.0/26", Some("10.0.0.5")),
        ("net-a-10.0.0.5", "net-a-node-1-10.0.0.0-26", "10.0.0.0/26", Some("10.0.0.5")),
        ("fd00--1", "fd00---8", "fd00::/8", Some("fd00::1")),
        ("net-a-fd00--0", "net-a-fd00---8", "fd00::/8", Some("fd00::")),
        ("a-fd00--1", "a-fd00---8", "fd00::/8", Some("fd00::1")),
        ("0--1", "0---64", "::/64", Some("::1")),
        ("net-a---1", "net-a----64", "::/64", Some("::1")),
        // Another pool's, another network's, nonsense.
        ("10.1.0.5", "10.0.0.0-24", "10.0.0.0/24", None),
        ("net-b-10.0.0.5", "net-a-10.0.0.0-8", "10.0.0.0/8", None),
        ("banana", "10.0.0.0-8", "10.0.0.0/8", None),
        ("", "10.0.0.0-8", "10.0.0.0/8", None),
    ];
    for (name, pool, range, expected) in table {
        let expected = expected.map(|text| text.parse::<IpAddr>().unwrap());
        assert_eq!(ClaimNameReader::of(pool, &net(range)).address(name), expected, "{name} in {pool}");
    }
}

#[test]
fn a_view_shows_each_claim_under_its_offset() {
    let claims =
        [claim("10.0.0.1", "a/b", ID), claim("10.0.0.200", "a/c", NEXT), claim("10.1.0.1", "x/y", ID)];
    let view = of("10.0.0.0-24", &net("10.0.0.0/24"), &claims);
    assert_eq!(keys(&view), [1, 200]);
    assert_eq!(super::entry(shown(&view)[&1]), entry(ID, "a/b", Some("claim:89abcdef")));
    assert_eq!(view.status, Counts { size: Some(254), used: Some(2), free: Some(252) });
}

#[test]
fn keys_past_what_whereabouts_reads_are_counted_and_not_shown() {
    let range = "fd00::/32";
    let claims = ["fd00--7fff-ffff-ffff-ffff", "fd00--8000-0-0-0", "fd00--1"]
        .map(|name| claim_of("fd00---32", range, name, "a/b", ID));
    let view = of("fd00---32", &net(range), &claims);
    assert_eq!(keys(&view), [1, 9_223_372_036_854_775_807]);
    assert_eq!(view.status, Counts { size: None, used: Some(3), free: None });
}

#[test]
fn past_the_limit_the_counts_must_do() {
    let range = "10.0.0.0/16";
    let claims = |count: usize, podref: &str| -> Vec<CachedReservation> {
        let name = |n: usize| format!("10.0.{}.{}", n / 256, n % 256);
        (1..=count).map(|n| claim_of("10.0.0.0-16", range, &name(n), podref, ID)).collect()
    };
    let (fitting, many) = (claims(LIMIT, "a/b"), claims(LIMIT + 1, "a/b"));
    let full = of("10.0.0.0-16", &net(range), &fitting);
    assert_eq!(shown(&full).len(), LIMIT);
    let more = of("10.0.0.0-16", &net(range), &many);
    assert_eq!((more.entries, more.status.used), (Entries::TooMany, Some(7001)));
    let long_names = claims(LIMIT, &"p".repeat(300));
    let long = of("10.0.0.0-16", &net(range), &long_names);
    assert_eq!(long.entries, Entries::TooMany, "names may be long");
}

#[test]
fn an_entry_tells_who_wrote_it_last() {
    let whereabouts_networks = Some("claim:89abcdef");
    let unnamed = Allocation { ifname: String::new(), ..entry(ID, "a/b", None) };
    let (claimed, successor) = (claim("10.0.0.1", "a/b", ID), claim("10.0.0.1", "a/b", NEXT));
    let (others, bare) = (claim("10.0.0.1", "x/y", NEXT), bare_claim("a/b"));
    type Case<'a> = (&'a str, Allocation, Option<&'a CachedReservation>, Option<&'a str>, AllocationState);
    let table: &[Case<'_>] = &[
        ("upstream's, no claim", entry(ID, "a/b", None), None, Some("u1"), AllocationState::NeedsClaim),
        ("upstream's, of a gone pod", entry(ID, "a/b", None), None, None, AllocationState::NeedsClaim),
        (
            "upstream's, upstream's claim",
            entry(ID, "a/b", None),
            Some(&bare),
            Some("u1"),
            AllocationState::ClaimOutdated,
        ),
        ("upstream's, adopted", entry(ID, "a/b", None), Some(&claimed), Some("u1"), AllocationState::InSync),
        ("before 0.8, adopted", unnamed, Some(&claimed), Some("u1"), AllocationState::InSync),
        (
            "adopted, then ours took it over",
            entry(ID, "a/b", None),
            Some(&successor),
            Some("u1"),
            AllocationState::InSync,
        ),
        (
            "upstream's, for the next pod",
            entry(NEXT, "a/b", None),
            Some(&claimed),
            Some("u2"),
            AllocationState::ClaimOutdated,
        ),
        (
            "upstream's, another's address",
            entry(ID, "a/b", None),
            Some(&others),
            Some("u1"),
            AllocationState::Superseded,
        ),
        ("ours", entry(ID, "a/b", whereabouts_networks), Some(&claimed), Some("u1"), AllocationState::InSync),
        ("ours, released", entry(ID, "a/b", whereabouts_networks), None, None, AllocationState::InSync),
        (
            "ours, taken over since",
            entry(ID, "a/b", whereabouts_networks),
            Some(&successor),
            Some("u1"),
            AllocationState::InSync,
        ),
        (
            "ours, another's by now",
            entry(ID, "a/b", whereabouts_networks),
            Some(&others),
            Some("u1"),
            AllocationState::InSync,
        ),
        (
            "ours, refreshed by upstream",
            entry(NEXT, "a/b", whereabouts_networks),
            Some(&claimed),
            Some("u1"),
            AllocationState::ClaimOutdated,
        ),
        (
            "ours, refreshed and released",
            entry(NEXT, "a/b", whereabouts_networks),
            None,
            Some("u1"),
            AllocationState::NeedsClaim,
        ),
        (
            "ours, refreshed, claim knows",
            entry(NEXT, "a/b", whereabouts_networks),
            Some(&successor),
            Some("u1"),
            AllocationState::InSync,
        ),
        (
            "ours, refreshed, another's by now",
            entry(NEXT, "a/b", whereabouts_networks),
            Some(&others),
            None,
            AllocationState::Superseded,
        ),
        ("reserved by hand", entry("", "", None), None, None, AllocationState::NeedsClaim),
    ];
    for (what, entry, claim, present, expected) in table {
        let present = present.map(pod);
        let entry = CachedAllocation::from(entry.clone());
        assert_eq!(allocation_state(&entry, *claim, present.as_ref()), *expected, "{what}");
    }
}

/// What is done to the pool, the entries judged by these claims.
fn change_of(pool: &CachedPool, claims: &[CachedReservation], via_support: ViaSupport) -> Option<ViewChange> {
    let range = pool.range.unwrap();
    let judge = |key: &Decimal, entry: &CachedAllocation| {
        let claim = claims.iter().find(|claim| *claim.name == format!("10.0.0.{key}"));
        allocation_state(entry, claim, None)
    };
    change(pool, &of("10.0.0.0-24", &range, claims), via_support, judge)
}

/// A merge patch, as RFC 7386 has it.
fn merged(target: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in members {
        match value {
            Value::Null => drop(target.as_object_mut().unwrap().remove(key)),
            _ => merged(&mut target[key.as_str()], value),
        }
    }
}

#[test]
fn a_change_makes_the_object_what_the_view_says_and_keeps_all_else() {
    let mut object = json!({
        "metadata": {"name": "10.0.0.0-24", "resourceVersion": "7", "labels": {"team": "x"}, "annotations": {"a": "b"}},
        "spec": {"range": "10.0.0.0/24", "future": 1, "allocations": {
            "1": {"id": "old", "podref": "a/b", "ifname": "net1", "via": "claim:old"},
            "2": {"id": "gone", "podref": "a/gone", "ifname": "net1", "via": "claim:gone"},
            "3": {"id": ID, "podref": "a/settled", "ifname": "net1", "via": "claim:89abcdef"},
            "4": {"id": "e", "podref": "a/foreign", "ifname": "net1"},
            "5": {"id": "f", "podref": "a/void", "ifname": "net1"}}}});
    let claims = [
        claim("10.0.0.1", "a/b", ID),
        claim("10.0.0.3", "a/settled", ID),
        claim("10.0.0.5", "a/winner", ID),
        claim("10.0.0.6", "a/new", ID),
    ];
    let pool: CachedPool = serde_json::from_value(object.clone()).unwrap();
    let change = change_of(&pool, &claims, ViaSupport::Kept).unwrap();
    let patch = change.patch("7");
    assert_eq!(patch["metadata"]["resourceVersion"], "7", "it is for what was read and for nothing later");
    assert_eq!(patch["metadata"]["managedFields"], json!([{}]), "nobody needs to own each entry");
    assert_eq!(patch["spec"]["allocations"].get("3"), None, "what is right is not written");
    merged(&mut object, &patch);
    let whereabouts_networks =
        |podref: &str| json!({"id": ID, "podref": podref, "ifname": "net1", "via": "claim:89abcdef"});
    assert_eq!(
        object["spec"],
        json!({"range": "10.0.0.0/24", "future": 1, "allocations": {
            "1": whereabouts_networks("a/b"), "3": whereabouts_networks("a/settled"), "4": {"id": "e", "podref": "a/foreign", "ifname": "net1"},
            "5": whereabouts_networks("a/winner"), "6": whereabouts_networks("a/new")}})
    );
    assert_eq!(
        (&object["metadata"]["labels"]["team"], &object["metadata"]["annotations"]["a"]),
        (&json!("x"), &json!("b"))
    );
    assert_eq!(object["status"], json!({"size": 254, "used": 4, "free": 250}));
    assert_eq!(
        object["metadata"]["annotations"].get("whereabouts.multus-rs/adopted"),
        None,
        "an entry has no claim yet"
    );
}

#[test]
fn a_pool_whose_entries_all_have_claims_is_adopted() {
    let mut object = pool_object(json!({"1": {"id": ID, "podref": "a/b", "ifname": "net1"}}));
    let before: CachedPool = serde_json::from_value(object.clone()).unwrap();
    let claims = [claim("10.0.0.1", "a/b", ID)];
    let patch = change_of(&before, &claims, ViaSupport::Kept).unwrap().patch("7");
    assert_eq!(patch["metadata"]["annotations"]["whereabouts.multus-rs/adopted"], "true");
    merged(&mut object, &patch);
    let after: CachedPool = serde_json::from_value(object).unwrap();
    assert_eq!(change_of(&after, &claims, ViaSupport::Kept), None, "then nothing is owed");
}

#[test]
fn an_interface_that_a_claim_does_not_name_is_not_left_over() {
    let mut object = json!({"metadata": {"name": "10.0.0.0-24"}, "spec": {"range": "10.0.0.0/24", "allocations":
        {"1": {"id": "x", "podref": "a/b", "ifname": "net9", "via": "claim:x"}}}});
    let mut nameless = claim("10.0.0.1", "a/b", ID);
    nameless.ifname = "".into();
    let pool: CachedPool = serde_json::from_value(object.clone()).unwrap();
    merged(&mut object, &change_of(&pool, &[nameless], ViaSupport::Kept).unwrap().patch("7"));
    assert_eq!(object["spec"]["allocations"]["1"].get("ifname"), None);
}

#[test]
fn the_first_entry_is_written_alone_and_its_answer_decides() {
    let claims = [claim("10.0.0.1", "a/b", ID), claim("10.0.0.2", "a/c", ID)];
    let empty = pool(json!({}));
    let trial = change_of(&empty, &claims, ViaSupport::Unknown).unwrap();
    let patch = trial.patch("7");
    assert_eq!(patch["spec"]["allocations"].as_object().unwrap().len(), 1);
    let answer = |via: Option<&str>| pool(json!({"1": {"id": ID, "podref": "a/b", "via": via}}));
    assert_eq!(ViaSupport::Unknown.after(&trial, &answer(Some("claim:89abcdef"))), ViaSupport::Kept);
    assert_eq!(ViaSupport::Unknown.after(&trial, &answer(None)), ViaSupport::Dropped);
    assert_eq!(trial.undone().patch("8")["spec"]["allocations"], json!({"1": null}));
}

#[test]
fn where_via_is_dropped_upstreams_entries_stay_and_ours_are_not_written() {
    let before =
        pool(json!({"1": {"id": ID, "podref": "a/b", "ifname": "net1"}, "2": {"id": "v", "podref": "x/y"}}));
    let claims = [claim("10.0.0.1", "a/b", ID), claim("10.0.0.2", "a/c", ID), claim("10.0.0.3", "a/d", ID)];
    let change = change_of(&before, &claims, ViaSupport::Dropped).unwrap();
    let patch = change.patch("7");
    assert_eq!(patch["spec"]["allocations"], json!({"2": null}), "an entry whose address is another's goes");
    assert_eq!(patch.get("status"), None, "counts would be dropped again and again");
}

#[test]
fn a_pool_past_the_limit_is_emptied() {
    let claims: Vec<CachedReservation> =
        (1..=250).map(|n| claim(&format!("10.0.0.{n}"), &"p".repeat(4000), ID)).collect();
    let podref = "p".repeat(4000);
    let before = pool(json!({"1": {"id": ID, "podref": podref, "ifname": "net1", "via": "claim:89abcdef"}}));
    let patch = change_of(&before, &claims, ViaSupport::Kept).unwrap().patch("7");
    assert_eq!((&patch["spec"]["allocations"], &patch["status"]["used"]), (&json!({"1": null}), &json!(250)));
}

#[test]
fn small_pools_are_late_by_less_than_a_second_and_large_ones_cost_a_twentieth() {
    let ms = Duration::from_millis;
    let last = |ended, took| Some(LastWrite { ended: ms(ended), took: ms(took) });
    let table = [
        // entries, dirty since, last write, due
        (10, 5_000, None, 5_100),
        (10, 5_000, last(1_000, 90), 5_100),
        (999, 5_000, last(4_990, 90), 5_490),
        (7_000, 5_000, None, 5_100),
        (7_000, 5_000, last(4_000, 500), 13_500),
        (7_000, 60_000, last(4_000, 500), 60_100),
        (1_000, 5_000, last(5_000, 90), 6_710),
    ];
    for (entries, dirty, last, expected) in table {
        assert_eq!(due(entries, ms(dirty), last), ms(expected), "{entries} {dirty} {last:?}");
    }
}
