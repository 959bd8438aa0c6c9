//! The state, the events that can change it, and the properties that must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use stateright::{Model, Property};
use whereabouts::addr::range::{Allocatable, RangeSpec};
use whereabouts::leader::reclaim_rules::ReclaimCandidate;

use crate::pods::Sandbox;

/// What must never be true. Each text is the name of the property that excludes it.
pub const VIOLATIONS: &[&str] = &[
    "two live pods have the same address",
    "a live pod has lost its claim",
    "a claim stays after its pod is gone",
];

/// The rules that the code follows. All but the first must lead to a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// The rules of our code.
    Intact,
    /// A delete names the claim, without preconditions.
    DeleteByNameOnly,
    /// A claim is released after one observation without its pod.
    OneObservation,
    /// The leader does not read the pod before it deletes the claim.
    NoFinalRead,
    /// The create of a claim overwrites an existing one.
    OverwritingCreates,
    /// The leader releases nothing.
    NeverRelease,
    /// The ADD of a pod may still run when the pod's successor exists.
    OldPluginsContinue,
}

/// A claim at the API server. Its name is its address. Each container writes at most one claim, once. So the container that the claim was
/// created for serves as the object's UID, and the container that it belongs to as its resourceVersion.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// The container that the claim was created for.
    pub created_for: u8,
    /// The index of the pod's name.
    pub pod: usize,
    /// The pod's UID, see [`Sandbox::pod_uid`].
    pub pod_uid: u8,
    /// The container that the claim belongs to.
    pub container: u8,
}

/// All claims, by address.
pub type Claims = BTreeMap<IpAddr, Claim>;

/// The state of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// At the API server: the claims.
    pub claims: Claims,
    /// At the API server: the UID of the pod with each name.
    pub pods: [Option<u8>; 2],
    /// The second pod is a static one, which runs before its object exists.
    pub static_pod_pending: bool,
    /// On the nodes: the sandboxes of all pods, in the order first pod, its successor, second pod.
    pub sandboxes: [Sandbox; 3],
    /// The leader.
    pub leader: Leader,
    /// The crashes that may still happen.
    pub crashes: u8,
    /// The stale reads that may still happen.
    pub stale_reads: u8,
}

/// The leader's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leader {
    /// The pods in the leader's cluster cache, if its watch hangs.
    pub stalled: Option<[Option<u8>; 2]>,
    /// The claims that the leader tracks, as they were at its last observation.
    pub candidates: Claims,
    /// The leader observed while the static pod had no object. Its next observation waits for that object, which appears within the grace
    /// period.
    pub waits_for_static_pod: bool,
    /// Deletes that have not reached the API server yet.
    pub deleting: Vec<ReclaimCandidate>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The next step of a sandbox's plugin, with this view of the claims.
    Plugin(usize, View),
    /// The plugin's process, or its node, dies.
    Crash(usize),
    /// A container is deleted by a DEL.
    Del(usize),
    /// The container of a crashed ADD is deleted by a DEL.
    LateDel(usize),
    /// A node is lost with the sandbox of a pod that is gone. No DEL follows.
    Lose(usize),
    /// A pod's object is deleted.
    Remove(usize),
    /// A StatefulSet creates the pod's successor.
    Replace,
    /// The static pod's object is created.
    CreateStaticPod,
    /// The leader's watch of the pods hangs from here on: a stale read that lasts.
    Stall,
    /// The leader's cache of the pods is current again.
    Resume,
    /// The leader observes, one grace period after the last time, and reads the pods of the expired candidates. One step for both, because
    /// events in between cannot do harm: a claim that changes is not deleted, and a later read of the pod is only safer.
    Observe,
    /// A delete of the leader reaches the API server.
    Delete(usize),
    /// Another process becomes the leader. Pending deletes stay pending.
    LeaderCrash,
}

/// A plugin's view of the claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// All claims.
    Fresh,
    /// None.
    Stale,
}

/// The model.
#[derive(Clone, Debug)]
pub struct World {
    /// The rules of this model.
    pub rules: Rules,
    /// The pool of each pod. Two ranges with the same two addresses.
    pub pools: [(RangeSpec, Allocatable); 2],
}

impl World {
    /// A model with these rules.
    pub fn new(rules: Rules) -> Self {
        let pool = |text: &str| {
            let spec = RangeSpec::parse(text, None, None, Vec::new()).unwrap();
            let free = spec.allocatable().unwrap();
            (spec, free)
        };
        World { rules, pools: [pool("10.0.0.0/30"), pool("10.0.0.1-10.0.0.2/24")] }
    }

    /// Whether no further event can change the state.
    fn is_final(&self, state: &State) -> bool {
        let mut events = Vec::new();
        self.actions(state, &mut events);
        events.into_iter().all(|event| self.next_state(state, event).is_none())
    }
}

impl State {
    /// Whether the sandbox's pod exists.
    pub fn is_live(&self, sandbox: &Sandbox) -> bool {
        self.pods[sandbox.pod] == Some(sandbox.pod_uid) || (sandbox.pod == 1 && self.static_pod_pending)
    }

    /// The addresses that live pods hold.
    fn held_addresses(&self) -> impl Iterator<Item = (IpAddr, &Sandbox)> {
        let live = self.sandboxes.iter().filter(|sandbox| self.is_live(sandbox));
        live.filter_map(|sandbox| Some((sandbox.address()?, sandbox)))
    }
}

impl Model for World {
    type State = State;
    type Action = Event;

    /// Two clusters: a StatefulSet's pod that may get a successor, beside another pod; and a static pod beside another pod.
    fn init_states(&self) -> Vec<State> {
        let plain = State {
            claims: Claims::new(),
            pods: [Some(1), Some(1)],
            static_pod_pending: false,
            sandboxes: [Sandbox::new(0, 1), Sandbox::new(0, 2), Sandbox::new(1, 1)],
            leader: Leader::new(),
            crashes: 1,
            stale_reads: 1,
        };
        let mut with_static = State { pods: [Some(1), None], static_pod_pending: true, ..plain.clone() };
        with_static.sandboxes[1].end();
        vec![plain, with_static]
    }

    fn actions(&self, state: &State, events: &mut Vec<Event>) {
        // Offers every event in every state. `next_state` returns `None` for those that cannot happen.
        for sandbox in 0..state.sandboxes.len() {
            events.extend([View::Fresh, View::Stale].map(|view| Event::Plugin(sandbox, view)));
            events.extend([
                Event::Crash(sandbox),
                Event::Del(sandbox),
                Event::LateDel(sandbox),
                Event::Lose(sandbox),
            ]);
        }
        events.extend([Event::Remove(0), Event::Remove(1), Event::Replace, Event::CreateStaticPod]);
        events.extend([Event::Stall, Event::Resume, Event::Observe]);
        events.extend((0..state.leader.deleting.len()).map(Event::Delete));
        events.push(Event::LeaderCrash);
    }

    fn next_state(&self, before: &State, event: Event) -> Option<State> {
        let mut state = before.clone();
        match event {
            Event::Plugin(sandbox, view) => self.plugin(&mut state, sandbox, view)?,
            Event::Crash(sandbox) => state.crash(sandbox)?,
            Event::Del(sandbox) => state.del(sandbox)?,
            Event::LateDel(sandbox) => state.late_del(sandbox)?,
            Event::Lose(sandbox) => state.lose(sandbox)?,
            Event::Remove(pod) => state.remove(pod)?,
            Event::Replace => self.replace_pod(&mut state)?,
            Event::CreateStaticPod => state.create_static_pod()?,
            Event::Stall => state.stall()?,
            Event::Resume => state.leader.stalled = None,
            Event::Observe => self.observe(&mut state)?,
            Event::Delete(which) => self.delete(&mut state, which)?,
            Event::LeaderCrash => state.replace_leader()?,
        }
        self.forget(&mut state);
        // An event without effect would only add an edge from a state to itself.
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(VIOLATIONS[0], |_: &World, state: &State| {
                let mut seen = BTreeSet::new();
                state.held_addresses().all(|(address, _)| seen.insert(address))
            }),
            Property::always(VIOLATIONS[1], |_: &World, state: &State| {
                state.held_addresses().all(|(address, sandbox)| {
                    state.claims.get(&address).is_some_and(|claim| claim.pod == sandbox.pod)
                })
            }),
            Property::always(VIOLATIONS[2], |world: &World, state: &State| {
                let left = state.claims.values().any(|claim| state.pods[claim.pod].is_none());
                !left || !world.is_final(state)
            }),
            Property::sometimes("the successor has its predecessor's address", |_: &World, state: &State| {
                state.sandboxes[1].address().is_some()
                    && state.sandboxes[0].address() == state.sandboxes[1].address()
            }),
        ]
    }
}
