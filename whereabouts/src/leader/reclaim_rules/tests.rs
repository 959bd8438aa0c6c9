use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    LivePod, Observation, PodIdentity, PodView, ReclaimCandidate, TrackedClaims, Verdict, observe,
    record_answers, releases, verdict,
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
    let mut claim =
        Reservation::new(name, ReservationOwner { pool: "10.0.0.0-8", range, pod_uid, node: None, spec });
    claim.metadata.uid = Some(format!("o-{name}").replace('.', "-"));
    claim.metadata.resource_version = Some("1".into());
    Arc::new(CachedReservation::from(&claim))
}

fn pod(uid: &str) -> PodIdentity {
    PodIdentity::of(&ObjectMeta { uid: Some(uid.into()), ..ObjectMeta::default() })
}

fn look(
    claims: &[Arc<CachedReservation>],
    pods: &[(&str, &str)],
    earlier: &TrackedClaims,
    now: u64,
) -> Observation {
    let pods: BTreeMap<&str, PodIdentity> = pods.iter().map(|(name, uid)| (*name, pod(uid))).collect();
    observe(claims, PodView::Complete(&|podref| pods.get(podref)), earlier, at(now), GRACE)
}

fn names(observation: &Observation) -> Vec<&str> {
    observation.due.iter().map(|due| due.name.as_str()).collect()
}

/// Looks once more, and then the API server says of each doubtful claim's pod that it is gone.
fn confirmed(
    claims: &[Arc<CachedReservation>],
    pods: &[(&str, &str)],
    earlier: &TrackedClaims,
    now: u64,
) -> TrackedClaims {
    let Observation { mut candidates, unconfirmed, .. } = look(claims, pods, earlier, now);
    let answers: Vec<(ReclaimCandidate, LivePod)> =
        unconfirmed.into_iter().map(|due| (due, LivePod::Gone)).collect();
    record_answers(&mut candidates, &answers, at(now));
    candidates
}

/// The claim is due a grace time after the API server confirmed what two looks saw, with the given pods there.
fn due(claim: &Arc<CachedReservation>, pods: &[(&str, &str)]) -> Option<ReclaimCandidate> {
    let claims = [claim.clone()];
    let first = look(&claims, pods, &TrackedClaims::new(), 0);
    look(&claims, pods, &confirmed(&claims, pods, &first.candidates, 1), 61).due.pop()
}

#[test]
fn a_claim_is_due_a_grace_time_after_the_api_server_said_that_its_pod_is_gone() {
    let claims = [claim("10.0.0.1", "a/b", Some("u1"))];
    let first = look(&claims, &[], &TrackedClaims::new(), 100);
    assert_eq!((first.candidates.len(), first.unconfirmed.len(), names(&first)), (1, 0, vec![]));
    let later = look(&claims, &[], &first.candidates, 900);
    assert_eq!(
        (later.unconfirmed.len(), names(&later)),
        (1, vec![]),
        "however long it is seen so: nobody was asked"
    );
    let gone = confirmed(&claims, &[], &later.candidates, 1000);
    let soon = look(&claims, &[], &gone, 1059);
    assert_eq!((soon.unconfirmed.len(), names(&soon)), (0, vec![]));
    assert_eq!(names(&look(&claims, &[], &soon.candidates, 1060)), ["10.0.0.1"]);
}

#[test]
fn a_view_that_fell_behind_begins_no_grace_time() {
    let claims = [claim("10.0.0.1", "a/b", Some("u1"))];
    let first = look(&claims, &[], &TrackedClaims::new(), 0);
    let mut second = look(&claims, &[], &first.candidates, 50);
    let lives = [(second.unconfirmed.remove(0), LivePod::Present(pod("u1")))];
    record_answers(&mut second.candidates, &lives, at(50));
    assert!(second.candidates.is_empty(), "it lives");
    let mut third = look(&claims, &[], &first.candidates, 60);
    record_answers(&mut third.candidates, &[(third.unconfirmed.remove(0), LivePod::Unknown)], at(60));
    let fourth = look(&claims, &[], &third.candidates, 999);
    assert_eq!((fourth.unconfirmed.len(), names(&fourth)), (1, vec![]), "asked again");
}

#[test]
fn one_unclear_answer_and_no_grace_time_begins() {
    let claims = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|name| claim(name, "a/b", Some("u1")));
    let first = look(&claims, &[], &TrackedClaims::new(), 0);
    let Observation { mut candidates, unconfirmed, .. } = look(&claims, &[], &first.candidates, 1);
    let lives = LivePod::Present(pod("u1"));
    let answers: Vec<(ReclaimCandidate, LivePod)> =
        unconfirmed.into_iter().zip([LivePod::Gone, LivePod::Unknown, lives]).collect();
    record_answers(&mut candidates, &answers, at(1));
    let later = look(&claims[..2], &[], &candidates, 999);
    assert_eq!((candidates.len(), later.unconfirmed.len(), names(&later)), (2, 2, vec![]));
}

#[test]
fn one_observation_is_never_enough() {
    let claims = [claim("10.0.0.1", "a/b", Some("u1"))];
    let pods = BTreeMap::<&str, PodIdentity>::new();
    let view = PodView::Complete(&|podref| pods.get(podref));
    let look = |earlier: &TrackedClaims| observe(&claims, view, earlier, at(9999), Duration::ZERO);
    let first = look(&TrackedClaims::new());
    assert_eq!((first.unconfirmed.len(), names(&first)), (0, vec![]));
    let Observation { mut candidates, mut unconfirmed, due } = look(&first.candidates);
    assert_eq!(due, []);
    record_answers(&mut candidates, &[(unconfirmed.remove(0), LivePod::Gone)], at(9999));
    assert_eq!(names(&look(&candidates)), ["10.0.0.1"]);
}

#[test]
fn a_pod_that_is_seen_in_between_starts_the_grace_time_anew() {
    let claims = [claim("10.0.0.1", "a/b", Some("u1"))];
    let first = look(&claims, &[], &TrackedClaims::new(), 0);
    let gone = confirmed(&claims, &[], &first.candidates, 1);
    let shared = look(&claims, &[("a/b", "u1")], &gone, 30);
    assert!(shared.candidates.is_empty());
    let again = look(&claims, &[], &shared.candidates, 61);
    assert_eq!(names(&again), Vec::<&str>::new());
    let gone = confirmed(&claims, &[], &again.candidates, 62);
    assert_eq!(names(&look(&claims, &[], &gone, 122)), ["10.0.0.1"]);
}

#[test]
fn a_claim_that_changed_in_between_starts_the_grace_time_anew() {
    let old = claim("10.0.0.1", "a/b", Some("u1"));
    let mut taken_over = CachedReservation::clone(&old);
    taken_over.version.1 = Some(Decimal::of("2"));
    let mut made_again = CachedReservation::clone(&old);
    made_again.version.0 = Some(Hex::of("o-other"));
    for changed in [taken_over, made_again].map(|claim| [Arc::new(claim)]) {
        let old = std::slice::from_ref(&old);
        let first = look(old, &[], &TrackedClaims::new(), 0);
        let gone = confirmed(old, &[], &first.candidates, 1);
        let second = look(&changed, &[], &gone, 61);
        assert_eq!((second.candidates.len(), second.unconfirmed.len(), names(&second)), (1, 0, vec![]));
        let gone = confirmed(&changed, &[], &second.candidates, 62);
        assert_eq!(names(&look(&changed, &[], &gone, 122)), ["10.0.0.1"]);
    }
}

#[test]
fn an_incomplete_view_knows_of_no_absence_and_forgets_what_was_seen() {
    let claims = [claim("10.0.0.1", "a/b", Some("u1"))];
    let first = look(&claims, &[], &TrackedClaims::new(), 0);
    let gone = confirmed(&claims, &[], &first.candidates, 1);
    let blind = observe(&claims, PodView::Incomplete, &gone, at(61), GRACE);
    assert_eq!(blind, Observation::default());
}

#[test]
fn whose_pod_is_there_is_no_candidate() {
    type Case<'a> = (&'a str, Option<&'a str>, &'a [(&'a str, &'a str)], bool);
    let table: &[Case<'_>] = &[
        // podref, UID in the claim, pods, due
        ("a/b", Some("u1"), &[("a/b", "u1")], false),
        ("a/b", Some("u1"), &[], true),
        ("a/b", Some("u1"), &[("a/c", "u1"), ("b/b", "u1")], true),
        // A StatefulSet's next pod of the same name.
        ("a/b", Some("u1"), &[("a/b", "u2")], true),
        // Made by Whereabouts, which notes no UID: any pod of the name may be it.
        ("a/b", None, &[("a/b", "u2")], false),
        ("a/b", None, &[], true),
        // Reserved by hand, and what nobody can read.
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
        let due = due(&claim("10.0.0.1", podref, *uid), pods);
        assert_eq!(due.is_some(), *expected, "{podref:?} {uid:?} {pods:?}");
    }
}

#[test]
fn a_static_pod_is_known_by_the_uid_it_has_on_its_node() {
    let mirror = ObjectMeta {
        uid: Some("api-uid".into()),
        annotations: Some([("kubernetes.io/config.mirror".to_owned(), "hash".to_owned())].into()),
        ..ObjectMeta::default()
    };
    let identity = PodIdentity::of(&mirror);
    assert!(identity.is("hash") && identity.is("api-uid") && !identity.is("older-hash"));
    let claims = [claim("10.0.0.1", "kube-system/proxy-n1", Some("hash"))];
    let view: &dyn Fn(&str) -> Option<&'static PodIdentity> = &|_| None;
    let first = observe(&claims, PodView::Complete(view), &TrackedClaims::new(), at(0), GRACE);
    let shared = observe(&claims, PodView::Complete(&|_| Some(&identity)), &first.candidates, at(60), GRACE);
    assert_eq!(shared, Observation::default());
}

/// Errors that the tools of Whereabouts made, each as claims and pods. None of these claims may be due.
#[test]
fn the_original_tools_errors_are_not_made() {
    type Case<'a> = (&'a str, Arc<CachedReservation>, &'a [(&'a str, &'a str)]);
    let table: &[Case<'_>] = &[
        // The name of the claim says nothing: not with a network's prefix, not an IPv6 text of another form.
        ("a claim with a network_name", claim("net-a-10.0.0.1", "a/b", None), &[("a/b", "u1")]),
        ("fd00::0 by name", claim("fd00--0", "a/b", None), &[("a/b", "u1")]),
        ("fd00::1:0:0:1 by name", claim("fd00--1-0-0-1", "a/b", Some("u1")), &[("a/b", "u1")]),
        // The pod's phase, its annotations and its default network say nothing: that it is there counts.
        ("a pod that is pending", claim("10.0.0.1", "a/b", Some("u1")), &[("a/b", "u1")]),
        // Whether a pool lists it says nothing.
        ("a claim without a pool's entry", claim("10.9.9.9", "a/b", None), &[("a/b", "u1")]),
    ];
    for (what, claim, pods) in table {
        assert_eq!(due(claim, pods), None, "{what}");
    }
}

/// Leaks that the tools of Whereabouts left, each as a claim whose pod is gone. All must be due.
#[test]
fn the_original_tools_leaks_are_found() {
    let table = [
        ("a named network's claim", claim("net-a-10.0.0.1", "a/b", None)),
        ("a slice pool's claim", claim("10.0.0.65", "a/b", Some("u1"))),
        ("IPv6", claim("fd00--1", "a/b", Some("u1"))),
        ("a pod deleted while nobody watched, of a network deleted since", claim("10.0.0.1", "a/b", None)),
    ];
    for (what, claim) in table {
        assert!(due(&claim, &[]).is_some(), "{what}");
    }
}

#[test]
fn every_claim_of_a_gone_pod_is_due_and_no_other() {
    let claims = [
        claim("10.0.0.1", "a/gone", Some("u1")),
        claim("10.0.0.2", "a/gone", Some("u1")),
        claim("10.0.0.3", "a/here", Some("u2")),
    ];
    let pods = [("a/here", "u2")];
    let first = look(&claims, &pods, &TrackedClaims::new(), 0);
    let gone = confirmed(&claims, &pods, &first.candidates, 1);
    assert_eq!(names(&look(&claims, &pods, &gone, 61)), ["10.0.0.1", "10.0.0.2"]);
}

#[test]
fn the_api_server_has_the_last_word() {
    let with_uid = due(&claim("10.0.0.1", "a/b", Some("u1")), &[]).unwrap();
    let without = due(&claim("10.0.0.1", "a/b", None), &[]).unwrap();
    let table = [
        (&with_uid, LivePod::Gone, Verdict::Release),
        (&with_uid, LivePod::Present(pod("u1")), Verdict::Keep),
        (&with_uid, LivePod::Present(pod("u2")), Verdict::Release),
        (&with_uid, LivePod::Unknown, Verdict::Unclear),
        (&without, LivePod::Gone, Verdict::Release),
        (&without, LivePod::Present(pod("u2")), Verdict::Keep),
        (&without, LivePod::Unknown, Verdict::Unclear),
    ];
    for (claim, live, expected) in table {
        assert_eq!(verdict(claim, &live), expected, "{:?} {live:?}", claim.pod_uid);
    }
}

#[test]
fn one_unclear_answer_and_nothing_is_released() {
    let claims = ["10.0.0.1", "10.0.0.2"].map(|name| due(&claim(name, "a/b", Some("u1")), &[]).unwrap());
    let [one, two] = claims;
    let judged = |last: LivePod| vec![(one.clone(), LivePod::Gone), (two.clone(), last)];
    assert_eq!(releases(judged(LivePod::Gone)).len(), 2);
    assert_eq!(releases(judged(LivePod::Present(pod("u1")))), std::slice::from_ref(&one));
    assert_eq!(releases(judged(LivePod::Unknown)), []);
}

#[test]
fn the_delete_is_for_the_very_object_that_was_judged() {
    let due = due(&claim("10.0.0.1", "a/b", Some("u1")), &[]).unwrap();
    let exactly = due.preconditions();
    assert_eq!(exactly.uid.unwrap().as_str(), "o-10-0-0-1");
    assert_eq!(exactly.resource_version.as_deref(), Some("1"));
}
