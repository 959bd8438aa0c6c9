//! The events that `kubectl describe pod` shows. Upstream's reasons and texts.

use cni::result::CniResult;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::Timestamp;
use nad::{NadRef, PodRef};
use node::event::{Reporter, Severity, about_pod};

use super::status::made_something;
use crate::plan::LeftToAntrea;
use crate::request::Pod;

/// The event of an attachment: `Add net1 [10.1.1.11/24] from default/macvlan-conf`. `None` for a result without interfaces and
/// addresses.
pub(crate) fn added(
    pod: &Pod,
    label: &str,
    if_name: &str,
    result: &CniResult,
    now: Timestamp,
) -> Option<Event> {
    if !made_something(result) {
        return None;
    }
    let ips: Vec<String> = result.ips.iter().map(|ip| ip.address.to_string()).collect();
    let from = if label.is_empty() { String::new() } else { format!(" from {label}") };
    let message = format!("Add {if_name} [{}]{from}", ips.join(" "));
    Some(event(pod, Severity::Normal, "AddedInterface", &message, now))
}

/// The event of a network that the pod requests and that does not exist.
pub(crate) fn no_network_found(pod: &Pod, nad_ref: &NadRef, reason: &str, now: Timestamp) -> Event {
    let NadRef { namespace, name } = nad_ref;
    let message =
        format!("cannot find a network-attachment-definition ({name}) in namespace ({namespace}): {reason}");
    event(pod, Severity::Warning, "NoNetworkFound", &message, now)
}

/// The event of a network that Antrea's agent attaches, or does not: multus cannot see which.
pub(crate) fn left_to_antrea(pod: &Pod, left: &LeftToAntrea, now: Timestamp) -> Event {
    let LeftToAntrea { network, network_type } = left;
    let message = format!(
        "network {network} (type antrea, networkType {network_type}) is left to Antrea's agent, which attaches it if its feature gate \
         SecondaryNetwork is on"
    );
    event(pod, Severity::Normal, "LeftToAntrea", &message, now)
}

/// The event of networks whose DEL ended without success.
pub(crate) fn network_not_deleted(pod: &PodRef, what: &str, now: Timestamp) -> Event {
    // DEL does not know the node's name.
    let reporter = Reporter { component: "multus", host: "" };
    about_pod(&pod.clone().into(), Severity::Warning, "NetworkNotDeleted", what, reporter, now)
}

pub(super) fn event(pod: &Pod, severity: Severity, reason: &str, message: &str, now: Timestamp) -> Event {
    let reporter = Reporter { component: "multus", host: pod.node.as_deref().unwrap_or_default() };
    about_pod(&pod.pod_ref.clone().into(), severity, reason, message, reporter, now)
}

#[cfg(test)]
mod tests {
    use cni::Version;
    use cni::result::RawResult;
    use node::names::{DnsLabel, DnsSubdomain};
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::pod;

    fn now() -> Timestamp {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    fn message(result: Value, label: &str) -> Option<String> {
        let result = RawResult::from_value(result, Version::V1_0_0).unwrap().parse().unwrap();
        added(&pod("default", "pod0"), label, "net1", &result, now())?.message
    }

    #[test]
    fn the_event_of_an_attachment_has_its_addresses() {
        let ips = json!({"ips": [{"address": "10.1.1.11/24"}, {"address": "fd00::b/64"}]});
        assert_eq!(
            message(ips.clone(), "default/a").unwrap(),
            "Add net1 [10.1.1.11/24 fd00::b/64] from default/a"
        );
        assert_eq!(message(ips, "").unwrap(), "Add net1 [10.1.1.11/24 fd00::b/64]");
        assert_eq!(message(json!({"interfaces": [{"name": "x"}]}), "a").unwrap(), "Add net1 [] from a");
        assert_eq!(message(json!({}), "a"), None);
    }

    #[test]
    fn the_event_of_a_missing_network_is_a_warning_about_the_pod() {
        let nad_ref =
            NadRef { namespace: DnsLabel::new("ns").unwrap(), name: DnsSubdomain::new("nope").unwrap() };
        let event =
            serde_json::to_value(no_network_found(&pod("default", "pod0"), &nad_ref, "not found", now()))
                .unwrap();
        assert_eq!(
            event["message"],
            "cannot find a network-attachment-definition (nope) in namespace (ns): not found"
        );
        assert_eq!((&event["type"], &event["reason"]), (&json!("Warning"), &json!("NoNetworkFound")));
        assert_eq!(
            (&event["involvedObject"]["uid"], &event["source"]["host"]),
            (&json!("u-1"), &json!("n1"))
        );
        assert_eq!(event["source"]["component"], "multus");
    }
}
