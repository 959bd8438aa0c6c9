//! Which claims outlived their pods: a function of claims, pods, what was seen before, and the time.
//!
//! A claim is a *candidate* as long as its pod is absent, or is another pod of the same name. In the second observation of a candidate the
//! API server is asked for this very pod, and only once it says that it is gone ([`answered`]) the grace time begins: what is observed may
//! be a view that fell behind. A candidate is *due* when it did not change for a grace time since. What is due is released only if the API
//! server, asked again, confirms it ([`releases`]), and only as long as it is still the object that was judged ([`ReclaimCandidate::preconditions`]).
//!
//! Nothing else is ever a reason: not an error, not a view that is not complete, not a pod that is Pending or has ended, not what an
//! annotation of the pod says or fails to say, not a podref that cannot be read. A claim with an empty podref is reserved by hand.

use crate::crd::pod::PodIdentity;
use crate::crd::pod::PodName;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use node::client::Preconditions;
use node::names::{DnsSubdomain, PodUid};

use crate::crd::cached::CachedReservation;
use crate::crd::packed::{Decimal, Hex};

/// What is known of the cluster's pods.
#[derive(Clone, Copy)]
pub enum PodView<'a> {
    /// Not all of them: absence means nothing.
    Incomplete,
    /// All of them, by `namespace/name`.
    Complete(&'a dyn Fn(&str) -> Option<&'a PodIdentity>),
}

/// The very object, at the very version, that was judged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    uid: PodUid,
    resource_version: String,
}

/// A claim whose pod seems to be gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedClaim {
    /// As it was seen.
    claim: Arc<CachedReservation>,
    /// Since when the API server itself says that its pod is gone; `None` while only observations do.
    gone_since: Option<Duration>,
}

/// The candidates of an observation, by the claim's name.
pub type TrackedClaims = BTreeMap<Arc<str>, TrackedClaim>;

/// What an observation yields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// For the next one.
    pub candidates: TrackedClaims,
    /// Candidates for the second time, of which the API server is to be asked whether their pods are gone: see [`answered`].
    pub unconfirmed: Vec<ReclaimCandidate>,
    /// What may be released, if the API server confirms it.
    pub due: Vec<ReclaimCandidate>,
}

/// A claim whose pod seems to be gone: it may be released if nothing speaks against it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReclaimCandidate {
    /// Its name.
    pub name: DnsSubdomain,
    /// The pod it names.
    pub pod: PodName,
    /// The UID of the pod it was made for, where it says so.
    pub pod_uid: Option<String>,
    version: Version,
}

impl ReclaimCandidate {
    /// What must still hold of the claim.
    pub fn preconditions(&self) -> Preconditions {
        let Version { uid, resource_version } = self.version.clone();
        Preconditions { uid: Some(uid), resource_version: Some(resource_version) }
    }
}

/// Looks at every claim. `now` is the time since some fixed point of this process, by a clock that never goes back.
pub fn observe<'a>(
    claims: impl IntoIterator<Item = &'a Arc<CachedReservation>>,
    pods: PodView<'_>,
    earlier: &TrackedClaims,
    now: Duration,
    grace: Duration,
) -> Observation {
    let mut shared = Observation::default();
    let PodView::Complete(pod_of) = pods else { return shared };
    for claim in claims {
        let Some(due) = candidate(claim, pod_of(&claim.podref)) else { continue };
        let known = earlier.get(&claim.name).filter(|known| known.claim.version == claim.version);
        let gone_since = known.and_then(|known| known.gone_since);
        shared.candidates.insert(claim.name.clone(), TrackedClaim { claim: claim.clone(), gone_since });
        match gone_since {
            Some(since) if now.saturating_sub(since) >= grace => shared.due.push(due),
            None if known.is_some() => shared.unconfirmed.push(due),
            Some(_) | None => {}
        }
    }
    shared
}

/// Notes what the API server said of candidates' pods, all answered by `now`. A candidate whose pod lives is none. One unclear answer, and
/// no grace time begins.
pub fn record_answers(
    candidates: &mut TrackedClaims,
    answers: &[(ReclaimCandidate, LivePod)],
    now: Duration,
) {
    let verdicts: Vec<Verdict> = answers.iter().map(|(claim, live)| verdict(claim, live)).collect();
    let is_clear = !verdicts.contains(&Verdict::Unclear);
    for ((claim, _), verdict) in answers.iter().zip(verdicts) {
        match verdict {
            Verdict::Keep => {
                candidates.remove(claim.name.as_str());
            }
            Verdict::Release if is_clear => {
                if let Some(candidate) = candidates.get_mut(claim.name.as_str()) {
                    candidate.gone_since = Some(now);
                }
            }
            Verdict::Release | Verdict::Unclear => {}
        }
    }
}

/// The claim, if its pod is gone as far as the view knows.
fn candidate(claim: &CachedReservation, present: Option<&PodIdentity>) -> Option<ReclaimCandidate> {
    let is_gone = match (present, &claim.pod_uid) {
        (None, _) => true,
        (Some(present), Some(uid)) => !present.is_of(uid),
        (Some(_), None) => false,
    };
    if !is_gone {
        return None;
    }
    let pod = PodName::parse(&claim.podref)?;
    let (uid, resource_version) = &claim.version;
    let version = Version {
        uid: PodUid::new(uid.as_ref().map(Hex::to_string)?).ok()?,
        resource_version: resource_version.as_ref().map(Decimal::to_string)?,
    };
    let name = DnsSubdomain::new(&*claim.name).ok()?;
    Some(ReclaimCandidate { name, pod, pod_uid: claim.pod_uid.as_ref().map(Hex::to_string), version })
}

/// What the API server, asked for the pod itself, says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LivePod {
    /// There is none of this name.
    Gone,
    /// This one has the name.
    Present(PodIdentity),
    /// No answer, or one that says neither.
    Unknown,
}

/// What becomes of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its pod is gone: it is to be deleted, under its preconditions.
    Release,
    /// Its pod may live.
    Keep,
    /// Nobody knows: neither this claim nor any other is released in this pass.
    Unclear,
}

/// Judges a claim whose pod was asked for. One that names no UID was made by Whereabouts, or for a runtime that tells none: any pod of the
/// name may be its pod.
pub fn verdict(claim: &ReclaimCandidate, live: &LivePod) -> Verdict {
    match (live, &claim.pod_uid) {
        (LivePod::Gone, _) => Verdict::Release,
        (LivePod::Present(pod), Some(uid)) if !pod.is(uid) => Verdict::Release,
        (LivePod::Present(_), _) => Verdict::Keep,
        (LivePod::Unknown, _) => Verdict::Unclear,
    }
}

/// What is released of a pass in which every claim's pod was asked for. One unclear answer, and nothing is.
pub fn releases(judged: Vec<(ReclaimCandidate, LivePod)>) -> Vec<ReclaimCandidate> {
    let verdicts: Vec<Verdict> = judged.iter().map(|(claim, live)| verdict(claim, live)).collect();
    if verdicts.contains(&Verdict::Unclear) {
        return Vec::new();
    }
    let released = judged.into_iter().zip(verdicts).filter(|(_, verdict)| *verdict == Verdict::Release);
    released.map(|((claim, _), _)| claim).collect()
}

#[cfg(test)]
mod tests;
