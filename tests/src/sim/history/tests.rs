use super::*;

fn pod(name: &str) -> PodId {
    PodId { podref: format!("d/{name}"), uid: format!("uid-{name}") }
}

fn addresses(ip: &str) -> Vec<HeldAddress> {
    let scopes = vec!["p".to_owned(), "shared".to_owned()];
    vec![HeldAddress { scopes, ip: ip.parse().unwrap(), claim: ip.into() }]
}

fn commit(claim: &str, container: Option<&str>) -> Event {
    let owner = |container: &str| ClaimOwner {
        podref: format!("d/{container}"),
        pod_uid: Some(format!("uid-{container}")),
        container: container.into(),
        kind: OwnerKind::Pod,
    };
    Event::ClaimChanged { claim: claim.into(), before: None, after: container.map(owner) }
}

fn attached(container: &str, ip: &str) -> Event {
    Event::AddSucceeded { container: container.into(), pod: pod(container), addresses: addresses(ip) }
}

fn started(container: &str, deadline: u64) -> Event {
    let deadline = Duration::from_secs(deadline);
    Event::AddStarted { container: container.into(), pod: pod(container), deadline }
}

/// Checks a history with one event per second.
fn checked(events: Vec<Event>) -> Result<Counts, Violation> {
    let entries: Vec<Entry> = events
        .into_iter()
        .zip(0..)
        .map(|(event, second)| Entry { at: Duration::from_secs(second), event })
        .collect();
    check(&entries, RunFacts { full_pool: "10.1.0.", min_operations: 0 }).map_err(|failure| failure.violation)
}

#[test]
fn a_released_address_can_be_reused() {
    let (a, b) = (|| "a".to_owned(), || "b".to_owned());
    let counts = checked(vec![
        Event::PodCreated(pod("a")),
        commit("10.0.0.1", Some("a")),
        attached("a", "10.0.0.1"),
        Event::DelStarted { container: a() },
        commit("10.0.0.1", None),
        Event::PodDeleted(pod("a")),
        Event::PodCreated(pod("b")),
        commit("10.0.0.1", Some("b")),
        attached("b", "10.0.0.1"),
        Event::RunEnded,
        Event::ContainerLost { container: b() },
    ]);
    let expected = Counts { adds: 2, dels: 1, lost: 1, commits: 3, ..Counts::default() };
    assert_eq!(counts, Ok(expected));
}

#[test]
fn two_live_attachments_must_not_share_an_address() {
    let ip = "10.0.0.1".parse().unwrap();
    let upstream =
        || Event::UpstreamAttachment { container: "a".into(), pod: pod("a"), scope: "p".into(), ip };
    let adoption = commit("10.0.0.1", Some("a"));
    let result = checked(vec![upstream(), adoption, commit("10.0.0.1", Some("b"))]);
    assert!(matches!(result, Err(Violation::OwnerChanged { .. })), "{result:?}");
    // A second claim, of another name, for the same address: of the same pool, or of another pool that shares addresses.
    for scope in ["p", "shared"] {
        let other = HeldAddress { scopes: vec![scope.into()], ip, claim: "other-name".into() };
        let second = Event::AddSucceeded { container: "b".into(), pod: pod("b"), addresses: vec![other] };
        let first = vec![commit("10.0.0.1", Some("a")), attached("a", "10.0.0.1")];
        let result = checked([first, vec![commit("other-name", Some("b")), second.clone()]].concat());
        assert!(matches!(result, Err(Violation::Duplicate { .. })), "{result:?}");
    }
    let second =
        Event::AddSucceeded { container: "b".into(), pod: pod("b"), addresses: addresses("10.0.0.1") };
    let result = checked(vec![upstream(), commit("10.0.0.1", Some("b")), second]);
    assert!(matches!(result, Err(Violation::Duplicate { .. })), "{result:?}");
}

#[test]
fn the_claim_of_a_live_attachment_must_keep_its_owner() {
    let begin = || vec![commit("10.0.0.1", Some("a")), attached("a", "10.0.0.1")];
    let then = |event: Event| checked([begin(), vec![event]].concat());
    let claim = || "10.0.0.1".to_owned();
    assert_eq!(
        then(commit("10.0.0.1", None)),
        Err(Violation::ClaimDeleted { claim: claim(), container: "a".into() })
    );
    let lost = Violation::OwnerChanged { claim: claim(), container: "a".into(), after: "b".into() };
    assert_eq!(then(commit("10.0.0.1", Some("b"))), Err(lost));
    assert!(then(commit("10.0.0.1", Some("a"))).is_ok());
    let result = checked(vec![attached("a", "10.0.0.1")]);
    assert!(matches!(result, Err(Violation::NotOwner { .. })), "{result:?}");
}

#[test]
fn an_add_must_end_by_its_deadline() {
    let failed = || Event::AddFailed { container: "a".into(), error: String::new() };
    assert!(checked(vec![started("a", 1), failed()]).is_ok());
    let late = Violation::Late { container: "a".into(), late: Duration::from_secs(1) };
    assert_eq!(checked(vec![started("a", 0), failed()]), Err(late));
}

#[test]
fn a_claim_must_not_outlive_its_pod() {
    let leak = Violation::Leaked { claim: "10.0.0.1".into(), podref: "d/a".into() };
    assert_eq!(checked(vec![commit("10.0.0.1", Some("a")), Event::RunEnded]), Err(leak.clone()));
    let namesake = PodId { uid: "another".into(), ..pod("a") };
    let events = vec![Event::PodCreated(namesake), commit("10.0.0.1", Some("a")), Event::RunEnded];
    assert_eq!(checked(events), Err(leak));
}

#[test]
fn a_pod_without_an_address_is_starved() {
    let starved = Violation::Starved { podref: "d/a".into() };
    assert_eq!(checked(vec![Event::PodCreated(pod("a")), Event::RunEnded]), Err(starved));
}

#[test]
fn an_unused_claim_in_the_full_pool_excuses_one_pod() {
    let has_two = |first: &str, second: &str| {
        let pods = vec![Event::PodCreated(pod("z")), commit(first, Some("z"))];
        let owner = ClaimOwner {
            podref: "d/z".into(),
            pod_uid: Some("uid-z".into()),
            container: "after-the-crash".into(),
            kind: OwnerKind::Pod,
        };
        let again = Event::ClaimChanged { claim: second.into(), before: None, after: Some(owner) };
        let attached = Event::AddSucceeded {
            container: "after-the-crash".into(),
            pod: pod("z"),
            addresses: addresses(second),
        };
        [pods, vec![again, attached]].concat()
    };
    let counts = checked(
        [has_two("10.1.0.1", "10.1.0.2"), vec![Event::PodCreated(pod("a")), Event::RunEnded]].concat(),
    )
    .unwrap();
    assert_eq!(counts.unused, 1);
    let two = vec![Event::PodCreated(pod("a")), Event::PodCreated(pod("b")), Event::RunEnded];
    let starved = Violation::Starved { podref: "d/b".into() };
    assert_eq!(checked([has_two("10.1.0.1", "10.1.0.2"), two].concat()), Err(starved));
    let one = vec![Event::PodCreated(pod("a")), Event::RunEnded];
    let starved = Violation::Starved { podref: "d/a".into() };
    let elsewhere = checked([has_two("10.2.0.1", "10.2.0.2"), one].concat());
    assert_eq!(elsewhere, Err(starved), "a pool with spare addresses excuses no pod");
}

#[test]
fn a_run_without_load_proves_nothing() {
    let failure = check(&[], RunFacts { full_pool: "10.1.0.", min_operations: 1 }).unwrap_err();
    assert_eq!(failure.violation, Violation::TooFewOperations { operations: 0 });
}
