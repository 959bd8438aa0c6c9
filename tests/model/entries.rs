//! One address of a pool whose entries are a part of the lock (`PoolLock::ClaimAndEntry`): every order of the steps of three pods, some on
//! nodes of ours and some on nodes with Whereabouts, and of the leader, whose view of the claim and of the entry is late. Each pod may be deleted by
//! either plugin, because its node may have been changed over meanwhile. No two pods may hold the address, and nothing may be left.
//!
//! Our own function decides what the leader does with the entry (`allocation_state`). The model adds the API server, the requests' steps as
//! in `claims::acquire`, `claims::pool_entry` and `claims::release`, and those of Whereabouts.

use std::collections::BTreeSet;

use stateright::{Checker, Model, Property};
use whereabouts::crd::allocation_state::{AllocationState, Remover, allocation_state};
use whereabouts::crd::cached::{CachedAllocation, CachedReservation};
use whereabouts::crd::ip_pool::Allocation;
use whereabouts::crd::reservation::{Reservation, ReservationOwner, ReservationSpec};

const TWICE: &str = "two pods hold the address";
const LEFT: &str = "a claim or an entry is left";

/// The rules that requests and leader follow. All but the first must lead to a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rules {
    /// Those of our code.
    Intact,
    /// A request writes no entry: the leader writes it, and makes claims of Whereabouts' entries.
    ClaimOnly,
    /// A request writes its entry without a test.
    EntryWithoutTest,
    /// The leader removes entries without a look at their pods.
    PodsNotRead,
    /// The leader's write of the object does not carry the version.
    WriteWithoutVersion,
}

/// Whether the definition of IPPool keeps `via`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Definition {
    Ours,
    Whereabouts,
}

/// The pods by number: those on nodes of ours first.
const PODS: usize = 3;

/// The most writes of the object that are looked at: two for each pod, and four of the leader.
const MAX_VERSION: u8 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Entry {
    pod: usize,
    via: Marked,
}

/// Whether an entry has `via`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Marked {
    Yes,
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Waiting,
    /// Whereabouts: writes its entry if the object still has this version.
    Write(u8),
    /// Ours: writes its entry.
    Entry,
    GiveUp,
    Held,
    /// The pod is deleted. Its claim, then its entry.
    DeleteClaim,
    DeleteEntry,
    Gone,
}

/// Who deletes a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum By {
    Us,
    Whereabouts,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    claim: Option<usize>,
    entry: Option<Entry>,
    version: u8,
    /// What the leader has seen of the two.
    seen_claim: Option<usize>,
    seen_entry: Option<Entry>,
    seen_version: u8,
    phases: [Phase; PODS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Step(usize),
    Del(usize, By),
    SeeClaim,
    SeeEntry,
    Lead,
    Reclaim,
}

struct World {
    rules: Rules,
    definition: Definition,
    /// The number of pods on nodes of ours.
    ours: usize,
}

fn spec(pod: usize) -> ReservationSpec {
    ReservationSpec {
        podref: format!("a/p{pod}"),
        ifname: "net1".into(),
        containerid: format!("{pod}").repeat(8),
    }
}

fn cached_claim(pod: usize) -> CachedReservation {
    let (pool, range) = ("10.0.0.0-24", "10.0.0.0/24".parse().unwrap());
    let owner = ReservationOwner { pool, whole: pool, range, pod_uid: None, node: None, spec: spec(pod) };
    CachedReservation::from(&Reservation::new("10.0.0.0-24-10.0.0.1", owner))
}

fn cached_entry(entry: Entry) -> CachedAllocation {
    let ReservationSpec { podref, ifname, containerid: id } = spec(entry.pod);
    let via = (entry.via == Marked::Yes).then(|| format!("claim:{id}"));
    CachedAllocation::from(Allocation { id, podref, ifname, via })
}

impl World {
    fn entry_of_ours(&self, pod: usize) -> Entry {
        let via = if self.definition == Definition::Ours { Marked::Yes } else { Marked::No };
        Entry { pod, via }
    }

    fn step(&self, state: &mut State, pod: usize) -> Option<()> {
        state.phases[pod] = match state.phases[pod] {
            Phase::Waiting if pod >= self.ours => match state.entry {
                None => Phase::Write(state.version),
                Some(_) => Phase::Gone,
            },
            Phase::Write(version) if version == state.version => {
                state.write(Some(Entry { pod, via: Marked::No }));
                Phase::Held
            }
            // The object changed: it reads it again.
            Phase::Write(_) => Phase::Waiting,
            Phase::Waiting => match state.claim {
                None => {
                    state.claim = Some(pod);
                    if self.rules == Rules::ClaimOnly { Phase::Held } else { Phase::Entry }
                }
                Some(_) => Phase::Gone,
            },
            Phase::Entry => match state.entry {
                Some(entry) if entry.pod == pod => Phase::Held,
                Some(_) if self.rules != Rules::EntryWithoutTest => Phase::GiveUp,
                Some(_) | None => {
                    state.write(Some(self.entry_of_ours(pod)));
                    Phase::Held
                }
            },
            Phase::GiveUp => {
                state.release_claim(pod);
                Phase::Gone
            }
            Phase::DeleteClaim => {
                state.release_claim(pod);
                Phase::DeleteEntry
            }
            Phase::DeleteEntry => {
                if state.entry.is_some_and(|entry| entry.pod == pod) {
                    state.write(None);
                }
                Phase::Gone
            }
            Phase::Held | Phase::Gone => return None,
        };
        Some(())
    }

    fn del(state: &mut State, pod: usize, by: By) -> Option<()> {
        if state.phases[pod] != Phase::Held {
            return None;
        }
        // Whereabouts looks for the entry only: with `enable_overlapping_ranges: false` it knows no claims.
        state.phases[pod] = match by {
            By::Us => Phase::DeleteClaim,
            By::Whereabouts => Phase::DeleteEntry,
        };
        Some(())
    }

    /// What the leader does with what it has seen.
    fn lead(&self, state: &mut State) -> Option<()> {
        let claim = state.seen_claim.map(cached_claim);
        let Some(entry) = state.seen_entry else {
            let pod = state.seen_claim?;
            return self.write_by_leader(state, Some(self.entry_of_ours(pod)));
        };
        match allocation_state(&cached_entry(entry), claim.as_ref(), None, Remover::Owner) {
            AllocationState::NeedsClaim => {
                if state.claim.is_some() {
                    return None;
                }
                state.claim = Some(entry.pod);
                Some(())
            }
            AllocationState::Unclaimed | AllocationState::Disputed => {
                if state.phases[entry.pod] != Phase::Gone && self.rules != Rules::PodsNotRead {
                    return None;
                }
                self.write_by_leader(state, state.seen_claim.map(|pod| self.entry_of_ours(pod)))
            }
            AllocationState::InSync | AllocationState::Released | AllocationState::ClaimOutdated => None,
        }
    }

    fn write_by_leader(&self, state: &mut State, entry: Option<Entry>) -> Option<()> {
        if state.seen_version != state.version && self.rules != Rules::WriteWithoutVersion {
            return None;
        }
        state.write(entry);
        (state.seen_entry, state.seen_version) = (state.entry, state.version);
        Some(())
    }

    /// The claim of a pod that is gone, with the entry that Whereabouts wrote for it.
    fn reclaim(state: &mut State) -> Option<()> {
        let pod = state.claim.filter(|pod| state.phases[*pod] == Phase::Gone)?;
        state.claim = None;
        if state.entry.is_some_and(|entry| entry.pod == pod && entry.via == Marked::No) {
            state.write(None);
        }
        Some(())
    }

    /// Whether nothing will happen any more.
    fn is_settled(&self, state: &State) -> bool {
        let has_seen_all = state.seen_claim == state.claim && state.seen_version == state.version;
        let ended = state.phases.iter().all(|phase| *phase == Phase::Gone);
        ended
            && has_seen_all
            && self.lead(&mut state.clone()).is_none()
            && World::reclaim(&mut state.clone()).is_none()
    }
}

impl State {
    fn write(&mut self, entry: Option<Entry>) {
        self.version += 1;
        self.entry = entry;
    }

    fn release_claim(&mut self, pod: usize) {
        self.claim = self.claim.filter(|holder| *holder != pod);
    }
}

impl Model for World {
    type State = State;
    type Action = Event;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            claim: None,
            entry: None,
            version: 0,
            seen_claim: None,
            seen_entry: None,
            seen_version: 0,
            phases: [Phase::Waiting; PODS],
        }]
    }

    fn actions(&self, _: &State, events: &mut Vec<Event>) {
        let pod = |pod| [Event::Step(pod), Event::Del(pod, By::Us), Event::Del(pod, By::Whereabouts)];
        events.extend((0..PODS).flat_map(pod));
        events.extend([Event::SeeClaim, Event::SeeEntry, Event::Lead, Event::Reclaim]);
    }

    fn next_state(&self, before: &State, event: Event) -> Option<State> {
        let mut state = before.clone();
        match event {
            Event::Step(pod) => self.step(&mut state, pod)?,
            Event::Del(pod, by) => World::del(&mut state, pod, by)?,
            Event::SeeClaim => state.seen_claim = state.claim,
            Event::SeeEntry => (state.seen_entry, state.seen_version) = (state.entry, state.version),
            Event::Lead => self.lead(&mut state)?,
            Event::Reclaim => World::reclaim(&mut state)?,
        }
        (state != *before).then_some(state)
    }

    /// A leader whose view stays late may write an entry of a pod that is gone, and reclaim it again, any number of times.
    fn within_boundary(&self, state: &State) -> bool {
        state.version <= MAX_VERSION
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(TWICE, |_: &World, state: &State| {
                state.phases.iter().filter(|phase| **phase == Phase::Held).count() <= 1
            }),
            Property::always(LEFT, |world: &World, state: &State| {
                !world.is_settled(state) || (state.claim.is_none() && state.entry.is_none())
            }),
            Property::sometimes("a request gives way to Whereabouts", |_: &World, state: &State| {
                state.phases.contains(&Phase::GiveUp)
            }),
            Property::sometimes("Whereabouts gives way to a request", |_: &World, state: &State| {
                state
                    .phases
                    .iter()
                    .any(|phase| matches!(phase, Phase::Write(version) if *version != state.version))
            }),
        ]
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn no_order_of_events_gives_an_address_to_a_pod_of_ours_and_one_of_whereabouts() {
    for (definition, ours) in [
        (Definition::Ours, 1),
        (Definition::Ours, 2),
        (Definition::Whereabouts, 1),
        (Definition::Whereabouts, 2),
    ] {
        let world = World { rules: Rules::Intact, definition, ours };
        let checker = world.checker().threads(threads()).spawn_bfs().join();
        eprintln!(
            "entries: {} states, {} of them unique",
            checker.state_count(),
            checker.unique_state_count()
        );
        checker.assert_properties();
        assert!(checker.unique_state_count() > 4_000, "too few states: the model lost events");
    }
}

/// The violations that the checker finds with these rules.
fn violations(rules: Rules) -> BTreeSet<&'static str> {
    let when = stateright::HasDiscoveries::AnyFailures;
    let world = World { rules, definition: Definition::Ours, ours: 1 };
    let checker = world.checker().threads(threads()).finish_when(when).spawn_bfs().join();
    checker.discoveries().into_keys().filter(|name| [TWICE, LEFT].contains(name)).collect()
}

#[test]
fn an_address_without_an_entry_is_detected() {
    assert!(violations(Rules::ClaimOnly).contains(TWICE));
}

#[test]
fn an_entry_that_is_written_without_a_test_is_detected() {
    assert!(violations(Rules::EntryWithoutTest).contains(TWICE));
}

#[test]
fn a_leader_that_removes_entries_of_pods_that_exist_is_detected() {
    assert!(violations(Rules::PodsNotRead).contains(TWICE));
}

#[test]
fn a_write_of_the_leader_without_the_version_is_detected() {
    assert!(violations(Rules::WriteWithoutVersion).contains(TWICE));
}
