//! Keeping the claims of this node's attachments: one that somebody deletes by hand is made again, before another pod gets the address.
//!
//! | evidence | reaction |
//! |---|---|
//! | the watch of a pool shows that a claim was deleted | its record is read at once: the claim names its container |
//! | a round, each minute: a watched pool has no claim of a recorded address | the claim is examined at once |
//! | a round: the pool is not watched, so nothing is known | one claim of those is examined each ten seconds |
//!
//! So 1,000 nodes send 100 requests a second at most while nothing is wrong. To examine a claim is to read it and, if it is missing, its pod.
//! It is made again only if, in this order:
//!
//! 1. A record lists it. A DEL takes the record away before it deletes anything ([`Records::begin_release`]).
//! 2. No request for the interface is in flight, and none begins meanwhile.
//! 3. The API server has no such claim, and it has the pod, with the UID of the record.
//! 4. No other record of this node is for the same interface of the same pod: the older sandbox must not take the claim of the newer one.
//! 5. Then the record still says the same.
//!
//! If the DEL begins after step 5, the record is gone after the create, and the new claim is deleted again. If the daemon dies in between,
//! the leader reclaims the claim after its pod.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use cni::names::{ContainerId, IfName};
use node::client::{ApiError, ResourceKind};
use node::deadline::Deadline;
use node::event::{Reporter, Severity, Subject, about_pod};
use node::names::PodUid;
use node::rng::between;
use serde::de::IgnoredAny;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::in_flight::InFlightRequest;
use super::pool_cache::{DeletedClaim, Evidence};
use super::serve::Service;
use crate::claims::restore::{Holder, PodLife};
use crate::claims::store::Claims;
use crate::crd::reservation::Reservation;
use crate::metrics::TaskOutcome;
use crate::node_state::record::{Record, Records};
use crate::pool::held_claim::HeldClaim;

/// The time between two claims of pools that are not watched.
const PACE: Duration = Duration::from_secs(10);

/// The least time between two rounds through the records.
const ROUND: Duration = Duration::from_secs(60);

/// The time limit for the requests about one claim.
const LIMIT: Duration = Duration::from_secs(10);

/// Component and reason of the event for two pods with one address.
const COMPONENT: &str = "whereabouts";
const REASON: &str = "AddressHeldTwice";

/// One claim of one record.
type Recorded = (Record, HeldClaim);

/// Container, interface and name of a claim.
type Key = (String, String, String);

/// Keeps the claims of the node's records.
#[derive(Debug)]
pub(super) struct ClaimUpkeep {
    /// Access to the API server and to the pool caches.
    service: Service,
    records: Records,
    /// The name of this node, for the claims.
    node: String,
    /// Claims whose pools are not watched, of the present round.
    waiting: VecDeque<Recorded>,
    /// When the present round began.
    round: Option<Instant>,
    /// Addresses of running pods that another pod has claimed, with its podref. Each is reported once.
    held_twice: BTreeMap<Key, String>,
}

impl ClaimUpkeep {
    /// For the attachments in `records`, on this node.
    pub fn new(service: Service, records: Records, node: String) -> Self {
        ClaimUpkeep {
            service,
            records,
            node,
            waiting: VecDeque::new(),
            round: None,
            held_twice: BTreeMap::new(),
        }
    }

    /// Keeps the claims. Never returns.
    pub async fn run(mut self, mut deleted: broadcast::Receiver<DeletedClaim>) {
        // Random, so that not all nodes ask at the same moment.
        let mut pace = interval_at(Instant::now() + between(Duration::ZERO, PACE), PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                deleted = deleted.recv() => match deleted {
                    Ok(deleted) => self.deleted(&deleted).await,
                    // More than the channel holds at once: the next round finds them.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                _ = pace.tick() => self.tick().await,
            }
        }
    }

    /// A claim of a watched pool was deleted, nearly always by the DEL of its pod on some node. Only a claim of this node has a record here.
    async fn deleted(&mut self, deleted: &DeletedClaim) {
        let Some(record) = self.record(&deleted.container, &deleted.if_name) else { return };
        let claim = record
            .claims
            .iter()
            .find(|claim| claim.objects().any(|(name, _)| name.as_str() == &*deleted.name))
            .cloned();
        if let Some(claim) = claim {
            let _ = self.examine(&record, &claim).await;
        }
    }

    /// Begins a round if it is time for one, and examines one claim of a pool that is not watched.
    async fn tick(&mut self) {
        if self.waiting.is_empty() && self.round.is_none_or(|began| began.elapsed() >= ROUND) {
            self.begin_round().await;
        }
        if let Some((record, claim)) = self.waiting.pop_front() {
            let _ = self.examine(&record, &claim).await;
        }
    }

    /// Compares every record with the pool caches.
    async fn begin_round(&mut self) {
        self.round = Some(Instant::now());
        let records = self.records.all().unwrap_or_default();
        let all: Vec<Recorded> = records
            .iter()
            .flat_map(|record| record.claims.iter().map(move |claim| (record.clone(), claim.clone())))
            .collect();
        self.held_twice.retain(|key, _| all.iter().any(|(record, claim)| *key == self::key(record, claim)));
        self.service.metrics.set_held_twice(self.held_twice.len());
        let mut missing = Vec::new();
        for (record, claim) in all {
            // The caches are those of the daemon's own namespace.
            let is_cached = record.namespace.as_ref().is_none_or(|other| *other == self.service.namespace);
            let evidence =
                if is_cached { self.service.caches.evidence(&record, &claim) } else { Evidence::Unknown };
            match evidence {
                Evidence::Held => {}
                Evidence::Missing => missing.push((record, claim)),
                Evidence::Unknown => self.waiting.push_back((record, claim)),
            }
        }
        for (record, claim) in missing {
            // The API server has a problem: leave the rest to the next round.
            if self.examine(&record, &claim).await.is_err() {
                return;
            }
        }
    }

    /// Examines a claim of an attachment, and makes it again if it is missing.
    async fn examine(&mut self, record: &Record, claim: &HeldClaim) -> Result<(), ApiError> {
        if !self.is_attached(record, claim) {
            return Ok(());
        }
        // A newer call for the interface, or its release, decides about the claim itself.
        let Some(request) = self.service.in_flight.begin_if_idle(record) else { return Ok(()) };
        let service = self.service.clone();
        let claims = service.claims_until(record.namespace.as_ref(), Deadline::after(LIMIT));
        let result = match claims.holder(record, claim).await {
            Ok(Holder::Attachment) => {
                self.held_twice.remove(&key(record, claim));
                Ok(())
            }
            Ok(Holder::Other(other)) => self.held_by_other(&claims, record, claim, &other).await,
            Ok(Holder::Nobody) => self.restore(&claims, &request, record, claim).await,
            Err(error) => Err(error),
        };
        self.service.metrics.set_held_twice(self.held_twice.len());
        result.inspect_err(|error| {
            tracing::warn!(pod = %record.podref, claim = %claim.name, %error, "the claim of a running pod is not examined; trying again");
        })
    }

    /// Makes a missing claim again, if the rules of the module allow it.
    async fn restore(
        &mut self,
        claims: &Claims<'_>,
        request: &InFlightRequest,
        record: &Record,
        claim: &HeldClaim,
    ) -> Result<(), ApiError> {
        self.held_twice.remove(&key(record, claim));
        if claims.pod_life(record).await? == PodLife::GoneOrUnknown || self.has_other_sandbox(record) {
            return Ok(());
        }
        if request.is_superseded() || !self.is_attached(record, claim) {
            return Ok(());
        }
        let created = claims.create_again(record, claim, &self.node).await;
        let created = created.inspect_err(|_| self.service.metrics.restored(TaskOutcome::Failed))?;
        // Another pod was faster: the next examination reports it.
        let Some(created) = created else { return Ok(()) };
        if !self.is_attached(record, claim) {
            return claims.undo_create(&created).await;
        }
        self.service.metrics.restored(TaskOutcome::Done);
        tracing::warn!(
            pod = %record.podref, interface = %record.if_name, claim = %claim.name,
            "somebody deleted the claim of a running pod: it is made again"
        );
        Ok(())
    }

    /// Another pod has the claim of a running pod's address: both get an event, once.
    async fn held_by_other(
        &mut self,
        claims: &Claims<'_>,
        record: &Record,
        claim: &HeldClaim,
        other: &Reservation,
    ) -> Result<(), ApiError> {
        let podref = &other.spec.podref;
        if self.held_twice.get(&key(record, claim)) == Some(podref) {
            return Ok(());
        }
        let lives = claims.pod_life(record).await? == PodLife::Lives;
        if !lives || self.has_other_sandbox(record) || !self.is_attached(record, claim) {
            return Ok(());
        }
        self.held_twice.insert(key(record, claim), podref.clone());
        let text = held_twice(record, claim, podref);
        tracing::error!(claim = %claim.name, "{text}");
        for (podref, uid) in [(&record.podref, record.pod_uid.as_deref()), (podref, other.pod_uid())] {
            self.report(claims, podref, uid, &text).await;
        }
        Ok(())
    }

    /// Creates an event for a pod. If that fails, the log and the metric have to do.
    async fn report(&self, claims: &Claims<'_>, podref: &str, uid: Option<&str>, text: &str) {
        // A reservation that somebody made by hand names no pod.
        let Ok(pod) = podref.parse::<nad::PodRef>() else { return };
        let uid = uid.and_then(|uid| PodUid::new(uid).ok());
        let subject = Subject { uid, ..Subject::from(pod) };
        let reporter = Reporter { component: COMPONENT, host: &self.node };
        let event = about_pod(&subject, Severity::Warning, REASON, text, reporter, node::clock::now());
        let events = ResourceKind::EVENTS.in_namespace(&subject.namespace);
        if let Err(error) = claims.api.create::<IgnoredAny>(&events, &event, claims.deadline).await {
            tracing::debug!(%error, "event not created");
        }
    }

    fn record(&self, container: &str, if_name: &str) -> Option<Record> {
        let (container, if_name) = (ContainerId::parse(container).ok()?, IfName::parse(if_name).ok()?);
        self.records.read(&container, &if_name).ok().flatten()
    }

    /// Whether the record is still there and lists the claim: no DEL has begun.
    fn is_attached(&self, record: &Record, claim: &HeldClaim) -> bool {
        let present = self.record(&record.container_id, &record.if_name);
        present.is_some_and(|present| present.claims.iter().any(|other| other.name == claim.name))
    }

    /// Whether another record is for the same interface of the same pod. If the records cannot be read, one may be.
    fn has_other_sandbox(&self, record: &Record) -> bool {
        let is_other = |other: &Record| {
            other.podref == record.podref
                && other.if_name == record.if_name
                && other.container_id != record.container_id
        };
        self.records.all().map_or(true, |all| all.iter().any(is_other))
    }
}

fn key(record: &Record, claim: &HeldClaim) -> Key {
    (record.container_id.clone(), record.if_name.clone(), claim.name.to_string())
}

fn held_twice(record: &Record, claim: &HeldClaim, other: &str) -> String {
    let other =
        if other.is_empty() { "a reservation without a pod".to_owned() } else { format!("pod {other}") };
    format!(
        "pod {} ({}) uses {}, but its reservation {} was deleted, and {other} has the address now: delete one of the two",
        record.podref,
        record.if_name,
        claim.address.addr(),
        claim.name
    )
}

#[cfg(test)]
mod tests;
