//! Why something is missing.

use std::net::IpAddr;

use nad::NETWORKS;

use super::asked::{Asked, NetworkState};
use super::attached::Attached;
use super::facts::{Deletion, Facts, Lookup, PodNetwork, Status};
use super::problem::Problem;
use super::refused::Refused;
use crate::cluster::{ATTACHED, NOT_DELETED};

/// What is wrong with the pod as a whole.
pub(super) fn of(
    facts: &Facts,
    asked: &[Asked],
    attached: &[Attached],
    refused: Option<&Refused>,
) -> Vec<Problem> {
    let pod = &facts.pod;
    let mut problems = Vec::new();
    if let Status::Unreadable(reason) = &pod.status {
        problems.push(Problem::new(
            format!("network-status is not what multus writes: {reason}"),
            "find out who writes it; multus writes it again when the pod is created again",
        ));
    }
    if pod.network == PodNetwork::Hosts {
        if !pod.networks.trim().is_empty() {
            problems.push(Problem::new(
                "the pod uses the network of its node (hostNetwork), so that no CNI plugin runs for it",
                "remove hostNetwork, or the annotation",
            ));
        }
        return problems;
    }
    problems.extend(not_deleted(facts));
    if pod.deletion == Deletion::Asked {
        return problems;
    }
    match pod.phase.as_str() {
        "Pending" if pod.node.is_empty() => problems.push(Problem::new(
            "no node was chosen for the pod yet, so that nothing could attach its networks",
            "see why with \"kubectl describe pod\"",
        )),
        "Pending" => problems.extend(waiting(facts, refused)),
        "Running" => problems.extend(missing(facts, asked)),
        _ => {}
    }
    problems.extend(unclaimed(facts, asked, attached));
    problems
}

/// What a pod waits for whose node is known.
fn waiting(facts: &Facts, refused: Option<&Refused>) -> Option<Problem> {
    if refused.is_some() {
        return None;
    }
    match facts.pod.status {
        Status::Entries(_) => Some(Problem::new(
            "the networks are attached; the pod waits for something else",
            "see for what with \"kubectl describe pod\"",
        )),
        Status::Absent if facts.events.is_ok() => Some(Problem::new(
            "no ADD of this pod has failed in the last hour, and none has succeeded: the kubelet has not asked for the networks yet, or waits for \
             an answer",
            "see the events with \"kubectl describe pod\", and the log of the container runtime on the node",
        )),
        Status::Absent | Status::Unreadable(_) => None,
    }
}

/// Why a running pod does not have what it asked for.
fn missing(facts: &Facts, asked: &[Asked]) -> Vec<Problem> {
    let lost: Vec<&Asked> = asked.iter().filter(|asked| asked.state == NetworkState::NotAttached).collect();
    if lost.is_empty() {
        return Vec::new();
    }
    let names = lost.iter().map(|asked| asked.network.as_str()).collect::<Vec<_>>().join(", ");
    let is_there = |asked: &Asked| has_claim(facts, asked) || has_event(facts, asked);
    if lost.iter().any(|asked| is_there(asked)) {
        let how = if facts.pod.status == Status::Absent { "removed" } else { "replaced" };
        return vec![Problem::new(
            format!(
                "{names}: attached, but not in network-status, which somebody has {how}. antrea-agent does so while its feature gate SecondaryNetwork is on"
            ),
            "the interfaces work; to keep network-status, refuse its removal by antrea-agent with a ValidatingAdmissionPolicy, or turn the gate off",
        )];
    }
    if facts.pod.status == Status::Absent {
        // A claim would show that such a network is attached.
        let is_certain = facts.claims.is_ok() && lost.iter().any(|asked| !asked.ranges.is_empty());
        let node = &facts.pod.node;
        let or = if is_certain {
            ""
        } else {
            ", or antrea-agent has removed network-status more than an hour ago"
        };
        return vec![Problem::new(
            format!(
                "{names}: not attached, and there is no network-status: the runtime of node {node} did not run multus for this pod{or}"
            ),
            "on the node, see that the multus configuration is the first file in /etc/cni/net.d and that no other network has renamed it (as \
             Cilium does with cni.exclusive); then create the pod again",
        )];
    }
    vec![Problem::new(
        format!(
            "{names}: not attached, though other networks are: the annotation {NETWORKS} was changed after the pod started"
        ),
        "create the pod again; where multus-hotplug runs, the events of the pod say what it waits for",
    )]
}

fn has_claim(facts: &Facts, asked: &Asked) -> bool {
    let is_of = |interface: &str, uid: Option<&str>| {
        interface == asked.interface && uid.is_none_or(|uid| facts.pod.identity.is(uid))
    };
    facts.claims.iter().flatten().any(|claim| is_of(&claim.interface, claim.pod_uid.as_deref()))
}

fn has_event(facts: &Facts, asked: &Asked) -> bool {
    // "Add net1 [10.1.1.11/24] from default/macvlan-conf", or of multus-hotplug "pod [default/web-0]: added interface net1 to network:
    // default/macvlan-conf(ips: [10.1.1.11/24])"
    let (from, to) = (format!(" from {}", asked.network), format!(" to network: {}(", asked.network));
    let is_of = |message: &str| message.ends_with(&from) || message.contains(&to);
    facts.events.iter().flatten().any(|event| event.reason == ATTACHED && is_of(&event.message))
}

/// Addresses of whereabouts networks that no claim protects.
fn unclaimed(facts: &Facts, asked: &[Asked], attached: &[Attached]) -> Vec<Problem> {
    let Ok(claims) = &facts.claims else { return Vec::new() };
    let is_claimed = |ip: &str| claims.iter().any(|claim| claim.address == ip);
    let from_ranges = |asked: &Asked, ip: &str| {
        let ip: Option<IpAddr> = ip.parse().ok();
        let mut ranges = asked.ranges.iter().filter_map(|range| range.parse::<ipnet::IpNet>().ok());
        ip.is_some_and(|ip| ranges.any(|range| range.contains(&ip)))
    };
    let mut problems = Vec::new();
    for entry in attached {
        let Some(asked) =
            asked.iter().find(|asked| asked.network == entry.network && asked.interface == entry.interface)
        else {
            continue;
        };
        for ip in entry.ips.iter().filter(|ip| from_ranges(asked, ip) && !is_claimed(ip)) {
            problems.push(Problem::new(
                format!("address {ip} of {} has no claim, so that another pod may get it", entry.interface),
                "see \"kubectl multus pools --holders\"; to be safe, create the pod again",
            ));
        }
    }
    problems
}

fn not_deleted(facts: &Facts) -> Option<Problem> {
    let events = facts.events.iter().flatten().filter(|event| event.reason == NOT_DELETED);
    let last = events.max_by_key(|event| event.last)?;
    Some(Problem::new(
        last.message.clone(),
        "remove the cause on the node; the next DEL there tries again, as long as the file in /var/lib/cni/multus/multus-rs/tombstones is there",
    ))
}

/// What could not be read, and what is good to know.
pub(super) fn notes(facts: &Facts, asked: &[Asked]) -> Vec<String> {
    let mut notes = Vec::new();
    let unreadable = facts.definitions.iter().filter_map(|(nad_ref, lookup)| match lookup {
        Lookup::Unreadable(reason) => {
            Some(format!("network-attachment-definition {nad_ref} cannot be read: {reason}"))
        }
        Lookup::Found(_) | Lookup::Absent => None,
    });
    notes.extend(unreadable);
    if let Err(reason) = &facts.claims {
        notes.push(format!("claims cannot be read, so that addresses are not compared with them: {reason}"));
    }
    if let Err(reason) = &facts.events {
        notes.push(format!("events cannot be read: {reason}"));
    }
    for asked in asked.iter().filter(|asked| asked.state == NetworkState::LeftToAntrea) {
        notes.push(format!(
            "{} is of CNI type antrea with a networkType: antrea-agent attaches it, if its feature gate SecondaryNetwork is on, and multus leaves it alone",
            asked.network
        ));
    }
    if facts.pod.network == PodNetwork::Own
        && facts.pod.phase == "Running"
        && facts.pod.status == Status::Absent
        && asked.is_empty()
    {
        notes.push("there is no network-status: multus did not run for this pod, or antrea-agent has removed it (feature gate SecondaryNetwork)".to_owned());
    }
    notes
}
