//! What the leader must do about an allocation of an IPPool, decided by the claim on its address.

use nad::PodIdentity;

use super::cached::{CachedAllocation, CachedReservation, Via};
use super::ip_pool;

/// What an allocation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllocationState {
    /// Nothing. It shows a claim.
    InSync,
    /// It shows a claim that is gone: it may be removed.
    Released,
    /// Whereabouts wrote it and there is no claim: it needs one.
    NeedsClaim,
    /// The claim names an older container than the allocation: the claim must be updated.
    ClaimOutdated,
    /// This project wrote it and there is no claim, or not yet: it may be removed once its pod is gone.
    Unclaimed,
    /// Another pod has the claim. One of the two gives way: the allocation may be removed once its pod is gone.
    Disputed,
}

/// Who removes an allocation whose claim is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remover {
    /// Its owner, because it is a part of the lock on the address (`pool::claim_names`).
    Owner,
    /// The leader, if this project wrote it.
    Leader,
    /// The leader: it saw the claim of the allocation's container, and saw that it was deleted.
    LeaderWhoSawTheClaim,
}

/// Decides by the claim on the allocation's address. `current_pod` is the pod that has the claim's podref now, if the cache has one.
pub fn allocation_state(
    allocation: &CachedAllocation,
    claim: Option<&CachedReservation>,
    current_pod: Option<&PodIdentity>,
    remover: Remover,
) -> AllocationState {
    let is_ours = allocation.via == Via::OfId;
    let is_same_interface = claim.is_some_and(|claim| {
        claim.belongs_to(&allocation.podref, &allocation.ifname)
            || is_same_pod_without_interface(claim, allocation)
    });
    let claim_of_other = claim.is_some() && !is_same_interface;
    let Some(claim) = claim.filter(|_| is_same_interface) else {
        return match (remover, is_ours) {
            (Remover::LeaderWhoSawTheClaim, _) | (Remover::Leader, true) => AllocationState::Released,
            (Remover::Owner | Remover::Leader, _) if claim_of_other => AllocationState::Disputed,
            (Remover::Owner, true) => AllocationState::Unclaimed,
            (Remover::Owner | Remover::Leader, false) => AllocationState::NeedsClaim,
        };
    };
    // A claim without a pool was made by Whereabouts: it needs our labels.
    if claim.pool.is_none() {
        return AllocationState::ClaimOutdated;
    }
    if claim.container == allocation.id {
        return AllocationState::InSync;
    }
    if claim.container.is_empty() {
        return AllocationState::ClaimOutdated;
    }
    // The claim belongs to an earlier pod of this name, and Whereabouts made the allocation for the current one.
    let is_of_earlier_pod =
        claim.pod_uid.as_ref().zip(current_pod).is_some_and(|(uid, current)| !current.is(&uid.to_string()));
    // Whereabouts gave an allocation of ours to the pod's next sandbox: it changed `id` and kept `via`, which names the claim's container. A
    // claim of a third container may be newer than both: then it stays, because a late DEL of the container in `id` would free it.
    let upstream_changed_it = match &allocation.via {
        Via::Other(via) => **via == *ip_pool::via(&claim.container.to_string()),
        Via::Absent | Via::OfId => false,
    };
    let is_upstreams = allocation.via == Via::Absent;
    if upstream_changed_it || (is_upstreams && is_of_earlier_pod) {
        AllocationState::ClaimOutdated
    } else {
        AllocationState::InSync
    }
}

/// Whereabouts before 0.8 wrote no interface into an allocation.
fn is_same_pod_without_interface(claim: &CachedReservation, allocation: &CachedAllocation) -> bool {
    claim.podref == allocation.podref && allocation.ifname.is_empty()
}
