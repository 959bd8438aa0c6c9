//! Pods, their sandboxes, and the plugin's calls for them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use whereabouts::pool::choose;
use whereabouts::pool::choose::{KnownAddresses, Preferences};

use crate::world::{Claim, Rules, State, View, World};

/// A sandbox of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sandbox {
    /// The index of the pod's name.
    pub pod: usize,
    /// The pod's UID: 1 for the first pod of that name, 2 for its successor.
    pub pod_uid: u8,
    /// The container's ID, or 0 after the end.
    pub container: u8,
    /// The container of a crashed ADD whose DEL is still to come.
    undeleted: Option<u8>,
    phase: Phase,
}

/// The progress of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// The ADD has not begun.
    Waiting,
    /// The ADD chooses an address. Other pods hold the addresses in `conflicts`.
    Choosing { conflicts: BTreeSet<IpAddr> },
    /// The ADD is about to create the claim of `address`.
    Creating { address: IpAddr, conflicts: BTreeSet<IpAddr> },
    /// The ADD has read an earlier claim of its pod, and is about to replace this version of it.
    TakingOver { address: IpAddr, version: u8 },
    /// The ADD succeeded.
    Held(IpAddr),
    /// The DEL succeeded, or the sandbox is lost.
    Deleted,
}

impl Sandbox {
    /// A sandbox before its ADD. Container IDs are unique.
    pub fn new(pod: usize, pod_uid: u8) -> Self {
        let container = u8::try_from(pod).unwrap() * 100 + pod_uid * 10;
        Sandbox { pod, pod_uid, container, undeleted: None, phase: Phase::Waiting }
    }

    /// The address that the sandbox has.
    pub fn address(&self) -> Option<IpAddr> {
        if let Phase::Held(address) = self.phase { Some(address) } else { None }
    }

    /// Ends the sandbox. Ended sandboxes of one pod are equal, which keeps the number of states small.
    pub fn end(&mut self) {
        (self.container, self.phase) = (0, Phase::Deleted);
    }

    fn is_adding(&self) -> bool {
        matches!(self.phase, Phase::Choosing { .. } | Phase::Creating { .. } | Phase::TakingOver { .. })
    }
}

impl World {
    /// The next step of a plugin.
    pub fn plugin(&self, state: &mut State, at: usize, view: View) -> Option<()> {
        let sandbox = state.sandboxes[at].clone();
        let reads_claims = matches!(sandbox.phase, Phase::Waiting | Phase::Choosing { .. });
        if !reads_claims && view == View::Stale {
            return None;
        }
        state.sandboxes[at].phase = match sandbox.phase {
            Phase::Waiting if state.is_live(&sandbox) => {
                self.choose(state, &sandbox, &BTreeSet::new(), view)?
            }
            Phase::Choosing { ref conflicts } => self.choose(state, &sandbox, conflicts, view)?,
            Phase::Creating { address, ref conflicts } => self.create(state, &sandbox, address, conflicts),
            Phase::TakingOver { address, version } => take_over(state, &sandbox, address, version),
            Phase::Waiting | Phase::Held(_) | Phase::Deleted => return None,
        };
        Some(())
    }

    fn choose(
        &self,
        state: &mut State,
        sandbox: &Sandbox,
        conflicts: &BTreeSet<IpAddr>,
        view: View,
    ) -> Option<Phase> {
        let nothing = BTreeSet::new();
        let all: BTreeSet<IpAddr> = state.claims.keys().copied().collect();
        let own = state.claims.iter().find(|(_, claim)| claim.pod == sandbox.pod).map(|(ip, _)| *ip);
        let (used, previous) = match view {
            View::Fresh => (&all, own),
            View::Stale => {
                state.stale_reads = state.stale_reads.checked_sub(1)?;
                (&nothing, None)
            }
        };
        let (spec, free) = &self.pools[sandbox.pod];
        let hints = Preferences { previous, ..Preferences::default() };
        Some(match choose::next(spec, free, KnownAddresses { used, conflicts }, hints, 0) {
            Ok(address) => Phase::Creating { address, conflicts: conflicts.clone() },
            // The ADD fails, and the kubelet tries again.
            Err(_) => Phase::Waiting,
        })
    }

    fn create(
        &self,
        state: &mut State,
        sandbox: &Sandbox,
        address: IpAddr,
        conflicts: &BTreeSet<IpAddr>,
    ) -> Phase {
        let present = state.claims.get(&address).filter(|_| self.rules != Rules::OverwritingCreates);
        match present {
            None => {
                state.write(sandbox, address, None);
                Phase::Held(address)
            }
            // 409, and the claim belongs to another pod.
            Some(claim) if claim.pod != sandbox.pod => {
                let conflicts = conflicts.iter().copied().chain([address]).collect();
                Phase::Choosing { conflicts }
            }
            // 409, but an earlier create of this container had succeeded.
            Some(claim) if claim.container == sandbox.container => Phase::Held(address),
            // 409, and the claim belongs to an earlier container of a pod of this name.
            Some(claim) => Phase::TakingOver { address, version: claim.container },
        }
    }

    /// A StatefulSet creates the successor of the first pod.
    pub fn replace_pod(&self, state: &mut State) -> Option<()> {
        let may_replace = !state.sandboxes[0].is_adding() || self.rules == Rules::OldPluginsContinue;
        if state.pods[0].is_some() || !may_replace || state.was_replaced() {
            return None;
        }
        state.pods[0] = Some(2);
        Some(())
    }
}

fn take_over(state: &mut State, sandbox: &Sandbox, address: IpAddr, version: u8) -> Phase {
    match state.claims.get(&address).filter(|claim| claim.container == version).map(|claim| claim.created_for)
    {
        Some(created_for) => {
            state.write(sandbox, address, Some(created_for));
            Phase::Held(address)
        }
        // 409: the claim has changed or is gone since it was read.
        None => Phase::Creating { address, conflicts: BTreeSet::new() },
    }
}

impl State {
    fn write(&mut self, sandbox: &Sandbox, address: IpAddr, created_for: Option<u8>) {
        let (pod, pod_uid, container) = (sandbox.pod, sandbox.pod_uid, sandbox.container);
        let claim = Claim { created_for: created_for.unwrap_or(container), pod, pod_uid, container };
        self.claims.insert(address, claim);
    }

    /// The plugin's process dies after it created the claim and before it responds, or the sandbox dies later. The kubelet begins again
    /// with another container. (A process that dies before it creates a claim leaves nothing behind.)
    pub fn crash(&mut self, at: usize) -> Option<()> {
        let sandbox = &mut self.sandboxes[at];
        sandbox.address()?;
        self.crashes = self.crashes.checked_sub(1)?;
        sandbox.undeleted = Some(sandbox.container);
        sandbox.container += 1;
        sandbox.phase = Phase::Waiting;
        Some(())
    }

    /// The pod ends in the regular way.
    pub fn del(&mut self, at: usize) -> Option<()> {
        self.sandboxes[at].address()?;
        self.release(self.sandboxes[at].container);
        self.sandboxes[at].phase = Phase::Deleted;
        Some(())
    }

    /// The DEL of a crashed ADD. It finds the claims by their container label.
    pub fn late_del(&mut self, at: usize) -> Option<()> {
        let container = self.sandboxes[at].undeleted.take()?;
        self.release(container);
        Some(())
    }

    fn release(&mut self, container: u8) {
        self.claims.retain(|_, claim| claim.container != container);
    }

    /// The sandbox is lost: no DEL will follow, also not that of an earlier container.
    pub fn lose(&mut self, at: usize) -> Option<()> {
        let sandbox = self.sandboxes[at].clone();
        // A sandbox that never had a claim leaves nothing behind.
        let has_something = sandbox.address().is_some() || sandbox.undeleted.is_some();
        if self.is_live(&sandbox) || sandbox.is_adding() || !has_something {
            return None;
        }
        self.sandboxes[at] = Sandbox { undeleted: None, phase: Phase::Deleted, ..sandbox };
        Some(())
    }

    /// Deletes a pod's object: regularly, by force, or with its node.
    pub fn remove(&mut self, pod: usize) -> Option<()> {
        self.pods[pod].take().map(drop)
    }

    fn was_replaced(&self) -> bool {
        self.sandboxes[1].phase != Phase::Waiting
    }

    /// Creates the object of the static pod.
    pub fn create_static_pod(&mut self) -> Option<()> {
        if !std::mem::take(&mut self.static_pod_pending) {
            return None;
        }
        self.pods[1] = Some(1);
        self.leader.waits_for_static_pod = false;
        Some(())
    }

    /// Removes what has no effect any more, so that equivalent states are equal.
    pub fn forget(&mut self) {
        let Self { claims, leader, sandboxes, pods, static_pod_pending, .. } = self;
        leader.candidates.retain(|address, claim| claims.get(address) == Some(claim));
        let [first, _, second] = &*sandboxes;
        let gone =
            [pods[0] != Some(first.pod_uid), false, pods[1] != Some(second.pod_uid) && !*static_pod_pending];
        for (sandbox, gone) in sandboxes.iter_mut().zip(gone) {
            let never_begins = gone && sandbox.phase == Phase::Waiting && sandbox.undeleted.is_none();
            if never_begins || sandbox.phase == Phase::Deleted {
                sandbox.end();
            }
        }
    }
}
