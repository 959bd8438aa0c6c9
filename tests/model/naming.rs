//! How the claims of one pool are named: every order of the steps of three requests on two nodes, while somebody deletes the IPPool, or its
//! annotation, at any time. The nodes remember what they read, for ever. No two requests may hold one address.
//!
//! Our own functions decide which names a request takes (`ClaimNames::of`) and which naming is fixed (`Evidence`). The model adds the API
//! server, the requests' steps as in `claims::allocate` and `claims::naming`, and the pins.

use std::collections::BTreeSet;
use std::net::IpAddr;

use node::names::DnsSubdomain;
use stateright::{Checker, Model, Property};
use whereabouts::conf::OverlappingRanges;
use whereabouts::crd::ip_pool::ClaimNaming;
use whereabouts::pool::claim_names::{ClaimNames, Evidence};

/// The rules that the requests follow. All but the first must lead to a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rules {
    /// Those of our code.
    Intact,
    /// The claims are not listed: the request's setting decides the naming.
    ClaimsNotListed,
    /// The list is made before the object is created, and the create carries the naming.
    ListBeforeCreate,
    /// The patch with the naming does not carry the version.
    PatchWithoutVersion,
    /// A claim counts at once: nobody reads the object again.
    NoSecondRead,
    /// A request looks at the node's pin before it creates its claim.
    PinSeenTooEarly,
    /// A DEL drops the node's pin after it deleted the claim.
    PinDroppedTooLate,
    /// Any claim of the node is a pin, whatever naming it counts under.
    PinOfAnyNaming,
}

/// The naming of a pool, by its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Object {
    version: u8,
    naming: Option<ClaimNaming>,
}

/// Why a request reads the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Purpose {
    /// To know the names of its claims.
    Begin,
    /// To know whether its claims, which were made by this naming, count.
    Count(ClaimNaming),
}

/// What a request does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Waiting,
    Read(Purpose),
    /// Create the object. With the broken rule [`Rules::ListBeforeCreate`], with this naming.
    Make(Purpose, Option<ClaimNaming>),
    List(Purpose, u8),
    Patch(Purpose, u8, ClaimNaming),
    /// Create the claim of the name with this number. The node had a pin before, or not.
    Claim(ClaimNaming, usize, Pinned),
    /// Look at the pin.
    Look(ClaimNaming, Pinned),
    Held(ClaimNaming),
    /// Delete the claims, from the name with this number on.
    Delete(ClaimNaming, usize, Then),
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pinned {
    Yes,
    No,
}

/// What follows when the claims are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Then {
    Retry,
    End,
}

/// A request, and the DEL that follows it.
#[derive(Clone, Copy, Debug)]
struct Request {
    node: usize,
    address: usize,
}

/// Two requests on one node, whose second one may rely on the first one's claim, and one on another node that competes with the second.
const REQUESTS: [Request; 3] =
    [Request { node: 0, address: 0 }, Request { node: 0, address: 1 }, Request { node: 1, address: 1 }];

/// The names of two addresses: 0 and 1 by address, 2 and 3 by pool.
const NAMES: usize = 4;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    object: Option<Object>,
    /// The version of the last write of the object.
    version: u8,
    /// How often somebody may still delete the object or its annotation.
    deletions: u8,
    /// The request that holds each name.
    claims: [Option<usize>; NAMES],
    /// What each node remembers.
    memory: [Option<ClaimNaming>; 2],
    /// A request of each node whose claims count, with the naming.
    pins: [Option<(usize, ClaimNaming)>; 2],
    settings: [OverlappingRanges; REQUESTS.len()],
    phases: [Phase; REQUESTS.len()],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Step(usize),
    /// The DEL of a request that holds its address.
    Del(usize),
    DeleteObject,
    RemoveAnnotation,
    /// The leader creates the object of a pool with claims.
    MakeObject,
}

struct World {
    rules: Rules,
    pool: DnsSubdomain,
    addresses: [IpAddr; 2],
    deletions: u8,
}

impl World {
    fn new(rules: Rules, deletions: u8) -> Self {
        let pool = DnsSubdomain::new("10.0.0.0-24").unwrap();
        World {
            rules,
            pool,
            addresses: ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap()),
            deletions,
        }
    }

    /// The names that a request takes, by the code under test.
    fn names(&self, state: &State, request: usize, naming: ClaimNaming) -> Vec<usize> {
        let overlapping = state.settings[request];
        let (pool, address) = (&self.pool, REQUESTS[request].address);
        let names = ClaimNames { pool, whole: pool, network: None, naming, overlapping };
        let taken = names.of(self.addresses[address]).unwrap();
        let number =
            |name: &DnsSubdomain| address + if name.as_str().starts_with(pool.as_str()) { 2 } else { 0 };
        [Some(&taken.first), taken.second.as_ref()].into_iter().flatten().map(number).collect()
    }

    /// The naming that a request fixes after it listed the claims.
    fn chosen(&self, state: &State, request: usize) -> ClaimNaming {
        let held = |from: usize| {
            let claim = |at: usize| Some((self.addresses[at], state.claims[from + at]?));
            (0..2).filter_map(claim).collect()
        };
        let evidence = match self.rules {
            Rules::ClaimsNotListed => Evidence::default(),
            _ => Evidence { by_address: held(0), by_pool: held(2) },
        };
        evidence.naming(state.settings[request])
    }

    fn pinned(&self, state: &State, node: usize, naming: ClaimNaming) -> Pinned {
        let is_pin =
            |(_, counted): (usize, ClaimNaming)| counted == naming || self.rules == Rules::PinOfAnyNaming;
        if state.pins[node].is_some_and(is_pin) { Pinned::Yes } else { Pinned::No }
    }

    fn step(&self, state: &mut State, at: usize) -> Option<()> {
        let node = REQUESTS[at].node;
        state.phases[at] = match state.phases[at] {
            Phase::Waiting => match state.memory[node] {
                Some(naming) => Phase::Claim(naming, 0, self.pinned(state, node, naming)),
                None => Phase::Read(Purpose::Begin),
            },
            Phase::Read(purpose) => match state.object {
                None if self.rules == Rules::ListBeforeCreate => {
                    Phase::Make(purpose, Some(self.chosen(state, at)))
                }
                None => Phase::Make(purpose, None),
                Some(Object { version, naming: None }) => Phase::List(purpose, version),
                Some(Object { naming: Some(naming), .. }) => self.know(state, at, purpose, naming),
            },
            Phase::Make(purpose, naming) => {
                if state.object.is_none() {
                    state.write(naming);
                }
                Phase::Read(purpose)
            }
            Phase::List(purpose, version) => Phase::Patch(purpose, version, self.chosen(state, at)),
            Phase::Patch(purpose, version, naming) => {
                let is_current =
                    |object: Object| object.version == version || self.rules == Rules::PatchWithoutVersion;
                if state.object.is_some_and(is_current) {
                    state.write(Some(naming));
                    self.know(state, at, purpose, naming)
                } else {
                    Phase::Read(purpose)
                }
            }
            Phase::Claim(naming, number, pinned) => self.claim(state, at, (naming, number), pinned),
            Phase::Look(naming, before) => {
                let pinned = match self.rules {
                    Rules::PinSeenTooEarly => before,
                    _ => self.pinned(state, node, naming),
                };
                match pinned {
                    Pinned::Yes => hold(state, at, naming),
                    Pinned::No if self.rules == Rules::NoSecondRead => hold(state, at, naming),
                    Pinned::No => Phase::Read(Purpose::Count(naming)),
                }
            }
            Phase::Delete(naming, number, then) => self.delete(state, at, (naming, number), then),
            Phase::Held(_) | Phase::Done => return None,
        };
        Some(())
    }

    /// The request has read the naming, or fixed it.
    fn know(&self, state: &mut State, at: usize, purpose: Purpose, naming: ClaimNaming) -> Phase {
        let node = REQUESTS[at].node;
        match purpose {
            Purpose::Begin => {
                state.memory[node] = Some(naming);
                Phase::Claim(naming, 0, self.pinned(state, node, naming))
            }
            Purpose::Count(used) if used == naming => hold(state, at, naming),
            Purpose::Count(used) => {
                state.memory[node] = None;
                Phase::Delete(used, 0, Then::Retry)
            }
        }
    }

    fn claim(
        &self,
        state: &mut State,
        at: usize,
        (naming, number): (ClaimNaming, usize),
        pinned: Pinned,
    ) -> Phase {
        let names = self.names(state, at, naming);
        let claim = &mut state.claims[names[number]];
        if claim.is_some_and(|holder| holder != at) {
            return Phase::Delete(naming, 0, Then::End);
        }
        *claim = Some(at);
        match number + 1 == names.len() {
            true => Phase::Look(naming, pinned),
            false => Phase::Claim(naming, number + 1, pinned),
        }
    }

    fn delete(
        &self,
        state: &mut State,
        at: usize,
        (naming, number): (ClaimNaming, usize),
        then: Then,
    ) -> Phase {
        let names = self.names(state, at, naming);
        let Some(name) = names.get(number) else {
            state.drop_pin(at);
            return if then == Then::Retry { Phase::Waiting } else { Phase::Done };
        };
        if state.claims[*name] == Some(at) {
            state.claims[*name] = None;
        }
        Phase::Delete(naming, number + 1, then)
    }

    fn del(&self, state: &mut State, at: usize) -> Option<()> {
        let Phase::Held(naming) = state.phases[at] else { return None };
        if self.rules != Rules::PinDroppedTooLate {
            state.drop_pin(at);
        }
        state.phases[at] = Phase::Delete(naming, 0, Then::End);
        Some(())
    }
}

/// The claims of a request count. A node that has a pin keeps it.
fn hold(state: &mut State, at: usize, naming: ClaimNaming) -> Phase {
    let pin = &mut state.pins[REQUESTS[at].node];
    if pin.is_none_or(|(_, counted)| counted != naming) {
        *pin = Some((at, naming));
    }
    Phase::Held(naming)
}

impl State {
    fn write(&mut self, naming: Option<ClaimNaming>) {
        self.version += 1;
        self.object = Some(Object { version: self.version, naming });
    }

    fn drop_pin(&mut self, at: usize) {
        let pin = &mut self.pins[REQUESTS[at].node];
        *pin = pin.filter(|(request, _)| *request != at);
    }

    /// The number of requests that hold an address.
    fn holders(&self, address: usize) -> usize {
        let held = self.phases.iter().zip(REQUESTS).filter(|(phase, _)| matches!(phase, Phase::Held(_)));
        held.filter(|(_, request)| request.address == address).count()
    }

    fn disrupt(&mut self) -> Option<()> {
        self.deletions = self.deletions.checked_sub(1)?;
        Some(())
    }
}

impl Model for World {
    type State = State;
    type Action = Event;

    fn init_states(&self) -> Vec<State> {
        let settings = |bits: usize| {
            std::array::from_fn(|at| match bits >> at & 1 {
                0 => OverlappingRanges::Protected,
                _ => OverlappingRanges::Separate,
            })
        };
        let state = |bits| State {
            object: None,
            version: 0,
            deletions: self.deletions,
            claims: [None; NAMES],
            memory: [None; 2],
            pins: [None; 2],
            settings: settings(bits),
            phases: [Phase::Waiting; REQUESTS.len()],
        };
        (0..1 << REQUESTS.len()).map(state).collect()
    }

    fn actions(&self, _: &State, events: &mut Vec<Event>) {
        events.extend((0..REQUESTS.len()).flat_map(|at| [Event::Step(at), Event::Del(at)]));
        events.extend([Event::DeleteObject, Event::RemoveAnnotation, Event::MakeObject]);
    }

    fn next_state(&self, before: &State, event: Event) -> Option<State> {
        let mut state = before.clone();
        match event {
            Event::Step(at) => self.step(&mut state, at)?,
            Event::Del(at) => self.del(&mut state, at)?,
            Event::DeleteObject => {
                state.object.take()?;
                state.disrupt()?;
            }
            Event::RemoveAnnotation => {
                state.object.filter(|object| object.naming.is_some())?;
                state.write(None);
                state.disrupt()?;
            }
            Event::MakeObject => {
                if state.object.is_some() || state.claims.iter().all(Option::is_none) {
                    return None;
                }
                state.write(None);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("two requests hold one address", |_: &World, state: &State| {
                (0..2).all(|address| state.holders(address) <= 1)
            }),
            Property::sometimes("a request begins again", |_: &World, state: &State| {
                state.phases.iter().any(|phase| matches!(phase, Phase::Delete(_, _, Then::Retry)))
            }),
            Property::sometimes("both names are needed", |_: &World, state: &State| {
                state.object.is_some_and(|object| object.naming == Some(ClaimNaming::Both))
            }),
        ]
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn no_order_of_events_gives_an_address_of_a_pool_twice() {
    let checker = World::new(Rules::Intact, 2).checker().threads(threads()).spawn_bfs().join();
    eprintln!("naming: {} states, {} of them unique", checker.state_count(), checker.unique_state_count());
    checker.assert_properties();
    assert!(checker.unique_state_count() > 100_000, "too few states: the model lost events");
}

/// Whether the checker finds an address that is given twice.
fn is_detected(rules: Rules) -> bool {
    let when = stateright::HasDiscoveries::AnyOf(BTreeSet::from(["two requests hold one address"]));
    let checker = World::new(rules, 1).checker().threads(threads()).finish_when(when).spawn_bfs().join();
    checker.discovery("two requests hold one address").is_some()
}

#[test]
fn a_naming_that_is_fixed_without_a_list_is_detected() {
    assert!(is_detected(Rules::ClaimsNotListed));
}

#[test]
fn a_list_before_the_object_exists_is_detected() {
    assert!(is_detected(Rules::ListBeforeCreate));
}

#[test]
fn a_patch_without_the_version_is_detected() {
    assert!(is_detected(Rules::PatchWithoutVersion));
}

#[test]
fn claims_that_count_without_a_second_read_are_detected() {
    assert!(is_detected(Rules::NoSecondRead));
}

#[test]
fn a_pin_that_is_seen_before_the_create_is_detected() {
    assert!(is_detected(Rules::PinSeenTooEarly));
}

#[test]
fn a_pin_that_a_del_drops_too_late_is_detected() {
    assert!(is_detected(Rules::PinDroppedTooLate));
}

#[test]
fn a_pin_of_another_naming_is_detected() {
    assert!(is_detected(Rules::PinOfAnyNaming));
}
