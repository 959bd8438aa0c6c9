//! What the pod's owner reads in `kubectl describe pod`: upstream's reasons and texts.

use cni::result::CniResult;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::Timestamp;
use node::event::{Reporter, Severity, Subject, about_pod};

use crate::nad::NadRef;
use crate::pod::Pod;

/// That the pod has a network: `Add net1 [10.1.1.11/24] from default/macvlan-conf`. Nothing for a result that made nothing.
pub fn added(pod: &Pod, label: &str, if_name: &str, result: &CniResult, now: Timestamp) -> Option<Event> {
    if result.interfaces.is_empty() && result.ips.is_empty() {
        return None;
    }
    let ips: Vec<String> = result.ips.iter().map(|ip| ip.address.to_string()).collect();
    let from = if label.is_empty() { String::new() } else { format!(" from {label}") };
    let message = format!("Add {if_name} [{}]{from}", ips.join(" "));
    Some(event(pod, Severity::Normal, "AddedInterface", &message, now))
}

/// That the pod names a network that is not there.
pub fn no_network_found(pod: &Pod, at: &NadRef, reason: &str, now: Timestamp) -> Event {
    let NadRef { namespace, name } = at;
    let message =
        format!("cannot find a network-attachment-definition ({name}) in namespace ({namespace}): {reason}");
    event(pod, Severity::Warning, "NoNetworkFound", &message, now)
}

fn event(pod: &Pod, severity: Severity, reason: &str, message: &str, now: Timestamp) -> Event {
    let subject =
        Subject { namespace: pod.at.namespace.clone(), name: pod.at.name.clone(), uid: pod.at.uid.clone() };
    let reporter = Reporter { component: "multus", host: pod.node.as_deref().unwrap_or_default() };
    about_pod(&subject, severity, reason, message, reporter, now)
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
    fn an_attachment_is_told_with_its_addresses() {
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
    fn a_missing_network_is_a_warning_on_the_pod() {
        let at = NadRef { namespace: DnsLabel::new("ns").unwrap(), name: DnsSubdomain::new("nope").unwrap() };
        let event =
            serde_json::to_value(no_network_found(&pod("default", "pod0"), &at, "not found", now())).unwrap();
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
