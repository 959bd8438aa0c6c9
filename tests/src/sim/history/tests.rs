use super::*;

fn pod(name: &str) -> PodId {
    PodId { podref: format!("d/{name}"), uid: format!("uid-{name}") }
}

fn held(ip: &str) -> Vec<Held> {
    let scopes = vec!["p".to_owned(), "shared".to_owned()];
    vec![Held { scopes, ip: ip.parse().unwrap(), claim: ip.into() }]
}

fn commit(claim: &str, container: Option<&str>) -> Event {
    let owner = |container: &str| Owner {
        podref: format!("d/{container}"),
        pod_uid: Some(format!("uid-{container}")),
        container: container.into(),
    };
    Event::Committed { claim: claim.into(), before: None, after: container.map(owner) }
}

fn attached(container: &str, ip: &str) -> Event {
    Event::Attached { container: container.into(), pod: pod(container), held: held(ip) }
}

fn started(container: &str, deadline: u64) -> Event {
    let deadline = Duration::from_secs(deadline);
    Event::AddStarted { container: container.into(), pod: pod(container), deadline }
}

/// One event a second.
fn judged(events: Vec<Event>) -> Result<Counts, Violation> {
    let entries: Vec<Entry> = events
        .into_iter()
        .zip(0..)
        .map(|(event, second)| Entry { at: Duration::from_secs(second), event })
        .collect();
    judge(&entries, 0).map_err(|verdict| verdict.violation)
}

#[test]
fn an_address_goes_from_one_to_the_next() {
    let (a, b) = (|| "a".to_owned(), || "b".to_owned());
    let counts = judged(vec![
        Event::PodMade(pod("a")),
        commit("10.0.0.1", Some("a")),
        attached("a", "10.0.0.1"),
        Event::DelStarted { container: a() },
        commit("10.0.0.1", None),
        Event::PodGone(pod("a")),
        Event::PodMade(pod("b")),
        commit("10.0.0.1", Some("b")),
        attached("b", "10.0.0.1"),
        Event::Over,
        Event::Died { container: b() },
    ]);
    let expected = Counts { adds: 2, dels: 1, died: 1, commits: 3, ..Counts::default() };
    assert_eq!(counts, Ok(expected));
}

#[test]
fn two_that_live_must_not_share() {
    let ip = "10.0.0.1".parse().unwrap();
    let found = || Event::Found { container: "a".into(), pod: pod("a"), scope: "p".into(), ip };
    let adopted = commit("10.0.0.1", Some("a"));
    let result = judged(vec![found(), adopted, commit("10.0.0.1", Some("b"))]);
    assert!(matches!(result, Err(Violation::LostOwner { .. })), "{result:?}");
    // By a claim of another name: of the same pool, or of another that shares.
    for scope in ["p", "shared"] {
        let other = Held { scopes: vec![scope.into()], ip, claim: "other-name".into() };
        let second = Event::Attached { container: "b".into(), pod: pod("b"), held: vec![other] };
        let first = vec![commit("10.0.0.1", Some("a")), attached("a", "10.0.0.1")];
        let result = judged([first, vec![commit("other-name", Some("b")), second.clone()]].concat());
        assert!(matches!(result, Err(Violation::Duplicate { .. })), "{result:?}");
    }
    let second = Event::Attached { container: "b".into(), pod: pod("b"), held: held("10.0.0.1") };
    let result = judged(vec![found(), commit("10.0.0.1", Some("b")), second]);
    assert!(matches!(result, Err(Violation::Duplicate { .. })), "{result:?}");
}

#[test]
fn a_live_ones_claim_must_stay_its_own() {
    let begin = || vec![commit("10.0.0.1", Some("a")), attached("a", "10.0.0.1")];
    let then = |event: Event| judged([begin(), vec![event]].concat());
    let claim = || "10.0.0.1".to_owned();
    assert_eq!(
        then(commit("10.0.0.1", None)),
        Err(Violation::Released { claim: claim(), container: "a".into() })
    );
    let lost = Violation::LostOwner { claim: claim(), container: "a".into(), after: "b".into() };
    assert_eq!(then(commit("10.0.0.1", Some("b"))), Err(lost));
    assert!(then(commit("10.0.0.1", Some("a"))).is_ok());
    let result = judged(vec![attached("a", "10.0.0.1")]);
    assert!(matches!(result, Err(Violation::NeverHeld { .. })), "{result:?}");
}

#[test]
fn an_add_ends_in_time() {
    let failed = || Event::AddFailed { container: "a".into(), error: String::new() };
    assert!(judged(vec![started("a", 1), failed()]).is_ok());
    let late = Violation::Late { container: "a".into(), late: Duration::from_secs(1) };
    assert_eq!(judged(vec![started("a", 0), failed()]), Err(late));
}

#[test]
fn a_claim_goes_after_its_pod() {
    let leak = Violation::Leak { claim: "10.0.0.1".into(), podref: "d/a".into() };
    assert_eq!(judged(vec![commit("10.0.0.1", Some("a")), Event::Over]), Err(leak.clone()));
    let namesake = PodId { uid: "another".into(), ..pod("a") };
    let events = vec![Event::PodMade(namesake), commit("10.0.0.1", Some("a")), Event::Over];
    assert_eq!(judged(events), Err(leak));
}

#[test]
fn a_pod_without_an_address_starves() {
    let starved = Violation::Starved { podref: "d/a".into() };
    assert_eq!(judged(vec![Event::PodMade(pod("a")), Event::Over]), Err(starved));
}

#[test]
fn an_address_that_a_dead_container_keeps_excuses_one_pod() {
    let has_two = |first: &str, second: &str| {
        let pods = vec![Event::PodMade(pod("z")), commit(first, Some("z"))];
        let owner = Owner {
            podref: "d/z".into(),
            pod_uid: Some("uid-z".into()),
            container: "after-the-crash".into(),
        };
        let again = Event::Committed { claim: second.into(), before: None, after: Some(owner) };
        let attached =
            Event::Attached { container: "after-the-crash".into(), pod: pod("z"), held: held(second) };
        [pods, vec![again, attached]].concat()
    };
    let counts =
        judged([has_two("10.1.0.1", "10.1.0.2"), vec![Event::PodMade(pod("a")), Event::Over]].concat())
            .unwrap();
    assert_eq!(counts.strays, 1);
    let two = vec![Event::PodMade(pod("a")), Event::PodMade(pod("b")), Event::Over];
    let starved = Violation::Starved { podref: "d/b".into() };
    assert_eq!(judged([has_two("10.1.0.1", "10.1.0.2"), two].concat()), Err(starved));
    let one = vec![Event::PodMade(pod("a")), Event::Over];
    let starved = Violation::Starved { podref: "d/a".into() };
    let elsewhere = judged([has_two("10.2.0.1", "10.2.0.2"), one].concat());
    assert_eq!(elsewhere, Err(starved), "a pool with addresses to spare excuses nobody");
}

#[test]
fn a_run_without_load_is_invalid() {
    let verdict = judge(&[], 1).unwrap_err();
    assert_eq!(verdict.violation, Violation::Idle { operations: 0 });
}
