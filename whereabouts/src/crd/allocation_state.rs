//! What an allocation of an IPPool calls for, judged by the claim on its address.

use super::cached::{CachedAllocation, CachedReservation, Via};
use super::pod::PodIdentity;

/// What an entry of a pool, as it was read, calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllocationState {
    /// Nothing: it says what its claim says or said, and the next write puts it right or removes it.
    InSync,
    /// Whereabouts wrote it and there is no claim: it needs one.
    NeedsClaim,
    /// Its claim is to be for the entry's container.
    ClaimOutdated,
    /// The address is claimed for another pod: the entry is void.
    Superseded,
}

/// Judges an entry by the claim on its address. `present` is the pod that has the claim's podref now, as far as is known.
pub fn allocation_state(
    entry: &CachedAllocation,
    claim: Option<&CachedReservation>,
    present: Option<&PodIdentity>,
) -> AllocationState {
    let is_ours = entry.via != Via::Absent;
    let refreshed = matches!(entry.via, Via::Other(_));
    let Some(claim) = claim else {
        return if is_ours && !refreshed { AllocationState::InSync } else { AllocationState::NeedsClaim };
    };
    if !(claim.is_of(&entry.podref, &entry.ifname) || same_pod_no_interface(claim, entry)) {
        return if is_ours && !refreshed { AllocationState::InSync } else { AllocationState::Superseded };
    }
    if claim.pool.is_none() {
        return AllocationState::ClaimOutdated;
    }
    if claim.container == entry.id {
        return AllocationState::InSync;
    }
    if claim.container.is_empty() {
        return AllocationState::ClaimOutdated;
    }
    // The claim is of an earlier pod of this name, and the entry was made for the present one by Whereabouts.
    let outdated = claim.pod_uid.as_ref().zip(present).is_some_and(|(uid, present)| !present.is_of(uid));
    if refreshed || (!is_ours && outdated) { AllocationState::ClaimOutdated } else { AllocationState::InSync }
}

fn same_pod_no_interface(claim: &CachedReservation, entry: &CachedAllocation) -> bool {
    claim.podref == entry.podref && entry.ifname.is_empty()
}
