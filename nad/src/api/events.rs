//! Sending events.

use k8s_openapi::api::core::v1::Event;
use node::client::{ApiClient, ApiError, ResourceKind};
use node::deadline::Deadline;
use node::names::DnsLabel;
use serde::de::IgnoredAny;

/// Sends these events until `deadline`, each once and one after the other, so that one connection is enough. Failures are ignored: a lost
/// event is no reason to undo an attachment, and nobody waits for the answer.
pub async fn send_events(client: &ApiClient, events: &[Event], deadline: Deadline) {
    for event in events {
        // The client keeps the deadline.
        let _ = send_event(client, event, deadline).await;
    }
}

/// Sends this event once. One without a valid namespace is not sent.
///
/// # Errors
/// [`ApiError`].
pub async fn send_event(client: &ApiClient, event: &Event, deadline: Deadline) -> Result<(), ApiError> {
    let Some(Ok(namespace)) = event.metadata.namespace.as_deref().map(DnsLabel::new) else { return Ok(()) };
    let events = ResourceKind::EVENTS.in_namespace(&namespace);
    client.create::<IgnoredAny>(&events, event, deadline).await.map(drop)
}
