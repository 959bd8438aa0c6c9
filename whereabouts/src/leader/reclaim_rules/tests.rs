use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    LivePod, Observation, PodIdentity, PodView, ReclaimCandidate, TrackedClaims, Verdict, deletable, observe,
    record_answers, verdict,
};
use crate::crd::cached::CachedReservation;
use crate::crd::packed::{Decimal, Hex};
use crate::crd::reservation::{Reservation, ReservationOwner, ReservationSpec};

const GRACE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn claim(name: &str, podref: &str, pod_uid: Option<&str>) -> Arc<CachedReservation> {
    let spec = ReservationSpec { podref: podref.into(), ifname: "net1".into(), containerid: "c1".into() };
    let range = "10.0.0.0/8".parse().unwrap();
    let mut claim = Reservation::new(
        name,
        ReservationOwner { pool: "10.0.0.0-8", whole: "10.0.0.0-8", range, pod_uid, node: None, spec },
    );
    claim.metadata.uid = Some(format!("o-{name}").replace('.', "-"));
    claim.metadata.resource_version = Some("1".into());
    Arc::new(CachedReservation::from(&claim))
}

fn pod(uid: &str) -> PodIdentity {
    PodIdentity::of(&ObjectMeta { uid: Some(uid.into()), ..ObjectMeta::default() })
}

fn observed(
    claims: &[Arc<CachedReservation>],
    pods: &[(&str, &str)],
    earlier: &TrackedClaims,
    now: u64,
) -> Observation {
    let pods: BTreeMap<&str, PodIdentity> = pods.iter().map(|(name, uid)| (*name, pod(uid))).collect();
    observe(claims, PodView::Complete(&|podref| pods.get(podref)), earlier, at(now), GRACE)
}

fn expired(observation: &Observation) -> Vec<&str> {
    observation.expired.iter().map(|claim| claim.name.as_str()).collect()
}

/// The candidates after one more observation and the API server's answer that each unconfirmed candidate's pod is gone.
fn confirmed(
    claims: &[Arc<CachedReservation>],
    pods: &[(&str, &str)],
    earlier: &TrackedClaims,
    now: u64,
) -> TrackedClaims {
    let Observation { mut candidates, unconfirmed, .. } = observed(claims, pods, earlier, now);
    let answers: Vec<(ReclaimCandidate, LivePod)> =
        unconfirmed.into_iter().map(|claim| (claim, LivePod::Gone)).collect();
    record_answers(&mut candidates, &answers, at(now));
    candidates
}

/// The claim after two observations, the API server's answer, and the grace time, if it is expired then. All observations have these pods.
fn reclaimable(claim: &Arc<CachedReservation>, pods: &[(&str, &str)]) -> Option<ReclaimCandidate> {
    let claims = [claim.clone()];
    let first = observed(&claims, pods, &TrackedClaims::new(), 0);
    observed(&claims, pods, &confirmed(&claims, pods, &first.candidates, 1), 61).expired.pop()
}

#[test]
fn the_grace_time_begins_with_the_api_servers_answer() {
    let claims = [claim("10.0.0.1", "a/b", Some("u1"))];
    let first = observed(&claims, &[], &TrackedClaims::new(), 100);
    assert_eq!((first.candidates.len(), first.unconfirmed.len(), expired(&first)), (1, 0, vec![]));
    let later = observed(&claims, &[], &first.candidates, 900);
    assert_eq!(
        (later.unconfirmed.len(), expired(&later)),
        (1, vec![]),
        "without an answer of the API server no time is long enough"
    );
    let gone = confirmed(&claims, &[], &later.candidates, 1000);
    let soon = observed(&claims, &[], &gone, 1059);
    assert_eq!((soon.unconfirmed.len(), expired(&soon)), (0, vec![]));
    assert_eq!(expired(&observed(&claims, &[], &soon.candidates, 1060)), ["10.0.0.1"]);
}

#[test]
fn a_cache_that_lags_behind_begins_no_grace_time() {
    let claims = [claim("10.0.0.1", "a/b", Some("u1"))];
    let first = observed(&claims, &[], &TrackedClaims::new(), 0);
    let mut second = observed(&claims, &[], &first.candidates, 50);
    let lives = [(second.unconfirmed.remove(0), LivePod::Present(pod("u1")))];
    record_answers(&mut second.candidates, &lives, at(50));
    assert!(second.candidates.is_empty(), "the pod exists");
    let mut third = observed(&claims, &[], &first.candidates, 60);
    record_answers(&mut third.candidates, &[(third.unconfirmed.remove(0), LivePod::Unknown)], at(60));
    let fourth = observed(&claims, &[], &third.candidates, 999);
    assert_eq!((fourth.unconfirmed.len(), expired(&fourth)), (1, vec![]), "the pod is read again");
}

#[test]
fn after_one_unclear_answer_no_grace_time_begins() {
    let claims = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|name| claim(name, "a/b", Some("u1")));
    let first = observed(&claims, &[], &TrackedClaims::new(), 0);
    let Observation { mut candidates, unconfirmed, .. } = observed(&claims, &[], &first.candidates, 1);
    let lives = LivePod::Present(pod("u1"));
    let answers: Vec<(ReclaimCandidate, LivePod)> =
        unconfirmed.into_iter().zip([LivePod::Gone, LivePod::Unknown, lives]).collect();
    record_answers(&mut candidates, &answers, at(1));
    let later = observed(&claims[..2], &[], &candidates, 999);
    assert_eq!((candidates.len(), later.unconfirmed.len(), expired(&later)), (2, 2, vec![]));
}

#[test]
fn one_observation_is_never_enough() {
    let claims = [claim("10.0.0.1", "a/b", Some("u1"))];
    let pods = BTreeMap::<&str, PodIdentity>::new();
    let view = PodView::Complete(&|podref| pods.get(podref));
    let observed = |earlier: &TrackedClaims| observe(&claims, view, earlier, at(9999), Duration::ZERO);
    let first = observed(&TrackedClaims::new());
    assert_eq!((first.unconfirmed.len(), expired(&first)), (0, vec![]));
    let Observation { mut candidates, mut unconfirmed, expired: second } = observed(&first.candidates);
    assert_eq!(second, []);
    record_answers(&mut candidates, &[(unconfirmed.remove(0), LivePod::Gone)], at(9999));
    assert_eq!(expired(&observed(&candidates)), ["10.0.0.1"]);
}

#[test]
fn a_pod_that_appears_in_between_begins_the_rules_again() {
    let claims = [claim("10.0.0.1", "a/b", Some("u1"))];
    let first = observed(&claims, &[], &TrackedClaims::new(), 0);
    let gone = confirmed(&claims, &[], &first.candidates, 1);
    let seen = observed(&claims, &[("a/b", "u1")], &gone, 30);
    assert!(seen.candidates.is_empty());
    let again = observed(&claims, &[], &seen.candidates, 61);
    assert_eq!(expired(&again), Vec::<&str>::new());
    let gone = confirmed(&claims, &[], &again.candidates, 62);
    assert_eq!(expired(&observed(&claims, &[], &gone, 122)), ["10.0.0.1"]);
}

#[test]
fn a_claim_that_changes_in_between_begins_the_rules_again() {
    let old = claim("10.0.0.1", "a/b", Some("u1"));
    let mut taken_over = CachedReservation::clone(&old);
    taken_over.version.1 = Some(Decimal::of("2"));
    let mut made_again = CachedReservation::clone(&old);
    made_again.version.0 = Some(Hex::of("o-other"));
    for changed in [taken_over, made_again].map(|claim| [Arc::new(claim)]) {
        let old = std::slice::from_ref(&old);
        let first = observed(old, &[], &TrackedClaims::new(), 0);
        let gone = confirmed(old, &[], &first.candidates, 1);
        let second = observed(&changed, &[], &gone, 61);
        assert_eq!((second.candidates.len(), second.unconfirmed.len(), expired(&second)), (1, 0, vec![]));
        let gone = confirmed(&changed, &[], &second.candidates, 62);
        assert_eq!(expired(&observed(&changed, &[], &gone, 122)), ["10.0.0.1"]);
    }
}

#[test]
fn an_incomplete_cache_has_no_candidates_and_drops_the_earlier_ones() {
    let claims = [claim("10.0.0.1", "a/b", Some("u1"))];
    let first = observed(&claims, &[], &TrackedClaims::new(), 0);
    let gone = confirmed(&claims, &[], &first.candidates, 1);
    let incomplete = observe(&claims, PodView::Incomplete, &gone, at(61), GRACE);
    assert_eq!(incomplete, Observation::default());
}

#[test]
fn a_claim_whose_pod_exists_is_no_candidate() {
    type Case<'a> = (&'a str, Option<&'a str>, &'a [(&'a str, &'a str)], bool);
    let table: &[Case<'_>] = &[
        // podref, UID in the claim, pods, reclaimable
        ("a/b", Some("u1"), &[("a/b", "u1")], false),
        ("a/b", Some("u1"), &[], true),
        ("a/b", Some("u1"), &[("a/c", "u1"), ("b/b", "u1")], true),
        // The StatefulSet's next pod has the same name.
        ("a/b", Some("u1"), &[("a/b", "u2")], true),
        // Whereabouts writes no UID: any pod with the podref may be the claim's.
        ("a/b", None, &[("a/b", "u2")], false),
        ("a/b", None, &[], true),
        // Reserved by hand, and podrefs that cannot be parsed.
        ("", None, &[], false),
        ("", Some("u1"), &[], false),
        ("b", Some("u1"), &[], false),
        ("a/b/c", Some("u1"), &[], false),
        ("a/../b", Some("u1"), &[], false),
        ("A/b", Some("u1"), &[], false),
        ("/b", Some("u1"), &[], false),
        ("a/", Some("u1"), &[], false),
    ];
    for (podref, uid, pods, expected) in table {
        let found = reclaimable(&claim("10.0.0.1", podref, *uid), pods);
        assert_eq!(found.is_some(), *expected, "{podref:?} {uid:?} {pods:?}");
    }
}

#[test]
fn a_static_pod_is_identified_by_its_uid_on_the_node() {
    let mirror_pod = ObjectMeta {
        uid: Some("api-uid".into()),
        annotations: Some([("kubernetes.io/config.mirror".to_owned(), "hash".to_owned())].into()),
        ..ObjectMeta::default()
    };
    let identity = PodIdentity::of(&mirror_pod);
    assert!(identity.is("hash") && identity.is("api-uid") && !identity.is("older-hash"));
    let claims = [claim("10.0.0.1", "kube-system/proxy-n1", Some("hash"))];
    let view: &dyn Fn(&str) -> Option<&'static PodIdentity> = &|_| None;
    let first = observe(&claims, PodView::Complete(view), &TrackedClaims::new(), at(0), GRACE);
    let second = observe(&claims, PodView::Complete(&|_| Some(&identity)), &first.candidates, at(60), GRACE);
    assert_eq!(second, Observation::default());
}

/// Claims that Whereabouts' tools reclaimed by mistake. None of them is reclaimable.
#[test]
fn claims_that_whereabouts_reclaimed_by_mistake_stay() {
    type Case<'a> = (&'a str, Arc<CachedReservation>, &'a [(&'a str, &'a str)]);
    let table: &[Case<'_>] = &[
        // The form of the claim's name does not matter: a network's prefix, other texts of an IPv6 address.
        ("a claim with a network_name", claim("net-a-10.0.0.1", "a/b", None), &[("a/b", "u1")]),
        ("fd00::0 by name", claim("fd00--0", "a/b", None), &[("a/b", "u1")]),
        ("fd00::1:0:0:1 by name", claim("fd00--1-0-0-1", "a/b", Some("u1")), &[("a/b", "u1")]),
        // The pod's phase and annotations do not matter: it exists.
        ("a pod that is pending", claim("10.0.0.1", "a/b", Some("u1")), &[("a/b", "u1")]),
        // Whether a pool has an allocation for it does not matter.
        ("a claim without a pool's entry", claim("10.9.9.9", "a/b", None), &[("a/b", "u1")]),
    ];
    for (what, claim, pods) in table {
        assert_eq!(reclaimable(claim, pods), None, "{what}");
    }
}

/// Leaked claims that Whereabouts' tools did not reclaim. All are reclaimable.
#[test]
fn claims_that_whereabouts_leaked_are_reclaimed() {
    let table = [
        ("a named network's claim", claim("net-a-10.0.0.1", "a/b", None)),
        ("a slice pool's claim", claim("10.0.0.65", "a/b", Some("u1"))),
        ("IPv6", claim("fd00--1", "a/b", Some("u1"))),
        ("a pod deleted while nobody watched, of a network deleted since", claim("10.0.0.1", "a/b", None)),
    ];
    for (what, claim) in table {
        assert!(reclaimable(&claim, &[]).is_some(), "{what}");
    }
}

#[test]
fn all_claims_of_a_gone_pod_expire_and_no_others() {
    let claims = [
        claim("10.0.0.1", "a/gone", Some("u1")),
        claim("10.0.0.2", "a/gone", Some("u1")),
        claim("10.0.0.3", "a/here", Some("u2")),
    ];
    let pods = [("a/here", "u2")];
    let first = observed(&claims, &pods, &TrackedClaims::new(), 0);
    let gone = confirmed(&claims, &pods, &first.candidates, 1);
    assert_eq!(expired(&observed(&claims, &pods, &gone, 61)), ["10.0.0.1", "10.0.0.2"]);
}

#[test]
fn the_api_servers_answer_decides() {
    let with_uid = reclaimable(&claim("10.0.0.1", "a/b", Some("u1")), &[]).unwrap();
    let without = reclaimable(&claim("10.0.0.1", "a/b", None), &[]).unwrap();
    let table = [
        (&with_uid, LivePod::Gone, Verdict::Delete),
        (&with_uid, LivePod::Present(pod("u1")), Verdict::Keep),
        (&with_uid, LivePod::Present(pod("u2")), Verdict::Delete),
        (&with_uid, LivePod::Unknown, Verdict::Unclear),
        (&without, LivePod::Gone, Verdict::Delete),
        (&without, LivePod::Present(pod("u2")), Verdict::Keep),
        (&without, LivePod::Unknown, Verdict::Unclear),
    ];
    for (claim, live, expected) in table {
        assert_eq!(verdict(claim, &live), expected, "{:?} {live:?}", claim.pod.uid);
    }
}

#[test]
fn after_one_unclear_answer_nothing_is_deleted() {
    let claims =
        ["10.0.0.1", "10.0.0.2"].map(|name| reclaimable(&claim(name, "a/b", Some("u1")), &[]).unwrap());
    let [one, two] = claims;
    let answers = |last: LivePod| vec![(one.clone(), LivePod::Gone), (two.clone(), last)];
    assert_eq!(deletable(answers(LivePod::Gone)).len(), 2);
    assert_eq!(deletable(answers(LivePod::Present(pod("u1")))), std::slice::from_ref(&one));
    assert_eq!(deletable(answers(LivePod::Unknown)), []);
}

#[test]
fn the_deletion_is_for_the_observed_object_only() {
    let candidate = reclaimable(&claim("10.0.0.1", "a/b", Some("u1")), &[]).unwrap();
    let preconditions = candidate.preconditions();
    assert_eq!(preconditions.uid.unwrap().as_str(), "o-10-0-0-1");
    assert_eq!(preconditions.resource_version.as_deref(), Some("1"));
}

/// As a resource driver that runs the plugin for each of its devices, with one name of a pod that never was.
#[test]
fn a_claim_that_belongs_to_its_container_is_reclaimed_only_if_its_pod_was_seen() {
    let owned = || {
        let mut claim = (*claim("10.0.0.1", "a/b", None)).clone();
        claim.owner = crate::crd::cached::OwnerKind::Container;
        [Arc::new(claim)]
    };
    let mut tracked = TrackedClaims::new();
    for now in 0..4 {
        tracked = confirmed(&owned(), &[], &tracked, now);
        assert_eq!(tracked, TrackedClaims::new(), "its pod was never seen");
    }
    // A pod of a runtime that passes no UID: it exists, and then it is gone.
    let seen = observed(&owned(), &[("a/b", "u1")], &tracked, 4).candidates;
    assert!(seen.values().all(|tracked| !tracked.is_candidate()));
    let first = observed(&owned(), &[], &seen, 5);
    assert!(first.unconfirmed.is_empty() && first.candidates.values().all(super::TrackedClaim::is_candidate));
    let gone = confirmed(&owned(), &[], &first.candidates, 6);
    assert_eq!(expired(&observed(&owned(), &[], &gone, 65)), Vec::<&str>::new());
    assert_eq!(expired(&observed(&owned(), &[], &gone, 66)), ["10.0.0.1"]);
}
