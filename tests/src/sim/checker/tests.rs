use super::*;

const END: Event = Event::RunEnded { tombstones: Vec::new() };

/// The interface of a container of this name.
fn of(container: &str) -> Attachment {
    Attachment { container: container.into(), if_name: "net1".into() }
}

fn created(pod: PodId) -> Event {
    Event::PodCreated { pod, interfaces: vec!["net1".into()] }
}

fn del_started(container: &str) -> Event {
    Event::DelStarted { attachment: of(container), deadline: Duration::from_secs(100) }
}

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
        attachment: of(container),
        kind: OwnerKind::Pod,
    };
    Event::ClaimChanged { claim: claim.into(), after: container.map(owner), sender: Sender::Waiting }
}

fn attached(container: &str, ip: &str) -> Event {
    added(container, addresses(ip))
}

fn added(container: &str, addresses: Vec<HeldAddress>) -> Event {
    let keeper = Keeper::Daemon;
    Event::AddSucceeded { attachment: of(container), pod: pod(container), addresses, keeper }
}

fn started(container: &str, deadline: u64) -> Event {
    let deadline = Duration::from_secs(deadline);
    Event::AddStarted { attachment: of(container), deadline, earlier: None }
}

fn starved_pod(name: &str) -> Violation {
    Violation::Starved { podref: format!("d/{name}"), if_name: "net1".into() }
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
    let counts = checked(vec![
        created(pod("a")),
        commit("10.0.0.1", Some("a")),
        attached("a", "10.0.0.1"),
        del_started("a"),
        commit("10.0.0.1", None),
        Event::PodDeleted(pod("a")),
        created(pod("b")),
        commit("10.0.0.1", Some("b")),
        attached("b", "10.0.0.1"),
        END,
        Event::ContainerLost { attachment: of("b") },
    ]);
    let expected = Counts { adds: 2, dels: 1, lost: 1, commits: 3, ..Counts::default() };
    assert_eq!(counts, Ok(expected));
}

#[test]
fn two_live_attachments_must_not_share_an_address() {
    let ip = "10.0.0.1".parse().unwrap();
    let upstream = || {
        let addresses = vec![HeldAddress { scopes: vec!["p".into()], ip, claim: String::new() }];
        Event::UpstreamAttached { attachment: of("a"), pod: pod("a"), addresses }
    };
    let adoption = commit("10.0.0.1", Some("a"));
    let result = checked(vec![upstream(), adoption, commit("10.0.0.1", Some("b"))]);
    assert!(matches!(result, Err(Violation::OwnerChanged { .. })), "{result:?}");
    // A second claim, of another name, for the same address: of the same pool, or of another pool that shares addresses.
    for scope in ["p", "shared"] {
        let other = HeldAddress { scopes: vec![scope.into()], ip, claim: "other-name".into() };
        let second = added("b", vec![other]);
        let first = vec![commit("10.0.0.1", Some("a")), attached("a", "10.0.0.1")];
        let result = checked([first, vec![commit("other-name", Some("b")), second.clone()]].concat());
        assert!(matches!(result, Err(Violation::Duplicate { .. })), "{result:?}");
    }
    let second = attached("b", "10.0.0.1");
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
        Err(Violation::ClaimDeleted { claim: claim(), attachment: of("a") })
    );
    let lost = Violation::OwnerChanged { claim: claim(), attachment: of("a"), after: of("b") };
    assert_eq!(then(commit("10.0.0.1", Some("b"))), Err(lost));
    assert!(then(commit("10.0.0.1", Some("a"))).is_ok());
    let result = checked(vec![attached("a", "10.0.0.1")]);
    assert!(matches!(result, Err(Violation::NotOwner { .. })), "{result:?}");
}

#[test]
fn an_add_must_end_by_its_deadline() {
    let failed = || Event::AddFailed { attachment: of("a"), error: String::new() };
    assert!(checked(vec![started("a", 1), failed()]).is_ok());
    let late = Violation::Late { attachment: of("a"), late: Duration::from_secs(1) };
    assert_eq!(checked(vec![started("a", 0), failed()]), Err(late));
}

#[test]
fn a_claim_must_not_outlive_its_pod() {
    let leak = Violation::Leaked { claim: "10.0.0.1".into(), podref: "d/a".into() };
    assert_eq!(checked(vec![commit("10.0.0.1", Some("a")), END]), Err(leak.clone()));
    let namesake = PodId { uid: "another".into(), ..pod("a") };
    let events = vec![created(namesake), commit("10.0.0.1", Some("a")), END];
    assert_eq!(checked(events), Err(leak));
}

#[test]
fn a_pod_without_an_address_is_starved() {
    let starved = starved_pod("a");
    assert_eq!(checked(vec![created(pod("a")), END]), Err(starved));
}

#[test]
fn an_unused_claim_in_the_full_pool_excuses_one_pod() {
    let has_two = |first: &str, second: &str| {
        let pods = vec![created(pod("z")), commit(first, Some("z"))];
        let owner = ClaimOwner {
            podref: "d/z".into(),
            pod_uid: Some("uid-z".into()),
            attachment: of("after-the-crash"),
            kind: OwnerKind::Pod,
        };
        let sender = Sender::Waiting;
        let again = Event::ClaimChanged { claim: second.into(), after: Some(owner), sender };
        let attached = Event::AddSucceeded {
            attachment: of("after-the-crash"),
            pod: pod("z"),
            addresses: addresses(second),
            keeper: Keeper::Daemon,
        };
        [pods, vec![again, attached]].concat()
    };
    let counts = checked([has_two("10.1.0.1", "10.1.0.2"), vec![created(pod("a")), END]].concat()).unwrap();
    assert_eq!(counts.unused, 1);
    let two = vec![created(pod("a")), created(pod("b")), END];
    let starved = starved_pod("b");
    assert_eq!(checked([has_two("10.1.0.1", "10.1.0.2"), two].concat()), Err(starved));
    let one = vec![created(pod("a")), END];
    let starved = starved_pod("a");
    let elsewhere = checked([has_two("10.2.0.1", "10.2.0.2"), one].concat());
    assert_eq!(elsewhere, Err(starved), "a pool with spare addresses excuses no pod");
}

#[test]
fn a_run_without_load_proves_nothing() {
    let failure = check(&[], RunFacts { full_pool: "10.1.0.", min_operations: 1 }).unwrap_err();
    assert_eq!(failure.violation, Violation::TooFewOperations { operations: 0 });
}

#[test]
fn a_pod_needs_an_address_on_each_interface() {
    let both = Event::PodCreated { pod: pod("a"), interfaces: vec!["net1".into(), "net2".into()] };
    let starved = Violation::Starved { podref: "d/a".into(), if_name: "net2".into() };
    let events = vec![both, commit("10.0.0.1", Some("a")), attached("a", "10.0.0.1"), END];
    assert_eq!(checked(events), Err(starved));
}

#[test]
fn a_claim_must_not_outlive_its_del() {
    let released_before = |last: Vec<Event>| {
        let succeeded = Event::DelSucceeded { attachment: of("a"), by: Releaser::Ours };
        let pod = Event::PodCreated { pod: pod("a"), interfaces: Vec::new() };
        let mut events = vec![pod, commit("10.0.0.1", Some("a")), del_started("a"), succeeded];
        events.extend(last);
        events.push(END);
        checked(events)
    };
    let released = |last: Event| released_before(vec![last]);
    let left = Violation::NotReleased { claim: "10.0.0.1".into(), attachment: of("a") };
    assert_eq!(released(Event::FaultsEnded), Err(left));
    assert!(released(commit("10.0.0.1", None)).is_ok());
    let Event::ClaimChanged { claim, after, .. } = commit("10.0.0.1", Some("a")) else { unreachable!() };
    let late = Event::ClaimChanged { claim, after, sender: Sender::Gone };
    assert!(released(late.clone()).is_ok(), "the create was under way during the DEL");
    let again = |sender: Sender| {
        let Event::ClaimChanged { claim, after, .. } = late.clone() else { unreachable!() };
        released_before(vec![late.clone(), Event::ClaimChanged { claim, after, sender }])
    };
    assert!(again(Sender::ByHand).is_ok(), "somebody annotated the claim");
    assert!(again(Sender::Waiting).is_err(), "a process of ours wrote the claim after the DEL");
    assert!(released(Event::ProcessesKilled).is_ok(), "who wrote it cannot undo it");
    let lost = |attachment| released(Event::TombstonesLost { attachments: vec![attachment] });
    assert!(lost(of("a")).is_ok(), "nobody knows any more that it must be deleted");
    assert!(lost(of("b")).is_err(), "its own tombstone is still there");
}

#[test]
fn a_claim_that_somebody_deleted_must_be_there_again_at_the_end() {
    let then = |last: Event| {
        let deleted = Event::ClaimDeletedByHand { claim: "10.0.0.1".into() };
        let entries = [
            (0, created(pod("a"))),
            (1, commit("10.0.0.1", Some("a"))),
            (2, attached("a", "10.0.0.1")),
            (3, deleted),
            (3, commit("10.0.0.1", None)),
            (4, last),
            (5, END),
        ];
        let entries = entries.map(|(at, event)| Entry { at: Duration::from_secs(at), event });
        check(&entries, RunFacts { full_pool: "10.1.0.", min_operations: 0 })
            .map_err(|failure| failure.violation)
    };
    let free = Violation::Free { attachment: of("a"), claims: 0, addresses: 1 };
    assert_eq!(then(Event::FaultsEnded), Err(free));
    assert!(then(commit("10.0.0.1", Some("a"))).is_ok());
    let other = then(commit("10.0.0.1", Some("b")));
    assert!(matches!(other, Err(Violation::Leaked { .. })), "taken, but its pod is not there: {other:?}");
}

#[test]
fn a_new_sandbox_must_keep_the_address_that_the_earlier_one_still_holds() {
    let kept = |del: Option<Event>, ip: &str| {
        let again = Event::AddStarted {
            attachment: of("b"),
            deadline: Duration::from_secs(100),
            earlier: Some(of("a")),
        };
        let lost = Event::ContainerLost { attachment: of("a") };
        let first = vec![commit("10.0.0.1", Some("a")), attached("a", "10.0.0.1"), lost];
        let second = vec![again, commit(ip, Some("b")), attached("b", ip)];
        checked(first.into_iter().chain(del).chain(second).collect()).map(|counts| counts.kept)
    };
    assert_eq!(kept(None, "10.0.0.1"), Ok(1));
    assert!(matches!(kept(None, "10.0.0.2"), Err(Violation::Moved { .. })));
    assert_eq!(kept(Some(del_started("a")), "10.0.0.2"), Ok(0));
}

/// Somebody deleted the claim during the ADD, and another pod has the address.
#[test]
fn a_new_sandbox_need_not_keep_an_address_that_another_pod_has() {
    let deleted = Event::ClaimDeletedByHand { claim: "10.0.0.1".into() };
    let first = [commit("10.0.0.1", Some("a")), deleted];
    let taken = [commit("10.0.0.1", None), commit("10.0.0.1", Some("c")), attached("a", "10.0.0.1")];
    let lost = Event::ContainerLost { attachment: of("a") };
    let again =
        Event::AddStarted { attachment: of("b"), deadline: Duration::from_secs(100), earlier: Some(of("a")) };
    let second = [lost, again, commit("10.0.0.2", Some("b")), attached("b", "10.0.0.2")];
    let counts = checked(first.into_iter().chain(taken).chain(second).collect());
    assert_eq!(counts.map(|counts| counts.kept), Ok(0));
}

/// Somebody deleted the claim during the ADD, and then that of the pod which got the address.
#[test]
fn who_deletes_two_claims_of_an_address_gives_it_twice() {
    let deleted = || Event::ClaimDeletedByHand { claim: "10.0.0.1".into() };
    let then = |first: Vec<(u64, Event)>| {
        let second = [
            (3, commit("10.0.0.1", Some("b"))),
            (4, attached("b", "10.0.0.1")),
            (5, deleted()),
            (5, commit("10.0.0.1", None)),
            (6, attached("a", "10.0.0.1")),
        ];
        let events = first.into_iter().chain(second);
        let entries: Vec<Entry> =
            events.map(|(at, event)| Entry { at: Duration::from_secs(at), event }).collect();
        check(&entries, RunFacts { full_pool: "10.1.0.", min_operations: 0 })
    };
    let first = [(1, commit("10.0.0.1", Some("a"))), (2, deleted()), (2, commit("10.0.0.1", None))];
    assert!(then(first.into()).is_ok());
    let twice = checked(vec![
        commit("10.0.0.1", Some("b")),
        attached("b", "10.0.0.1"),
        commit("10.0.0.1", Some("a")),
        attached("a", "10.0.0.1"),
    ]);
    assert!(twice.is_err());
}

#[test]
fn a_del_must_succeed_in_time() {
    let failed = Event::DelFailed { attachment: of("a"), error: "no".into() };
    assert!(matches!(checked(vec![del_started("a"), failed]), Err(Violation::DelFailed { .. })));
    let started = Event::DelStarted { attachment: of("a"), deadline: Duration::ZERO };
    let succeeded = Event::DelSucceeded { attachment: of("a"), by: Releaser::Ours };
    assert!(matches!(checked(vec![started, succeeded]), Err(Violation::Late { .. })));
}
