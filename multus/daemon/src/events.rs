//! Events about pods, which are sent when there is time: no ADD waits for them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Event;
use nad::api::send_event;
use node::client::{ApiClient, OnUnknown, RetryPolicy, retry};
use node::deadline::Deadline;
use tokio::sync::Notify;

use crate::metrics::{Metrics, Outcome};

/// The most events that wait, some 2 KB each. A node with 150 pods that start at once has some 450.
const CAPACITY: usize = 1024;

/// How many events are sent at the same time. Pods need the API server more.
const AT_ONCE: usize = 4;

/// How long one event is tried.
const LIMIT: Duration = Duration::from_secs(10);

/// The events that wait.
#[derive(Debug)]
pub(crate) struct Events {
    api: ApiClient,
    metrics: Metrics,
    waiting: Mutex<VecDeque<Event>>,
    wake: Notify,
}

impl Events {
    /// Without events.
    pub(crate) fn new(api: ApiClient, metrics: Metrics) -> Self {
        Events { api, metrics, waiting: Mutex::default(), wake: Notify::new() }
    }

    /// Queues events in their order. Those for which there is no room are dropped and counted.
    pub(crate) fn push(&self, events: Vec<Event>) {
        let mut waiting = self.waiting();
        let room = CAPACITY.saturating_sub(waiting.len());
        let dropped = events.len().saturating_sub(room);
        waiting.extend(events.into_iter().take(room));
        drop(waiting);
        if dropped > 0 {
            self.metrics.events(Outcome::Dropped, dropped);
            tracing::warn!(
                dropped,
                "the API server is too slow for the events of this node; some are not sent"
            );
        }
        self.wake.notify_one();
    }

    /// Sends what is queued. Never returns.
    pub(crate) async fn run(&self) {
        loop {
            self.wake.notified().await;
            self.send_all(LIMIT).await;
        }
    }

    /// Sends what is queued, until `deadline` at most.
    pub(crate) async fn flush(&self, deadline: Deadline) {
        let sent = tokio::time::timeout(deadline.remaining(), self.send_all(deadline.remaining())).await;
        let left = self.waiting().len();
        if sent.is_err() || left > 0 {
            tracing::warn!(left, "stopping before all events are sent");
        }
    }

    async fn send_all(&self, limit: Duration) {
        loop {
            let some: Vec<Event> = {
                let mut waiting = self.waiting();
                let count = waiting.len().min(AT_ONCE);
                waiting.drain(..count).collect()
            };
            if some.is_empty() {
                return;
            }
            join_all(some.iter().map(|event| self.send(event, Deadline::after(limit)))).await;
        }
    }

    async fn send(&self, event: &Event, deadline: Deadline) {
        // An event that may have been created is not sent again.
        let policy = RetryPolicy::new(OnUnknown::Stop);
        let sent = retry(deadline, policy, || send_event(&self.api, event, deadline)).await;
        self.metrics.events(Outcome::of(&sent), 1);
        if let Err(error) = sent {
            tracing::debug!(%error, "an event is lost");
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use fake_api::Fault;

    use super::*;
    use crate::testing::{Node, event};

    fn sent(node: &Node) -> Vec<String> {
        let posts = node.server.received();
        let posts = posts.iter().filter(|request| request.method == "POST");
        posts.map(|request| request.body["message"].as_str().unwrap().to_owned()).collect()
    }

    async fn events(node: &Node) -> Events {
        Events::new(node.client().await, node.metrics.clone())
    }

    #[tokio::test(start_paused = true)]
    async fn events_are_sent_and_one_that_fails_for_now_is_sent_again() {
        let node = Node::new();
        let events = events(&node).await;
        node.server.fail(|request| request.method == "POST", [Fault::Status(429), Fault::Status(403)]);
        events.push(vec![event("a"), event("b"), event("c")]);
        events.flush(Deadline::after(Duration::from_secs(60))).await;
        let mut sent = sent(&node);
        sent.sort();
        assert_eq!(sent, ["a", "a", "b", "c"]);
        let text = node.metrics_text();
        assert!(text.contains("multus_daemon_events_total{outcome=\"done\"} 2"), "{text}");
        assert!(text.contains("multus_daemon_events_total{outcome=\"failed\"} 1"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn events_without_room_are_dropped_and_counted() {
        let node = Node::new();
        let events = events(&node).await;
        events.push((0..CAPACITY + 7).map(|n| event(&n.to_string())).collect());
        events.push(vec![event("late")]);
        assert_eq!(events.waiting().len(), CAPACITY);
        assert!(node.metrics_text().contains("multus_daemon_events_total{outcome=\"dropped\"} 8"));
        assert!(node.server.received().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_does_not_wait_for_an_api_server_that_does_not_answer() {
        let node = Node::new();
        let events = events(&node).await;
        node.server.fail(|_| true, std::iter::repeat(Fault::Silence));
        events.push((0..9).map(|n| event(&n.to_string())).collect());
        let before = tokio::time::Instant::now();
        events.flush(Deadline::after(Duration::from_secs(2))).await;
        assert!(before.elapsed() < Duration::from_millis(2100));
    }
}
