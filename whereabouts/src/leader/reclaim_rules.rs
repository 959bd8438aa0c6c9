//! When a claim may be deleted because its pod is gone: a function of claims, pods, earlier observations, and the time.
//!
//! A claim is deleted only if all of these hold, in this order:
//!
//! 1. **The cache says so, twice.** In two observations in a row the complete cache has no pod with the claim's podref, or has one with
//!    another UID. After the first one the claim is a *candidate*. A cache that is not complete observes nothing.
//! 2. **The API server says so.** After the second observation the leader reads that very pod from the API server ([`record_answers`]),
//!    because a watch can lag behind. The grace time begins with this answer, not with the observations.
//! 3. **The grace time passed, and nothing changed.** In every observation since, the pod was absent and the claim had the same UID and
//!    resourceVersion. Any change begins at 1 again.
//! 4. **The API server says so again.** The leader reads the pod once more ([`deletable`]). If it cannot tell about one pod, no claim is
//!    deleted in that pass: an API server that fails in part may also return wrong 404s.
//! 5. **It is still the same object.** The deletion carries the claim's UID and resourceVersion ([`ReclaimCandidate::preconditions`]). A
//!    claim that was taken over meanwhile stays.
//!
//! A new leader begins at 1. Nothing else is a reason to delete: no error, no time-out, no pod that is Pending or has ended, no annotation of
//! the pod, no podref that cannot be parsed. A claim with an empty podref is reserved by hand and stays.
//!
//! A claim of Whereabouts has no pod UID: any pod with its podref counts as its pod. A claim for a caller that named no UID belongs to its
//! container ([`OwnerKind::Container`]). The podref in it may be that of no pod, so a missing pod proves nothing: such a claim is a candidate
//! only if this leader saw a pod with its podref while the claim was as it is now. Else only its own DEL releases it, or GC.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nad::{PodIdentity, PodRef};
use node::client::Preconditions;
use node::names::{DnsSubdomain, PodUid};

use crate::crd::cached::{CachedReservation, OwnerKind};
use crate::crd::packed::{Decimal, Hex};

/// What the cache knows about the cluster's pods.
#[derive(Clone, Copy)]
pub enum PodView<'a> {
    /// Not all pods: a pod that is not cached may exist.
    Incomplete,
    /// All pods, by `namespace/name`.
    Complete(&'a dyn Fn(&str) -> Option<&'a PodIdentity>),
}

/// UID and resourceVersion of the claim that was observed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Version {
    uid: PodUid,
    resource_version: String,
}

/// A candidate from an earlier observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedClaim {
    /// The claim as it was observed.
    claim: Arc<CachedReservation>,
    pod: TrackedPod,
}

/// What is known about the pod of a claim that is tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TrackedPod {
    /// It exists. Tracked only for claims that belong to a container.
    Seen,
    /// It was not in the cache.
    Missing,
    /// The API server answered at this time that it is gone.
    GoneSince(Duration),
}

impl TrackedClaim {
    /// Whether the claim's pod seems to be gone.
    pub(super) const fn is_candidate(&self) -> bool {
        !matches!(self.pod, TrackedPod::Seen)
    }
}

/// The candidates of an observation, by the claim's name.
pub type TrackedClaims = BTreeMap<Arc<str>, TrackedClaim>;

/// The result of an observation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The candidates, for the next observation.
    pub candidates: TrackedClaims,
    /// Candidates for the second time or more, whose pods are to be read from the API server (rule 2).
    pub unconfirmed: Vec<ReclaimCandidate>,
    /// Candidates whose grace time has passed, whose pods are to be read from the API server again (rule 4).
    pub expired: Vec<ReclaimCandidate>,
}

/// A claim whose pod seems to be gone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReclaimCandidate {
    /// The claim's name.
    pub name: DnsSubdomain,
    /// The pod that the claim names, with its UID if the claim has one.
    pub pod: PodRef,
    version: Version,
}

impl ReclaimCandidate {
    /// The preconditions of the deletion (rule 5).
    pub fn preconditions(&self) -> Preconditions {
        let Version { uid, resource_version } = self.version.clone();
        Preconditions { uid: Some(uid), resource_version: Some(resource_version) }
    }
}

/// Observes every claim (rules 1 and 3). `now` is the time since a fixed point, by a clock that never goes back.
pub fn observe<'a>(
    claims: impl IntoIterator<Item = &'a Arc<CachedReservation>>,
    pods: PodView<'_>,
    earlier: &TrackedClaims,
    now: Duration,
    grace: Duration,
) -> Observation {
    let mut observation = Observation::default();
    // Incomplete: earlier candidates are dropped, so that all rules begin again.
    let PodView::Complete(pod_of) = pods else { return observation };
    for claim in claims {
        let present = pod_of(&claim.podref);
        let tracked = earlier.get(&claim.name).filter(|tracked| tracked.claim.version == claim.version);
        let track = |pod| (claim.name.clone(), TrackedClaim { claim: claim.clone(), pod });
        let tracked = match (claim.owner, present, tracked) {
            (OwnerKind::Container, Some(_), _) => {
                observation.candidates.extend([track(TrackedPod::Seen)]);
                continue;
            }
            // Its pod was never seen.
            (OwnerKind::Container, None, None) => continue,
            (_, _, tracked) => tracked.map(|tracked| tracked.pod),
        };
        let Some(candidate) = candidate(claim, present) else { continue };
        let pod = match tracked {
            Some(TrackedPod::GoneSince(since)) => {
                if now.saturating_sub(since) >= grace {
                    observation.expired.push(candidate);
                }
                TrackedPod::GoneSince(since)
            }
            Some(TrackedPod::Missing) => {
                observation.unconfirmed.push(candidate);
                TrackedPod::Missing
            }
            Some(TrackedPod::Seen) | None => TrackedPod::Missing,
        };
        observation.candidates.extend([track(pod)]);
    }
    observation
}

/// Records what the API server answered about candidates' pods until `now` (rule 2). A candidate whose pod exists is dropped. If one answer is
/// unclear, no grace time begins.
pub fn record_answers(
    candidates: &mut TrackedClaims,
    answers: &[(ReclaimCandidate, LivePod)],
    now: Duration,
) {
    let verdicts: Vec<Verdict> = answers.iter().map(|(claim, live)| verdict(claim, live)).collect();
    let all_clear = !verdicts.contains(&Verdict::Unclear);
    for ((claim, _), verdict) in answers.iter().zip(verdicts) {
        match verdict {
            Verdict::Keep => {
                candidates.remove(claim.name.as_str());
            }
            Verdict::Delete if all_clear => {
                if let Some(candidate) = candidates.get_mut(claim.name.as_str()) {
                    candidate.pod = TrackedPod::GoneSince(now);
                }
            }
            Verdict::Delete | Verdict::Unclear => {}
        }
    }
}

/// The claim as a candidate, if the cached pods say that its pod is gone.
fn candidate(claim: &CachedReservation, present: Option<&PodIdentity>) -> Option<ReclaimCandidate> {
    let is_gone = match (present, &claim.pod_uid) {
        (None, _) => true,
        (Some(present), Some(uid)) => !present.is(&uid.to_string()),
        (Some(_), None) => false,
    };
    if !is_gone {
        return None;
    }
    let pod: PodRef = claim.podref.parse().ok()?;
    // A UID that no pod can have is dropped: then any pod of this name may be the claim's, and its claim stays.
    let pod = PodRef { uid: claim.pod_uid.as_ref().and_then(|uid| PodUid::new(uid.to_string()).ok()), ..pod };
    let (uid, resource_version) = &claim.version;
    let version = Version {
        uid: PodUid::new(uid.as_ref().map(Hex::to_string)?).ok()?,
        resource_version: resource_version.as_ref().map(Decimal::to_string)?,
    };
    let name = DnsSubdomain::new(&*claim.name).ok()?;
    Some(ReclaimCandidate { name, pod, version })
}

/// The API server's answer to a read of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LivePod {
    /// 404: no pod has this name.
    Gone,
    /// This pod has the name.
    Present(PodIdentity),
    /// No answer, or an error.
    Unknown,
}

/// What an answer means for a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The pod is gone.
    Delete,
    /// The pod may exist.
    Keep,
    /// Unknown: neither this claim nor any other is deleted in this pass.
    Unclear,
}

/// What the answer means for the claim.
pub(super) fn verdict(claim: &ReclaimCandidate, live: &LivePod) -> Verdict {
    match (live, &claim.pod.uid) {
        (LivePod::Gone, _) => Verdict::Delete,
        (LivePod::Present(pod), Some(uid)) if !pod.is(uid.as_str()) => Verdict::Delete,
        (LivePod::Present(_), _) => Verdict::Keep,
        (LivePod::Unknown, _) => Verdict::Unclear,
    }
}

/// The claims of a pass that may be deleted, from the API server's answers about their pods (rule 4). None if one answer is unclear.
pub fn deletable(answers: Vec<(ReclaimCandidate, LivePod)>) -> Vec<ReclaimCandidate> {
    let verdicts: Vec<Verdict> = answers.iter().map(|(claim, live)| verdict(claim, live)).collect();
    if verdicts.contains(&Verdict::Unclear) {
        return Vec::new();
    }
    let deletable = answers.into_iter().zip(verdicts).filter(|(_, verdict)| *verdict == Verdict::Delete);
    deletable.map(|((claim, _), _)| claim).collect()
}

#[cfg(test)]
mod tests;
