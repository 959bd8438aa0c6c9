//! The leader: two observations, a question, a grace time, a question, a delete.

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
    /// A new one, which has listed everything.
    pub const fn new() -> Self {
        Leader { stalled: None, candidates: Claims::new(), waits: false, deleting: Vec::new() }
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
    let holding = ReservationOwner { pool: "10.0.0.0-24", range, pod_uid: Some(&pod_uid), node: None, spec };
    let mut object = Reservation::new(&address.to_string(), holding);
    object.metadata.uid = Some(claim.made_for.to_string());
    object.metadata.resource_version = Some(claim.container.to_string());
    Arc::new(CachedReservation::from(&object))
}

fn identity(uid: u8) -> PodIdentity {
    PodIdentity::of(&serde_json::from_value(serde_json::json!({ "uid": uid.to_string() })).unwrap())
}

fn identities(pods: [Option<u8>; 2]) -> BTreeMap<&'static str, PodIdentity> {
    PODS.into_iter().zip(pods).filter_map(|(name, uid)| Some((name, identity(uid?)))).collect()
}

fn address_of(due: &ReclaimCandidate) -> IpAddr {
    due.name.as_str().parse().unwrap()
}

impl World {
    /// An observation, a grace time after the last one.
    pub fn observe(&self, state: &mut State) -> Option<()> {
        let leader = &mut state.leader;
        let nothing = state.claims.is_empty() && leader.candidates.is_empty();
        if nothing || leader.waits || !leader.deleting.is_empty() || self.rules == Rules::NeverRelease {
            return None;
        }
        leader.waits = state.unannounced;
        let claims: Vec<Arc<CachedReservation>> =
            state.claims.iter().map(|(ip, claim)| object(ip, claim)).collect();
        let nobody = BTreeMap::new();
        // As they were seen at the last observation: candidates, with nobody there, as the API server said when it was asked.
        let earlier = match self.rules {
            Rules::OneObservation => claims.clone(),
            _ => leader.candidates.iter().map(|(ip, claim)| object(ip, claim)).collect(),
        };
        let once = look(&earlier, &nobody, &TrackedClaims::new(), Duration::ZERO).candidates;
        let mut twice = look(&earlier, &nobody, &once, Duration::ZERO);
        let gone: Vec<(ReclaimCandidate, LivePod)> =
            twice.unconfirmed.into_iter().map(|due| (due, LivePod::Gone)).collect();
        record_answers(&mut twice.candidates, &gone, Duration::ZERO);
        let present = identities(leader.stalled.unwrap_or(state.pods));
        let seen = look(&claims, &present, &twice.candidates, GRACE);
        // New candidates are looked at again at once, and asked for: the grace time is one of those only that are gone.
        let mut again = look(&claims, &present, &seen.candidates, GRACE);
        let asked = again.unconfirmed.into_iter().map(|due| {
            let live = self.live_pod(state, &due);
            (due, live)
        });
        record_answers(&mut again.candidates, &asked.collect::<Vec<_>>(), GRACE);
        let leader = &mut state.leader;
        let is_candidate = |ip: &IpAddr| again.candidates.keys().any(|name| **name == ip.to_string());
        leader.candidates =
            state.claims.iter().filter(|(ip, _)| is_candidate(ip)).map(|(ip, c)| (*ip, c.clone())).collect();
        let judged = seen.expired.into_iter().map(|due| {
            let live = self.live_pod(state, &due);
            (due, live)
        });
        state.leader.deleting = deletable(judged.collect());
        Some(())
    }

    /// What the API server answers about the pod of a claim.
    fn live_pod(&self, state: &State, due: &ReclaimCandidate) -> LivePod {
        let name = due.pod.to_string();
        let pod = PODS.iter().position(|pod| *pod == name).unwrap();
        match (state.pods[pod], self.rules) {
            (_, Rules::BelieveTheView) | (None, _) => LivePod::Gone,
            (Some(uid), _) => LivePod::Present(identity(uid)),
        }
    }

    /// Whether a delete that is on its way would delete this claim.
    fn is_met(&self, due: &ReclaimCandidate, claim: &Claim) -> bool {
        let exactly = due.preconditions();
        self.rules == Rules::DeleteByNameOnly
            || (exactly.uid.is_some_and(|uid| uid.as_str() == claim.made_for.to_string())
                && exactly.resource_version == Some(claim.container.to_string()))
    }

    /// A delete arrives.
    pub fn delete(&self, state: &mut State, which: usize) -> Option<()> {
        let due = state.leader.deleting.remove(which);
        let address = address_of(&due);
        if state.claims.get(&address).is_some_and(|claim| self.is_met(&due, claim)) {
            state.claims.remove(&address);
        }
        Some(())
    }

    /// Forgets what cannot matter any more, so that equal worlds are equal.
    pub fn forget(&self, state: &mut State) {
        state.forget();
        let State { claims, leader, .. } = state;
        // A container writes but once: a version that is gone does not come back.
        leader.deleting.retain(|due| {
            let by_name = self.rules == Rules::DeleteByNameOnly;
            by_name || claims.get(&address_of(due)).is_some_and(|claim| self.is_met(due, claim))
        });
    }
}

impl State {
    /// The next leader begins with everything as it is, and with nothing observed.
    pub fn new_leader(&mut self) -> Option<()> {
        self.crashes = self.crashes.checked_sub(1)?;
        let deleting = std::mem::take(&mut self.leader.deleting);
        self.leader = Leader { deleting, ..Leader::new() };
        Some(())
    }

    /// Its watch of the pods hangs.
    pub fn stall(&mut self) -> Option<()> {
        self.stale_looks = self.stale_looks.checked_sub(1)?;
        self.leader.stalled = Some(self.pods);
        Some(())
    }
}

fn look(
    claims: &[Arc<CachedReservation>],
    pods: &BTreeMap<&str, PodIdentity>,
    earlier: &TrackedClaims,
    now: Duration,
) -> whereabouts::leader::reclaim_rules::Observation {
    observe(claims, PodView::Complete(&|podref| pods.get(podref)), earlier, now, GRACE)
}
