//! Which networks of a running pod to remove and to add: the annotation compared with the record.
//!
//! A network is the same if its definition and its interface are. An element of the annotation that names no interface accepts any interface of its
//! network. The default network, and those that the configuration gives to every pod, are never touched.

use std::collections::BTreeSet;

use cni::names::IfName;
use serde_json::{Map, Value};

use crate::record::Recorded;
use crate::request::{NetworkRequest, Origin, Requester};

/// Whether the ADD of a recorded network is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// It is.
    Whole,
    /// It began, and its end is not known.
    Partial,
}

/// How far a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing is removed yet: the interfaces of what will be removed are free then.
    Before,
    /// What could be removed is removed: what is recorded has its interface.
    Removed,
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Decision {
    /// The networks to remove, by their places in the record; before any is added.
    pub(super) detach: Vec<usize>,
    /// The networks to add, in the order of the annotation.
    pub(super) attach: Vec<Addition>,
    /// Networks whose interface another network has.
    pub(super) taken: Vec<Addition>,
    /// Attached networks whose arguments changed in the annotation.
    pub(super) changed: Vec<Changed>,
}

/// An attached network whose arguments changed in the annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Changed {
    /// Its place in the record.
    pub(super) recorded: usize,
    /// The arguments that are requested now.
    pub(super) arguments: Map<String, Value>,
}

/// A network to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Addition {
    /// The place of its request.
    pub(super) request: usize,
    /// Its interface.
    pub(super) if_name: IfName,
}

/// Compares `requests`, those of the configuration and of the pod, with the record. `extents` says of each recorded network how far it came.
pub(super) fn decide(
    record: &[Recorded],
    extents: &[Extent],
    requests: &[NetworkRequest],
    stage: Stage,
) -> Decision {
    let matches = matches(record, extents, requests);
    let is_matched = |at: usize| matches.iter().any(|found| found.recorded == Some(at));
    let is_removed = |(at, one): &(usize, &Recorded)| *at > 0 && one.requested.is_some() && !is_matched(*at);
    let detach: Vec<usize> = record.iter().enumerate().filter(is_removed).map(|(at, _)| at).collect();
    let stays = record.iter().enumerate().filter(|(at, _)| stage == Stage::Removed || !detach.contains(at));
    let mut taken: BTreeSet<IfName> = stays.map(|(_, one)| one.if_name.clone()).collect();
    let mut decision = Decision { detach, ..Decision::default() };
    // The requested names first: a generated name must not take one of them.
    let missing = || matches.iter().filter(|found| found.recorded.is_none());
    let mut additions = Vec::new();
    for Match { request, interface, .. } in missing() {
        let Some(if_name) = interface.clone() else { continue };
        let is_free = taken.insert(if_name.clone());
        let addition = Addition { request: *request, if_name };
        if is_free { additions.push(addition) } else { decision.taken.push(addition) }
    }
    for Match { request, .. } in missing().filter(|found| found.interface.is_none()) {
        if let Some(if_name) = free_name(*request, &taken) {
            taken.insert(if_name.clone());
            additions.push(Addition { request: *request, if_name });
        }
    }
    additions.sort_by_key(|addition| addition.request);
    decision.attach = additions;
    let changed = |found: &Match| {
        let at = found.recorded?;
        let recorded = record.get(at)?.requested.as_ref()?;
        let is_changed = *recorded != found.arguments;
        is_changed.then(|| Changed { recorded: at, arguments: found.arguments.clone() })
    };
    decision.changed = matches.iter().filter_map(changed).collect();
    decision
}

/// The places of the record in the order of network-status: as the networks of a new pod with this annotation.
pub(super) fn order(record: &[Recorded], requests: &[NetworkRequest]) -> Vec<usize> {
    let matches = matches(record, &[], requests);
    let first_own = record.iter().skip(1).position(|one| one.requested.is_some());
    let first_own = first_own.map_or(record.len(), |at| at.saturating_add(1));
    let rank = |at: usize| match matches.iter().find(|found| found.recorded == Some(at)) {
        Some(found) => (1, found.request),
        None if at < first_own => (0, at),
        // The auxiliary chain, and networks that could not be removed yet.
        None => (2, at),
    };
    let mut places: Vec<usize> = (0..record.len()).collect();
    places.sort_by_key(|at| rank(*at));
    places
}

/// A network that the pod requests, and where the record has it.
struct Match {
    request: usize,
    interface: Option<IfName>,
    arguments: Map<String, Value>,
    recorded: Option<usize>,
}

fn matches(record: &[Recorded], extents: &[Extent], requests: &[NetworkRequest]) -> Vec<Match> {
    let mut matches = Vec::new();
    let mut labels = Vec::new();
    // The first request is the default network, also if an annotation names it.
    for (at, request) in requests.iter().enumerate().skip(1) {
        let (Origin::Definition(nad_ref), Requester::Pod) = (&request.origin, request.attachment.requester)
        else {
            continue;
        };
        labels.push(nad_ref.to_string());
        let (interface, arguments) = (request.attachment.interface.clone(), request.attachment.arguments());
        matches.push(Match { request: at, interface, arguments, recorded: None });
    }
    let mut used = BTreeSet::new();
    // Those that name an interface first, then those with the name of their place, then the others.
    for pass in [Pass::Named, Pass::ByPlace, Pass::Any] {
        for (found, label) in matches.iter_mut().zip(&labels) {
            let wanted = match (pass, &found.interface) {
                (Pass::Named, Some(name)) => Some(name.as_str().to_owned()),
                (Pass::ByPlace, None) => Some(format!("net{}", found.request)),
                (Pass::Any, None) => None,
                (Pass::Named, None) | (Pass::ByPlace | Pass::Any, Some(_)) => continue,
            };
            let is_it = |(at, one): &(usize, &Recorded)| {
                let is_whole = one.requested.is_none() || extents.get(*at) != Some(&Extent::Partial);
                let has_name = wanted.as_ref().is_none_or(|name| one.if_name.as_str() == name);
                *at > 0 && !used.contains(at) && is_whole && one.network.label == *label && has_name
            };
            if found.recorded.is_none()
                && let Some((at, _)) = record.iter().enumerate().find(is_it)
            {
                found.recorded = Some(at);
                used.insert(at);
            }
        }
    }
    matches
}

#[derive(Clone, Copy)]
enum Pass {
    Named,
    ByPlace,
    Any,
}

/// The name that ADD gives to the network at this place, or the lowest one that is free. `None` never comes: there are more names than networks.
fn free_name(place: usize, taken: &BTreeSet<IfName>) -> Option<IfName> {
    let of = |number: usize| IfName::parse(&format!("net{number}")).ok();
    let lowest = (1..=taken.len().saturating_add(1)).filter_map(of);
    of(place).into_iter().chain(lowest).find(|name| !taken.contains(name))
}

#[cfg(test)]
mod tests;
