//! What the leader must do about an allocation of an IPPool, decided by the claim on its address.

use nad::PodIdentity;

use super::cached::{CachedAllocation, CachedReservation, Via};

/// What an allocation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllocationState {
    /// Nothing. It shows a claim, or one that is gone: the next write of the pool updates or removes it.
    InSync,
    /// Whereabouts wrote it and there is no claim: it needs one.
    NeedsClaim,
    /// The claim names an older container than the allocation: the claim must be updated.
    ClaimOutdated,
    /// Another pod has the claim: the allocation is void.
    Superseded,
}

/// Decides by the claim on the allocation's address. `current_pod` is the pod that has the claim's podref now, if the cache has one.
pub fn allocation_state(
    allocation: &CachedAllocation,
    claim: Option<&CachedReservation>,
    current_pod: Option<&PodIdentity>,
) -> AllocationState {
    let is_ours = allocation.via != Via::Absent;
    // Whereabouts gave an allocation of ours to a new container: it changed `id` and kept `via`.
    let upstream_changed_it = matches!(allocation.via, Via::Other(_));
    let Some(claim) = claim else {
        let needs_none = is_ours && !upstream_changed_it;
        return if needs_none { AllocationState::InSync } else { AllocationState::NeedsClaim };
    };
    let is_same_interface = claim.belongs_to(&allocation.podref, &allocation.ifname)
        || is_same_pod_without_interface(claim, allocation);
    if !is_same_interface {
        let is_stale_copy = is_ours && !upstream_changed_it;
        return if is_stale_copy { AllocationState::InSync } else { AllocationState::Superseded };
    }
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
    if upstream_changed_it || (!is_ours && is_of_earlier_pod) {
        AllocationState::ClaimOutdated
    } else {
        AllocationState::InSync
    }
}

/// Whereabouts before 0.8 wrote no interface into an allocation.
fn is_same_pod_without_interface(claim: &CachedReservation, allocation: &CachedAllocation) -> bool {
    claim.podref == allocation.podref && allocation.ifname.is_empty()
}
