//! Sending events.

use k8s_openapi::api::core::v1::Event;
use node::client::{ApiClient, ResourceKind};
use node::deadline::Deadline;
use node::names::DnsLabel;
use serde::de::IgnoredAny;

/// Sends these events until `deadline`, each once and one after the other, so that one connection is enough. Failures are ignored: a lost
/// event is no reason to undo an attachment, and nobody waits for the answer.
pub(crate) async fn send_events(client: &ApiClient, events: &[Event], deadline: Deadline) {
    for event in events {
        let Some(Ok(namespace)) = event.metadata.namespace.as_deref().map(DnsLabel::new) else { continue };
        let events = ResourceKind::EVENTS.in_namespace(&namespace);
        // The client keeps the deadline.
        let _ = client.create::<IgnoredAny>(&events, event, deadline).await;
    }
}
