use std::collections::BTreeMap;

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use nad::PodIdentity;
use serde_json::{Value, json};

use super::{Entries, PoolView, ViaSupport, ViewChange, change, view_of};
use crate::crd::allocation_state::{AllocationState, Remover, allocation_state};
use crate::crd::cached::{CachedAllocation, CachedPool, CachedReservation};
use crate::crd::ip_pool::{Allocation, Counts, MAX_ENTRIES};
use crate::crd::packed::Decimal;
use crate::crd::reservation::{Reservation, ReservationOwner, ReservationSpec};

const ID: &str = "0123456789abcdef";
const NEXT: &str = "fedcba9876543210";

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn claim_of(pool: &str, range: &str, name: &str, podref: &str, container: &str) -> CachedReservation {
    let spec =
        ReservationSpec { podref: podref.into(), ifname: "net1".into(), containerid: container.into() };
    let holding =
        ReservationOwner { pool, whole: pool, range: net(range), pod_uid: Some("u1"), node: None, spec };
    CachedReservation::from(&Reservation::new(name, holding))
}

fn claim(name: &str, podref: &str, container: &str) -> CachedReservation {
    claim_of("10.0.0.0-24", "10.0.0.0/24", name, podref, container)
}

/// A claim that Whereabouts made.
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
fn a_view_shows_each_claim_at_its_offset() {
    let claims =
        [claim("10.0.0.1", "a/b", ID), claim("10.0.0.200", "a/c", NEXT), claim("10.1.0.1", "x/y", ID)];
    let view = view_of("10.0.0.0-24", &net("10.0.0.0/24"), None, &claims);
    assert_eq!(keys(&view), [1, 200]);
    assert_eq!(super::entry(shown(&view)[&1]), entry(ID, "a/b", Some("claim:89abcdef")));
    assert_eq!(view.status, Counts { size: Some(254), used: Some(2), free: Some(252) });
}

#[test]
fn keys_that_whereabouts_cannot_parse_are_counted_and_not_shown() {
    let range = "fd00::/32";
    let claims = ["fd00--7fff-ffff-ffff-ffff", "fd00--8000-0-0-0", "fd00--1"]
        .map(|name| claim_of("fd00---32", range, name, "a/b", ID));
    let view = view_of("fd00---32", &net(range), None, &claims);
    assert_eq!(keys(&view), [1, 9_223_372_036_854_775_807]);
    assert_eq!(view.status, Counts { size: None, used: Some(3), free: None });
}

#[test]
fn above_the_limit_a_view_has_only_counts() {
    let range = "10.0.0.0/16";
    let claims = |count: usize, podref: &str| -> Vec<CachedReservation> {
        let name = |n: usize| format!("10.0.{}.{}", n / 256, n % 256);
        (1..=count).map(|n| claim_of("10.0.0.0-16", range, &name(n), podref, ID)).collect()
    };
    let (fitting, many) = (claims(MAX_ENTRIES, "a/b"), claims(MAX_ENTRIES + 1, "a/b"));
    let full = view_of("10.0.0.0-16", &net(range), None, &fitting);
    assert_eq!(shown(&full).len(), MAX_ENTRIES);
    let more = view_of("10.0.0.0-16", &net(range), None, &many);
    assert_eq!((more.entries, more.status.used), (Entries::TooMany, Some(7001)));
    let long_names = claims(MAX_ENTRIES, &"p".repeat(300));
    let long = view_of("10.0.0.0-16", &net(range), None, &long_names);
    assert_eq!(long.entries, Entries::TooMany, "long names reach the limit of bytes");
}

#[test]
fn an_allocation_tells_who_wrote_it_last() {
    use AllocationState::{ClaimOutdated, Disputed, InSync, NeedsClaim, Released, Unclaimed};
    let upstream = entry(ID, "a/b", None);
    let unnamed = Allocation { ifname: String::new(), ..upstream.clone() };
    let upstream_next = entry(NEXT, "a/b", None);
    let by_hand = entry("", "", None);
    let ours = entry(ID, "a/b", Some("claim:89abcdef"));
    // Whereabouts changed the container of an entry of ours.
    let refreshed = entry(NEXT, "a/b", Some("claim:89abcdef"));
    let (own_claim, successor) = (claim("10.0.0.1", "a/b", ID), claim("10.0.0.1", "a/b", NEXT));
    let third = claim("10.0.0.1", "a/b", "00000000aaaaaaaa");
    let (other_pod, bare) = (claim("10.0.0.1", "x/y", NEXT), bare_claim("a/b"));
    type Case<'a> =
        (&'a str, &'a Allocation, Option<&'a CachedReservation>, Option<&'a str>, [AllocationState; 3]);
    let table: &[Case<'_>] = &[
        // allocation, claim, UID of the present pod; the state if the leader removes it, if the leader saw that its claim was deleted, and
        // if its owner removes it
        ("upstream's, no claim", &upstream, None, Some("u1"), [NeedsClaim, Released, NeedsClaim]),
        ("upstream's, of a gone pod", &upstream, None, None, [NeedsClaim, Released, NeedsClaim]),
        ("upstream's, upstream's claim", &upstream, Some(&bare), Some("u1"), [ClaimOutdated; 3]),
        ("upstream's, adopted", &upstream, Some(&own_claim), Some("u1"), [InSync; 3]),
        ("before 0.8, adopted", &unnamed, Some(&own_claim), Some("u1"), [InSync; 3]),
        ("upstream's, our plugin took the claim over", &upstream, Some(&successor), Some("u1"), [InSync; 3]),
        ("upstream's, for the next pod", &upstream_next, Some(&own_claim), Some("u2"), [ClaimOutdated; 3]),
        (
            "upstream's, another pod has the claim",
            &upstream,
            Some(&other_pod),
            Some("u1"),
            [Disputed, Released, Disputed],
        ),
        ("ours", &ours, Some(&own_claim), Some("u1"), [InSync; 3]),
        ("ours, released", &ours, None, None, [Released, Released, Unclaimed]),
        ("ours, claim taken over since", &ours, Some(&successor), Some("u1"), [InSync; 3]),
        (
            "ours, another pod has the claim",
            &ours,
            Some(&other_pod),
            Some("u1"),
            [Released, Released, Disputed],
        ),
        ("ours, refreshed by upstream", &refreshed, Some(&own_claim), Some("u1"), [ClaimOutdated; 3]),
        (
            "ours, refreshed, then our plugin took the claim over",
            &refreshed,
            Some(&third),
            Some("u1"),
            [InSync; 3],
        ),
        ("ours, refreshed and released", &refreshed, None, Some("u1"), [NeedsClaim, Released, NeedsClaim]),
        ("ours, refreshed, claim updated", &refreshed, Some(&successor), Some("u1"), [InSync; 3]),
        (
            "ours, refreshed, another pod has the claim",
            &refreshed,
            Some(&other_pod),
            None,
            [Disputed, Released, Disputed],
        ),
        ("reserved by hand", &by_hand, None, None, [NeedsClaim, Released, NeedsClaim]),
    ];
    for (what, allocation, claim, present, expected) in table {
        let present = present.map(pod);
        let allocation = CachedAllocation::from((*allocation).clone());
        let states = [Remover::Leader, Remover::LeaderWhoSawTheClaim, Remover::Owner]
            .map(|remover| allocation_state(&allocation, *claim, present.as_ref(), remover));
        assert_eq!(states, *expected, "{what}");
    }
}

/// The change of a pool whose allocations are classified by these claims.
fn change_of(pool: &CachedPool, claims: &[CachedReservation], via_support: ViaSupport) -> Option<ViewChange> {
    change_with(pool, claims, via_support, Remover::Leader)
}

fn change_with(
    pool: &CachedPool,
    claims: &[CachedReservation],
    via_support: ViaSupport,
    remover: Remover,
) -> Option<ViewChange> {
    let range = pool.range.unwrap();
    let state = |key: &Decimal, entry: &CachedAllocation| {
        let claim = claims.iter().find(|claim| *claim.name == format!("10.0.0.{key}"));
        allocation_state(entry, claim, None, remover)
    };
    change(pool, &view_of("10.0.0.0-24", &range, None, claims), via_support, state)
}

/// Applies a merge patch (RFC 7386).
fn apply_merge_patch(target: &mut Value, patch: &Value) {
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
            _ => apply_merge_patch(&mut target[key.as_str()], value),
        }
    }
}

#[test]
fn a_change_makes_the_object_show_the_view_and_keeps_everything_else() {
    let mut object = json!({
        "metadata": {"name": "10.0.0.0-24", "resourceVersion": "7", "labels": {"team": "x"}, "annotations": {"a": "b"}},
        "spec": {"range": "10.0.0.0/24", "future": 1, "allocations": {
            "1": {"id": "old", "podref": "a/b", "ifname": "net1", "via": "claim:old"},
            "2": {"id": "gone", "podref": "a/gone", "ifname": "net1", "via": "claim:gone"},
            "3": {"id": ID, "podref": "a/settled", "ifname": "net1", "via": "claim:89abcdef"},
            "4": {"id": "e", "podref": "a/foreign", "ifname": "net1"},
            "5": {"id": "f", "podref": "a/disputed", "ifname": "net1"},
            "7": {"id": "f", "podref": "a/stale", "ifname": "net1", "via": "claim:f"}}}});
    let claims = [
        claim("10.0.0.1", "a/b", ID),
        claim("10.0.0.3", "a/settled", ID),
        claim("10.0.0.5", "a/claimant", ID),
        claim("10.0.0.6", "a/new", ID),
        claim("10.0.0.7", "a/winner", ID),
    ];
    let pool: CachedPool = serde_json::from_value(object.clone()).unwrap();
    let change = change_of(&pool, &claims, ViaSupport::Kept).unwrap();
    let patch = change.patch("7");
    assert_eq!(patch["metadata"]["resourceVersion"], "7", "the patch is for the version that was read");
    assert_eq!(patch["metadata"]["managedFields"], json!([{}]), "the managedFields are emptied");
    assert_eq!(patch["spec"]["allocations"].get("3"), None, "an entry that is current is not written");
    apply_merge_patch(&mut object, &patch);
    let shown = |podref: &str| json!({"id": ID, "podref": podref, "ifname": "net1", "via": "claim:89abcdef"});
    assert_eq!(
        object["spec"],
        json!({"range": "10.0.0.0/24", "future": 1, "allocations": {
            "1": shown("a/b"), "3": shown("a/settled"), "4": {"id": "e", "podref": "a/foreign", "ifname": "net1"},
            "5": {"id": "f", "podref": "a/disputed", "ifname": "net1"}, "6": shown("a/new"), "7": shown("a/winner")}})
    );
    assert_eq!(
        (&object["metadata"]["labels"]["team"], &object["metadata"]["annotations"]["a"]),
        (&json!("x"), &json!("b"))
    );
    assert_eq!(object["status"], json!({"size": 254, "used": 5, "free": 249}));
}

#[test]
fn the_interface_of_an_older_entry_is_removed() {
    let mut object = json!({"metadata": {"name": "10.0.0.0-24"}, "spec": {"range": "10.0.0.0/24", "allocations":
        {"1": {"id": "x", "podref": "a/b", "ifname": "net9", "via": "claim:x"}}}});
    let mut nameless = claim("10.0.0.1", "a/b", ID);
    nameless.ifname = "".into();
    let pool: CachedPool = serde_json::from_value(object.clone()).unwrap();
    apply_merge_patch(&mut object, &change_of(&pool, &[nameless], ViaSupport::Kept).unwrap().patch("7"));
    assert_eq!(object["spec"]["allocations"]["1"].get("ifname"), None);
}

#[test]
fn the_response_shows_whether_the_definition_keeps_via() {
    let claims = [claim("10.0.0.1", "a/b", ID), claim("10.0.0.2", "a/c", ID)];
    let change = change_of(&pool(json!({})), &claims, ViaSupport::Unknown).unwrap();
    assert_eq!(change.patch("7")["spec"]["allocations"].as_object().unwrap().len(), 2);
    let response = |via: Option<&str>| pool(json!({"1": {"id": ID, "podref": "a/b", "via": via}}));
    for before in [ViaSupport::Unknown, ViaSupport::Kept, ViaSupport::Dropped] {
        assert_eq!(before.after(&change, &response(Some("claim:89abcdef"))), ViaSupport::Kept);
        assert_eq!(before.after(&change, &response(None)), ViaSupport::Dropped);
        assert_eq!(before.after(&ViewChange::default(), &response(None)), before);
    }
}

#[test]
fn if_via_is_dropped_each_claim_has_an_entry_which_is_written_once() {
    let theirs = json!({"id": ID, "podref": "a/b", "ifname": "net1"});
    let before = pool(json!({"1": theirs, "2": {"id": "v", "podref": "x/y"}}));
    let claims = [claim("10.0.0.1", "a/b", ID), claim("10.0.0.2", "a/c", ID), claim("10.0.0.3", "a/d", ID)];
    let change = change_of(&before, &claims, ViaSupport::Dropped).unwrap();
    let patch = change.patch("7");
    let written = json!({"id": ID, "podref": "a/d", "ifname": "net1", "via": "claim:89abcdef"});
    assert_eq!(patch["spec"]["allocations"], json!({"3": written}), "the disputed one stays");
    assert_eq!(patch.get("status"), None, "counts would be written again and again");
    let after = pool(json!({"1": theirs, "3": {"id": ID, "podref": "a/d", "ifname": "net1"}}));
    let claims = [&claims[..1], &claims[2..]].concat();
    assert_eq!(change_of(&after, &claims, ViaSupport::Dropped), None);
    assert!(
        change_of(&after, &claims, ViaSupport::Kept).is_some(),
        "they get via once the definition keeps it"
    );
}

#[test]
fn an_entry_that_its_owner_removes_is_neither_removed_nor_replaced() {
    let ours = json!({"id": "x", "podref": "a/b", "ifname": "net1", "via": "claim:x"});
    let before = pool(json!({"1": ours, "2": ours}));
    let claims = [claim("10.0.0.2", "a/c", ID)];
    let change = |remover| change_with(&before, &claims, ViaSupport::Kept, remover).unwrap().patch("7");
    assert_eq!(change(Remover::Owner).get("spec"), None);
    let by_leader = &change(Remover::Leader)["spec"]["allocations"];
    assert_eq!((&by_leader["1"], &by_leader["2"]["podref"]), (&Value::Null, &json!("a/c")));
}

#[test]
fn a_pool_above_the_limit_is_emptied() {
    let claims: Vec<CachedReservation> =
        (1..=250).map(|n| claim(&format!("10.0.0.{n}"), &"p".repeat(4000), ID)).collect();
    let podref = "p".repeat(4000);
    let before = pool(json!({"1": {"id": ID, "podref": podref, "ifname": "net1", "via": "claim:89abcdef"}}));
    let patch = change_of(&before, &claims, ViaSupport::Kept).unwrap().patch("7");
    assert_eq!((&patch["spec"]["allocations"], &patch["status"]["used"]), (&json!({"1": null}), &json!(250)));
    assert_eq!(patch["metadata"]["annotations"], json!({"whereabouts.multus-rs/entries": "counts-only"}));
    let mut emptied = pool_object(json!({}));
    emptied["metadata"]["annotations"] = json!({"whereabouts.multus-rs/entries": "counts-only"});
    let emptied: CachedPool = serde_json::from_value(emptied).unwrap();
    let patch = change_of(&emptied, &claims[..1], ViaSupport::Kept).unwrap().patch("7");
    assert_eq!(patch["metadata"]["annotations"], json!({"whereabouts.multus-rs/entries": null}));
    assert_eq!(patch["spec"]["allocations"].as_object().unwrap().len(), 1);
}
