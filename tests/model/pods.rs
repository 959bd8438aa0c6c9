//! Pods, their sandboxes, and the plugin at work for each.

use std::collections::BTreeSet;
use std::net::IpAddr;

use whereabouts::pool::choose;
use whereabouts::pool::choose::{KnownAddresses, Preferences};

use crate::world::{Claim, Look, Rules, State, World};

/// A pod's sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sandbox {
    /// The pod's name.
    pub pod: usize,
    /// The pod's UID.
    pub pod_uid: u8,
    /// The container.
    pub container: u8,
    /// The container of an ADD that crashed, whose DEL is to come.
    undeleted: Option<u8>,
    phase: Phase,
}

/// How far an ADD is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Not begun.
    Waiting,
    /// It looks for another address: these are another's.
    Choosing { lost: BTreeSet<IpAddr> },
    /// It is about to create the claim of an address.
    Creating { address: IpAddr, lost: BTreeSet<IpAddr> },
    /// It has read its pod's earlier claim and is about to replace that version.
    TakingOver { address: IpAddr, version: u8 },
    /// The pod has its address.
    Held(IpAddr),
    /// It is over.
    Deleted,
}

impl Sandbox {
    /// Before its ADD. Containers have different names.
    pub fn new(pod: usize, pod_uid: u8) -> Self {
        let container = u8::try_from(pod).unwrap() * 100 + pod_uid * 10;
        Sandbox { pod, pod_uid, container, undeleted: None, phase: Phase::Waiting }
    }

    /// What its pod was given.
    pub fn address(&self) -> Option<IpAddr> {
        if let Phase::Held(address) = self.phase { Some(address) } else { None }
    }

    /// It is over, or never is to be.
    pub fn end(&mut self) {
        (self.container, self.phase) = (0, Phase::Deleted);
    }

    fn is_at_work(&self) -> bool {
        matches!(self.phase, Phase::Choosing { .. } | Phase::Creating { .. } | Phase::TakingOver { .. })
    }
}

impl World {
    /// The plugin's next step.
    pub fn plugin(&self, state: &mut State, at: usize, look: Look) -> Option<()> {
        let sandbox = state.sandboxes[at].clone();
        let looks = matches!(sandbox.phase, Phase::Waiting | Phase::Choosing { .. });
        if !looks && look == Look::Stale {
            return None;
        }
        state.sandboxes[at].phase = match sandbox.phase {
            Phase::Waiting if state.is_live(&sandbox) => {
                self.choose(state, &sandbox, &BTreeSet::new(), look)?
            }
            Phase::Choosing { ref lost } => self.choose(state, &sandbox, lost, look)?,
            Phase::Creating { address, ref lost } => self.create(state, &sandbox, address, lost),
            Phase::TakingOver { address, version } => take_over(state, &sandbox, address, version),
            Phase::Waiting | Phase::Held(_) | Phase::Deleted => return None,
        };
        Some(())
    }

    fn choose(
        &self,
        state: &mut State,
        sandbox: &Sandbox,
        lost: &BTreeSet<IpAddr>,
        look: Look,
    ) -> Option<Phase> {
        let none = BTreeSet::new();
        let all: BTreeSet<IpAddr> = state.claims.keys().copied().collect();
        let own = state.claims.iter().find(|(_, claim)| claim.pod == sandbox.pod).map(|(ip, _)| *ip);
        let (used, previous) = match look {
            Look::Fresh => (&all, own),
            Look::Stale => {
                state.stale_looks = state.stale_looks.checked_sub(1)?;
                (&none, None)
            }
        };
        let (spec, free) = &self.pools[sandbox.pod];
        let hints = Preferences { previous, ..Preferences::default() };
        Some(match choose::next(spec, free, KnownAddresses { used, conflicts: lost }, hints, 0) {
            Ok(address) => Phase::Creating { address, lost: lost.clone() },
            // The ADD fails; the kubelet tries again.
            Err(_) => Phase::Waiting,
        })
    }

    fn create(
        &self,
        state: &mut State,
        sandbox: &Sandbox,
        address: IpAddr,
        lost: &BTreeSet<IpAddr>,
    ) -> Phase {
        let present = state.claims.get(&address).filter(|_| self.rules != Rules::Overwrite);
        match present {
            None => {
                state.write(sandbox, address, None);
                Phase::Held(address)
            }
            Some(claim) if claim.pod != sandbox.pod => {
                let lost = lost.iter().copied().chain([address]).collect();
                Phase::Choosing { lost }
            }
            Some(claim) if claim.container == sandbox.container => Phase::Held(address),
            Some(claim) => Phase::TakingOver { address, version: claim.container },
        }
    }

    /// A StatefulSet makes the successor of the first pod.
    pub fn replace_pod(&self, state: &mut State) -> Option<()> {
        let goes_on = state.sandboxes[0].is_at_work();
        let may = !goes_on || self.rules == Rules::OldPluginsGoOn;
        let first_time = state.sandboxes[1].phase == Phase::Waiting;
        if state.pods[0].is_some() || !may || !first_time || state.was_replaced() {
            return None;
        }
        state.pods[0] = Some(2);
        Some(())
    }
}

fn take_over(state: &mut State, sandbox: &Sandbox, address: IpAddr, version: u8) -> Phase {
    match state.claims.get(&address).filter(|claim| claim.container == version).map(|claim| claim.made_for) {
        Some(made_for) => {
            state.write(sandbox, address, Some(made_for));
            Phase::Held(address)
        }
        None => Phase::Creating { address, lost: BTreeSet::new() },
    }
}

impl State {
    fn write(&mut self, sandbox: &Sandbox, address: IpAddr, made_for: Option<u8>) {
        let (pod, pod_uid, container) = (sandbox.pod, sandbox.pod_uid, sandbox.container);
        let claim = Claim { made_for: made_for.unwrap_or(container), pod, pod_uid, container };
        self.claims.insert(address, claim);
    }

    /// Its process dies when the claim is made, before anybody is told; or its sandbox does later. The kubelet begins anew with another
    /// container. (Before it has made a claim, a process that dies leaves nothing.)
    pub fn crash(&mut self, at: usize) -> Option<()> {
        let sandbox = &mut self.sandboxes[at];
        sandbox.address()?;
        self.crashes = self.crashes.checked_sub(1)?;
        sandbox.undeleted = Some(sandbox.container);
        sandbox.container += 1;
        sandbox.phase = Phase::Waiting;
        Some(())
    }

    /// The pod ends in order.
    pub fn del(&mut self, at: usize) -> Option<()> {
        self.sandboxes[at].address()?;
        self.release(self.sandboxes[at].container);
        self.sandboxes[at].phase = Phase::Deleted;
        Some(())
    }

    /// The claims of a container are found by its label, however late.
    pub fn late_del(&mut self, at: usize) -> Option<()> {
        let container = self.sandboxes[at].undeleted.take()?;
        self.release(container);
        Some(())
    }

    fn release(&mut self, container: u8) {
        self.claims.retain(|_, claim| claim.container != container);
    }

    /// Neither its DEL nor that of an earlier container comes any more.
    pub fn lose(&mut self, at: usize) -> Option<()> {
        let sandbox = self.sandboxes[at].clone();
        let has_something = sandbox.address().is_some() || sandbox.undeleted.is_some();
        if self.is_live(&sandbox) || sandbox.is_at_work() || !has_something {
            return None;
        }
        self.sandboxes[at] = Sandbox { undeleted: None, phase: Phase::Deleted, ..sandbox };
        Some(())
    }

    /// Its object is removed: in order, by force, or with its node.
    pub fn remove(&mut self, pod: usize) -> Option<()> {
        self.pods[pod].take().map(drop)
    }

    fn was_replaced(&self) -> bool {
        self.sandboxes[1].phase != Phase::Waiting
    }

    /// The static pod's object appears.
    pub fn announce(&mut self) -> Option<()> {
        if !std::mem::take(&mut self.unannounced) {
            return None;
        }
        self.pods[1] = Some(1);
        self.leader.waits = false;
        Some(())
    }

    /// Forgets what cannot matter any more, so that equal worlds are equal.
    pub fn forget(&mut self) {
        let Self { claims, leader, sandboxes, pods, unannounced, .. } = self;
        leader.candidates.retain(|address, claim| claims.get(address) == Some(claim));
        let [first, _, second] = &*sandboxes;
        let gone = [pods[0] != Some(first.pod_uid), false, pods[1] != Some(second.pod_uid) && !*unannounced];
        for (sandbox, gone) in sandboxes.iter_mut().zip(gone) {
            let never_begins = gone && sandbox.phase == Phase::Waiting && sandbox.undeleted.is_none();
            if never_begins || sandbox.phase == Phase::Deleted {
                sandbox.end();
            }
        }
    }
}
