//! Sending events.

use futures::future::join_all;
use k8s_openapi::api::core::v1::Event;
use node::client::{ApiClient, ResourceKind};
use node::deadline::Deadline;
use node::names::DnsLabel;
use serde::de::IgnoredAny;

/// Sends these events until `deadline`, each once. Failures are ignored: a lost event is no reason to undo an attachment.
pub(crate) async fn send_events(client: &ApiClient, events: &[Event], deadline: Deadline) {
    let send = async |event: &Event| {
        let Some(Ok(namespace)) = event.metadata.namespace.as_deref().map(DnsLabel::new) else { return };
        let events = ResourceKind::EVENTS.in_namespace(&namespace);
        let _ = client.create::<IgnoredAny>(&events, event, deadline).await;
    };
    // The client keeps the deadline.
    join_all(events.iter().map(send)).await;
}
