//! Events, which `kubectl describe pod` shows to the pod's owner.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;

use crate::names::{DnsLabel, DnsSubdomain, PodUid};
use crate::text::printable;

/// The longest message, in bytes. The API server's limit is 1024.
const MAX_MESSAGE: usize = 1000;

/// The type of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Something worked as expected.
    Normal,
    /// Somebody should look at it.
    Warning,
}

/// The pod an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its namespace.
    pub namespace: DnsLabel,
    /// Its name.
    pub name: DnsSubdomain,
    /// Its UID. `kubectl describe` does not show an event without it.
    pub uid: Option<PodUid>,
}

/// An event to create in the pod's namespace. `reason` is one CamelCase word. Control characters in `message` are escaped, and a long one is cut.
pub fn about_pod(
    subject: &Subject,
    severity: Severity,
    reason: &str,
    message: &str,
    reporter: Reporter<'_>,
    now: Timestamp,
) -> Event {
    Event {
        metadata: ObjectMeta {
            name: Some(name(&subject.name, message, now)),
            namespace: Some(subject.namespace.to_string()),
            ..Default::default()
        },
        involved_object: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(subject.name.to_string()),
            namespace: Some(subject.namespace.to_string()),
            uid: subject.uid.as_ref().map(PodUid::to_string),
            ..Default::default()
        },
        type_: Some(match severity {
            Severity::Normal => "Normal".to_owned(),
            Severity::Warning => "Warning".to_owned(),
        }),
        reason: Some(reason.to_owned()),
        message: Some(cut(message)),
        source: Some(EventSource {
            component: Some(reporter.component.to_owned()),
            host: Some(reporter.host.to_owned()),
        }),
        reporting_component: Some(reporter.component.to_owned()),
        reporting_instance: Some(reporter.host.to_owned()),
        count: Some(1),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        ..Default::default()
    }
}

/// The reporter of an event.
#[derive(Debug, Clone, Copy)]
pub struct Reporter<'a> {
    /// The program.
    pub component: &'a str,
    /// The node it runs on.
    pub host: &'a str,
}

/// The name of the event. client-go uses pod and time. The hash of the message is added because one ADD may report several events at one moment.
fn name(pod: &DnsSubdomain, message: &str, now: Timestamp) -> String {
    // A name has at most 253 characters.
    let stem: String = pod.as_str().chars().take(200).collect();
    let mut hasher = DefaultHasher::new();
    message.hash(&mut hasher);
    format!("{}.{:x}{:08x}", stem.trim_end_matches(['.', '-']), now.as_nanosecond(), hasher.finish() as u32)
}

fn cut(message: &str) -> String {
    let mut text = printable(message, MAX_MESSAGE);
    text.truncate(MAX_MESSAGE); // printable text is ASCII
    text
}

#[cfg(test)]
mod tests {
    use super::{Reporter, Severity, Subject, about_pod};
    use crate::names::{DnsLabel, DnsSubdomain, PodUid};

    fn event(message: &str) -> serde_json::Value {
        let subject = Subject {
            namespace: DnsLabel::new("default").unwrap(),
            name: DnsSubdomain::new("web-0").unwrap(),
            uid: Some(PodUid::new("u-1").unwrap()),
        };
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        let reporter = Reporter { component: "multus", host: "n1" };
        serde_json::to_value(about_pod(&subject, Severity::Warning, "NoNetwork", message, reporter, now))
            .unwrap()
    }

    #[test]
    fn two_messages_at_one_moment_are_two_events() {
        assert_ne!(event("one")["metadata"]["name"], event("two")["metadata"]["name"]);
        assert_eq!(event("one")["metadata"]["name"], event("one")["metadata"]["name"]);
    }

    #[test]
    fn an_event_names_the_pod_the_reason_and_the_time() {
        let event = event("net1 failed");
        assert_eq!(event["involvedObject"]["uid"], "u-1");
        assert_eq!(event["metadata"]["namespace"], "default");
        let name = event["metadata"]["name"].as_str().unwrap();
        assert!(
            name.starts_with("web-0.18eaa440dfca4000") && name.len() == "web-0.18eaa440dfca4000".len() + 8,
            "{name}"
        );
        assert_eq!(event["type"], "Warning");
        assert_eq!(event["reason"], "NoNetwork");
        assert_eq!(event["source"]["component"], "multus");
        assert_eq!(event["lastTimestamp"], "2026-11-23T10:00:00Z");
    }

    #[test]
    fn the_name_is_valid_for_the_longest_pod_name() {
        let pod = DnsSubdomain::new(format!("{}-{}", "a".repeat(199), "b".repeat(53))).unwrap();
        let name = super::name(&pod, "text", "2026-11-23T10:00:00Z".parse().unwrap());
        assert!(name.starts_with(&format!("{}.18ea", "a".repeat(199))), "{name}");
        DnsSubdomain::new(name).unwrap();
    }

    #[test]
    fn a_long_message_is_cut() {
        let message = event(&"\n".repeat(5000))["message"].as_str().unwrap().to_owned();
        assert_eq!(message.len(), 1000);
        assert!(message.starts_with("\\n"));
    }
}
