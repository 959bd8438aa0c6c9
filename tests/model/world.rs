//! The state of the world, what can happen in it, and what must never.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use stateright::{Model, Property};
use whereabouts::addr::range::{Allocatable, RangeSpec};
use whereabouts::leader::reclaim_rules::ReclaimCandidate;

use crate::pods::Sandbox;

/// A harm, by name.
pub const HARMS: &[&str] = &[
    "an address has two live pods",
    "a live pod has lost its claim",
    "an address is left with a pod that is gone",
];

/// Which rules hold. All but the first must do harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// As we do it.
    Ours,
    /// Claims are deleted by their name, whatever has become of them.
    DeleteByNameOnly,
    /// A claim is released the first time its pod is not seen.
    OneObservation,
    /// The pod is not asked for before its claim is deleted.
    BelieveTheView,
    /// Claims are written whether there is one or not.
    Overwrite,
    /// Nothing is ever reclaimed.
    NeverRelease,
    /// A plugin may still be at work for a pod whose successor is there.
    OldPluginsGoOn,
}

/// A claim, as the API server has it. Its name is its address. A container writes at most one claim, and that once: so the object's UID
/// is the container that it was made for, and its version the container that it is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// The container that it was made for.
    pub made_for: u8,
    /// The pod's name.
    pub pod: usize,
    /// The pod's UID: its number among those of the name.
    pub pod_uid: u8,
    /// The container.
    pub container: u8,
}

/// All claims.
pub type Claims = BTreeMap<IpAddr, Claim>;

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The API server: claims.
    pub claims: Claims,
    /// The API server: the UID of the pod with each name.
    pub pods: [Option<u8>; 2],
    /// The second pod is a static one: it runs before its object is there.
    pub unannounced: bool,
    /// The nodes: the sandbox of each pod that ever is.
    pub sandboxes: [Sandbox; 3],
    /// The leader.
    pub leader: Leader,
    /// Crashes that may still happen.
    pub crashes: u8,
    /// Looks at a view that is out of date, which may still happen.
    pub stale_looks: u8,
}

/// The leader, and what it knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leader {
    /// The pods as its mirror has them, where it has stopped hearing of them.
    pub stalled: Option<[Option<u8>; 2]>,
    /// TrackedClaims of its last observation, with what they were then.
    pub candidates: Claims,
    /// It observed before the static pod was announced: the next time is a grace time later, and it will be.
    pub waits: bool,
    /// Deletes that are on their way.
    pub deleting: Vec<ReclaimCandidate>,
}

/// Something happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A plugin goes on: the sandbox, and how it looks.
    Plugin(usize, Look),
    /// A plugin's process, or its node, dies.
    Crash(usize),
    /// A container is deleted, with a DEL.
    Del(usize),
    /// The container of a crashed ADD is deleted, with a DEL.
    LateDel(usize),
    /// A node is lost with the sandbox of a pod that is gone: no DEL ever.
    Lose(usize),
    /// A pod's object is removed.
    Remove(usize),
    /// A StatefulSet makes the pod's successor.
    Replace,
    /// The static pod's object appears.
    Announce,
    /// The leader's mirror of the pods hears nothing from now on: a stale look that lasts.
    Stall,
    /// It is told everything again.
    Resume,
    /// The leader looks, a grace time after it last did, and asks for the pods of what is due. (Between the two nothing can happen that
    /// matters: a claim that changes is not deleted, and the later a pod is asked for, the better.)
    Observe,
    /// The API server deletes a claim for the leader.
    Delete(usize),
    /// Another leads from now on. What was on its way stays on its way.
    LeaderCrash,
}

/// How a plugin looks for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It sees every claim.
    Fresh,
    /// It sees none.
    Stale,
}

/// The model.
#[derive(Clone, Debug)]
pub struct World {
    /// Which rules hold.
    pub rules: Rules,
    /// The pool of each pod; both have the same two addresses.
    pub pools: [(RangeSpec, Allocatable); 2],
}

impl World {
    /// A world with these rules.
    pub fn new(rules: Rules) -> Self {
        let pool = |text: &str| {
            let spec = RangeSpec::parse(text, None, None, Vec::new()).unwrap();
            let free = spec.allocatable().unwrap();
            (spec, free)
        };
        World { rules, pools: [pool("10.0.0.0/30"), pool("10.0.0.1-10.0.0.2/24")] }
    }

    /// Whether nothing can happen any more.
    fn is_superseded(&self, state: &State) -> bool {
        let mut events = Vec::new();
        self.actions(state, &mut events);
        events.into_iter().all(|event| self.next_state(state, event).is_none())
    }
}

impl State {
    /// The sandbox's pod is there.
    pub fn is_live(&self, sandbox: &Sandbox) -> bool {
        self.pods[sandbox.pod] == Some(sandbox.pod_uid) || (sandbox.pod == 1 && self.unannounced)
    }

    /// What live pods hold.
    fn held(&self) -> impl Iterator<Item = (IpAddr, &Sandbox)> {
        let live = self.sandboxes.iter().filter(|sandbox| self.is_live(sandbox));
        live.filter_map(|sandbox| Some((sandbox.address()?, sandbox)))
    }
}

impl Model for World {
    type State = State;
    type Action = Event;

    /// Two worlds: a StatefulSet's pod that may get a successor, beside another pod; and a static pod beside another one.
    fn init_states(&self) -> Vec<State> {
        let plain = State {
            claims: Claims::new(),
            pods: [Some(1), Some(1)],
            unannounced: false,
            sandboxes: [Sandbox::new(0, 1), Sandbox::new(0, 2), Sandbox::new(1, 1)],
            leader: Leader::new(),
            crashes: 1,
            stale_looks: 1,
        };
        let mut with_static = State { pods: [Some(1), None], unannounced: true, ..plain.clone() };
        with_static.sandboxes[1].end();
        vec![plain, with_static]
    }

    fn actions(&self, state: &State, events: &mut Vec<Event>) {
        for sandbox in 0..state.sandboxes.len() {
            events.extend([Look::Fresh, Look::Stale].map(|look| Event::Plugin(sandbox, look)));
            events.extend([
                Event::Crash(sandbox),
                Event::Del(sandbox),
                Event::LateDel(sandbox),
                Event::Lose(sandbox),
            ]);
        }
        events.extend([Event::Remove(0), Event::Remove(1), Event::Replace, Event::Announce]);
        events.extend([Event::Stall, Event::Resume, Event::Observe]);
        events.extend((0..state.leader.deleting.len()).map(Event::Delete));
        events.push(Event::LeaderCrash);
    }

    fn next_state(&self, before: &State, event: Event) -> Option<State> {
        let mut state = before.clone();
        match event {
            Event::Plugin(sandbox, look) => self.plugin(&mut state, sandbox, look)?,
            Event::Crash(sandbox) => state.crash(sandbox)?,
            Event::Del(sandbox) => state.del(sandbox)?,
            Event::LateDel(sandbox) => state.late_del(sandbox)?,
            Event::Lose(sandbox) => state.lose(sandbox)?,
            Event::Remove(pod) => state.remove(pod)?,
            Event::Replace => self.replace_pod(&mut state)?,
            Event::Announce => state.announce()?,
            Event::Stall => state.stall()?,
            Event::Resume => state.leader.stalled = None,
            Event::Observe => self.observe(&mut state)?,
            Event::Delete(which) => self.delete(&mut state, which)?,
            Event::LeaderCrash => state.new_leader()?,
        }
        self.forget(&mut state);
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(HARMS[0], |_: &World, state: &State| {
                let mut seen = BTreeSet::new();
                state.held().all(|(address, _)| seen.insert(address))
            }),
            Property::always(HARMS[1], |_: &World, state: &State| {
                state.held().all(|(address, sandbox)| {
                    state.claims.get(&address).is_some_and(|claim| claim.pod == sandbox.pod)
                })
            }),
            Property::always(HARMS[2], |world: &World, state: &State| {
                let left = state.claims.values().any(|claim| state.pods[claim.pod].is_none());
                !left || !world.is_superseded(state)
            }),
            Property::sometimes("the successor has its predecessor's address", |_: &World, state: &State| {
                state.sandboxes[1].address().is_some()
                    && state.sandboxes[0].address() == state.sandboxes[1].address()
            }),
        ]
    }
}
