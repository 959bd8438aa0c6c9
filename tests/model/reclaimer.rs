//! The leader: two observations, a read of the pod, the grace period, a second read of the pod, a delete.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use nad::PodIdentity;
use whereabouts::crd::cached::CachedReservation;
use whereabouts::crd::reservation::{Reservation, ReservationOwner, ReservationSpec};
use whereabouts::leader::reclaim_rules::{
    LivePod, PodView, ReclaimCandidate, TrackedClaims, deletable, observe, record_answers,
};

use crate::world::{Claim, Claims, Leader, Rules, State, World};

const GRACE: Duration = Duration::from_secs(60);
const PODS: [&str; 2] = ["a/set-0", "a/static"];

impl Leader {
    /// A new leader, which has listed everything.
    pub const fn new() -> Self {
        Leader { stalled: None, candidates: Claims::new(), waits_for_static_pod: false, deleting: Vec::new() }
    }
}

fn object(address: &IpAddr, claim: &Claim) -> Arc<CachedReservation> {
    let spec = ReservationSpec {
        podref: PODS[claim.pod].to_owned(),
        ifname: "net1".to_owned(),
        containerid: claim.container.to_string(),
    };
    let range = IpNet::new(*address, 24).unwrap().trunc();
    let pod_uid = claim.pod_uid.to_string();
    let holding = ReservationOwner {
        pool: "10.0.0.0-24",
        whole: "10.0.0.0-24",
        range,
        pod_uid: Some(&pod_uid),
        node: None,
        spec,
    };
    let mut object = Reservation::new(&address.to_string(), holding);
    object.metadata.uid = Some(claim.created_for.to_string());
    object.metadata.resource_version = Some(claim.container.to_string());
    Arc::new(CachedReservation::from(&object))
}

fn identity(uid: u8) -> PodIdentity {
    PodIdentity::of(&serde_json::from_value(serde_json::json!({ "uid": uid.to_string() })).unwrap())
}

fn identities(pods: [Option<u8>; 2]) -> BTreeMap<&'static str, PodIdentity> {
    PODS.into_iter().zip(pods).filter_map(|(name, uid)| Some((name, identity(uid?)))).collect()
}

fn address_of(candidate: &ReclaimCandidate) -> IpAddr {
    candidate.name.as_str().parse().unwrap()
}

impl World {
    /// An observation, one grace period after the last one.
    pub fn observe(&self, state: &mut State) -> Option<()> {
        let leader = &mut state.leader;
        let nothing = state.claims.is_empty() && leader.candidates.is_empty();
        if nothing
            || leader.waits_for_static_pod
            || !leader.deleting.is_empty()
            || self.rules == Rules::NeverRelease
        {
            return None;
        }
        leader.waits_for_static_pod = state.static_pod_pending;
        let claims: Vec<Arc<CachedReservation>> =
            state.claims.iter().map(|(ip, claim)| object(ip, claim)).collect();
        let no_pods = BTreeMap::new();
        // The state after the last observation: tracked claims whose pods were missing, and gone according to the API server.
        let earlier = match self.rules {
            Rules::OneObservation => claims.clone(),
            _ => leader.candidates.iter().map(|(ip, claim)| object(ip, claim)).collect(),
        };
        let once = observe_claims(&earlier, &no_pods, &TrackedClaims::new(), Duration::ZERO).candidates;
        let mut twice = observe_claims(&earlier, &no_pods, &once, Duration::ZERO);
        let gone: Vec<(ReclaimCandidate, LivePod)> =
            twice.unconfirmed.into_iter().map(|candidate| (candidate, LivePod::Gone)).collect();
        record_answers(&mut twice.candidates, &gone, Duration::ZERO);
        let present = identities(leader.stalled.unwrap_or(state.pods));
        let observed = observe_claims(&claims, &present, &twice.candidates, GRACE);
        // New candidates are observed a second time at once, and their pods are read. They wait for the grace period only after that.
        let mut again = observe_claims(&claims, &present, &observed.candidates, GRACE);
        let answers = again.unconfirmed.into_iter().map(|candidate| {
            let live = self.live_pod(state, &candidate);
            (candidate, live)
        });
        record_answers(&mut again.candidates, &answers.collect::<Vec<_>>(), GRACE);
        let leader = &mut state.leader;
        let is_tracked = |ip: &IpAddr| again.candidates.keys().any(|name| **name == ip.to_string());
        leader.candidates =
            state.claims.iter().filter(|(ip, _)| is_tracked(ip)).map(|(ip, c)| (*ip, c.clone())).collect();
        let expired = observed.expired.into_iter().map(|candidate| {
            let live = self.live_pod(state, &candidate);
            (candidate, live)
        });
        state.leader.deleting = deletable(expired.collect());
        Some(())
    }

    /// What the API server responds to a read of a claim's pod.
    fn live_pod(&self, state: &State, candidate: &ReclaimCandidate) -> LivePod {
        let name = candidate.pod.to_string();
        let pod = PODS.iter().position(|pod| *pod == name).unwrap();
        match (state.pods[pod], self.rules) {
            (_, Rules::NoFinalRead) | (None, _) => LivePod::Gone,
            (Some(uid), _) => LivePod::Present(identity(uid)),
        }
    }

    /// Whether a pending delete would delete this claim.
    fn would_delete(&self, candidate: &ReclaimCandidate, claim: &Claim) -> bool {
        let required = candidate.preconditions();
        self.rules == Rules::DeleteByNameOnly
            || (required.uid.is_some_and(|uid| uid.as_str() == claim.created_for.to_string())
                && required.resource_version == Some(claim.container.to_string()))
    }

    /// A pending delete reaches the API server.
    pub fn delete(&self, state: &mut State, which: usize) -> Option<()> {
        let candidate = state.leader.deleting.remove(which);
        let address = address_of(&candidate);
        if state.claims.get(&address).is_some_and(|claim| self.would_delete(&candidate, claim)) {
            state.claims.remove(&address);
        }
        Some(())
    }

    /// Removes what has no effect any more, so that equivalent states are equal.
    pub fn forget(&self, state: &mut State) {
        state.forget();
        let State { claims, leader, .. } = state;
        // A container writes a claim only once, so a version that is gone does not come back.
        leader.deleting.retain(|candidate| {
            let by_name = self.rules == Rules::DeleteByNameOnly;
            by_name
                || claims.get(&address_of(candidate)).is_some_and(|claim| self.would_delete(candidate, claim))
        });
    }
}

impl State {
    /// Another process becomes the leader. It knows the current objects, but has observed nothing yet.
    pub fn replace_leader(&mut self) -> Option<()> {
        self.crashes = self.crashes.checked_sub(1)?;
        let deleting = std::mem::take(&mut self.leader.deleting);
        self.leader = Leader { deleting, ..Leader::new() };
        Some(())
    }

    /// The watch of the pods hangs.
    pub fn stall(&mut self) -> Option<()> {
        self.stale_reads = self.stale_reads.checked_sub(1)?;
        self.leader.stalled = Some(self.pods);
        Some(())
    }
}

/// One observation of the code under test, with the pods that the leader sees.
fn observe_claims(
    claims: &[Arc<CachedReservation>],
    pods: &BTreeMap<&str, PodIdentity>,
    earlier: &TrackedClaims,
    now: Duration,
) -> whereabouts::leader::reclaim_rules::Observation {
    observe(claims, PodView::Complete(&|podref| pods.get(podref)), earlier, now, GRACE)
}
