//! The last ADD that failed.

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use super::facts::{EventFacts, Facts, PodNetwork, Status};
use super::symptoms;
use crate::age::age;
use crate::cluster::{ATTACHED, REFUSED_ADD};

/// A refused ADD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The text of the kubelet's event.
    pub message: String,
    /// How often the kubelet has reported it.
    pub count: i32,
    /// How long ago the last time was.
    pub age: String,
    /// What it means; empty if the text is not known.
    pub cause: String,
    /// What to do; empty if the text is not known.
    pub remedy: String,
}

/// The last refused ADD of a pod that still waits for its networks.
pub(super) fn last(facts: &Facts, now: Timestamp) -> Option<Refused> {
    let events = facts.events.as_ref().ok()?;
    let newest = |reason: &str| -> Option<&EventFacts> {
        events.iter().filter(|event| event.reason == reason).max_by_key(|event| event.last)
    };
    let event = newest(REFUSED_ADD)?;
    let is_waiting = match newest(ATTACHED) {
        // A later ADD succeeded, or this one is of a new sandbox.
        Some(attached) => event.last > attached.last,
        None => facts.pod.phase == "Pending" && facts.pod.status == Status::Absent,
    };
    if !is_waiting || facts.pod.network == PodNetwork::Hosts {
        return None;
    }
    let symptom = symptoms::find(&event.message);
    Some(Refused {
        message: event.message.clone(),
        count: event.count,
        age: age(event.last, now),
        cause: symptom.map(|symptom| symptom.cause.to_owned()).unwrap_or_default(),
        remedy: symptom.map(|symptom| symptom.remedy.to_owned()).unwrap_or_default(),
    })
}
