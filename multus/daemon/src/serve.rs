//! Answering the requests of the node's plugins.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Event;
use nad::api::{SourceError, read_definitions, read_pod};
use nad::rpc::{AttachedPod, CallOutcome, CallVerb, EndedCall, Request, Response, SERVE_LIMIT, StatusWrite};
use nad::{Lookup, NadRef, Pod, PodRef};
use node::client::ApiClient;
use node::deadline::Deadline;
use node::names::DnsSubdomain;
use tokio::time::Instant;

use crate::cache::{Cache, PodName};
use crate::changes::Changed;
use crate::events::Events;
use crate::metrics::{From, Kind, Metrics, Outcome, RequestKind};
use crate::status::Statuses;

/// What is needed to answer requests. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    /// The API server.
    pub(crate) api: ApiClient,
    /// The name of this node.
    pub(crate) node: Option<DnsSubdomain>,
    /// What is known without asking the API server.
    pub(crate) cache: Arc<Cache>,
    /// The writer of network-status.
    pub(crate) statuses: Arc<Statuses>,
    /// The events that wait.
    pub(crate) events: Arc<Events>,
    /// Which pods changed.
    pub(crate) changed: Arc<Changed>,
    /// The daemon's metrics.
    pub(crate) metrics: Metrics,
}

/// Counts a request, also one that is abandoned because its plugin has ended.
struct Counted<'a> {
    metrics: &'a Metrics,
    kind: RequestKind,
    began: Instant,
    /// Whose status is being written.
    pod: Option<PodRef>,
    outcome: Option<Outcome>,
}

impl<'a> Counted<'a> {
    fn new(metrics: &'a Metrics, request: &Request) -> Self {
        let (kind, pod) = match request {
            Request::Pod(_) => (RequestKind::Pod, None),
            Request::Definitions(_) => (RequestKind::Definitions, None),
            Request::Attached(AttachedPod { status, .. }) | Request::Status(status) => {
                (RequestKind::Status, Some(status.pod.clone()))
            }
            Request::Events(_) => (RequestKind::Events, None),
            Request::Ended(_) => (RequestKind::Ended, None),
            Request::Changes(_) => (RequestKind::Changes, None),
        };
        Counted { metrics, kind, began: Instant::now(), pod, outcome: None }
    }

    fn end(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if let (None, Some(pod)) = (self.outcome, &self.pod) {
            tracing::warn!(%pod, "network-status is not written: the plugin that reported it has ended, or this daemon ends");
        }
        let outcome = self.outcome.unwrap_or(Outcome::Failed);
        self.metrics.answered(self.kind, outcome, self.began.elapsed());
    }
}

impl Service {
    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request) -> Response {
        let deadline = Deadline::after(SERVE_LIMIT);
        let counted = Counted::new(&self.metrics, &request);
        let result = match request {
            Request::Pod(pod) => self.pod(&pod, deadline).await.map(Response::Pod),
            Request::Definitions(wanted) => {
                self.definitions(wanted, deadline).await.map(Response::Definitions)
            }
            Request::Attached(AttachedPod { status, events, began }) => {
                let written = self.status(status, deadline).await;
                // Otherwise the ADD fails, or the plugin writes the status and reports the rest itself.
                if written.is_ok() {
                    self.queue(events);
                    let took = node::clock::since_boot().saturating_sub(began);
                    self.metrics.ended(EndedCall { verb: CallVerb::Add, outcome: CallOutcome::Done, took });
                }
                written
            }
            Request::Status(write) => self.status(write, deadline).await,
            Request::Events(events) => {
                self.queue(events);
                Ok(Response::Done)
            }
            Request::Ended(call) => {
                self.metrics.ended(call);
                Ok(Response::Done)
            }
            Request::Changes(query) => {
                self.metrics.hotplug(query.counts);
                Ok(Response::Changes(self.changed.after(query.after, self.node.as_ref())))
            }
        };
        counted.end(Outcome::of(&result));
        result.unwrap_or_else(|error| {
            tracing::warn!(%error, "a plugin's request failed");
            Response::Failed(error.into())
        })
    }

    async fn status(&self, write: StatusWrite, deadline: Deadline) -> Result<Response, SourceError> {
        self.statuses.write(&write.pod, &write.status, deadline).await.map(|()| Response::Done)
    }

    fn queue(&self, events: Vec<Event>) {
        events.iter().for_each(|event| self.metrics.reported(event.reason.as_deref()));
        self.events.push(events);
    }

    async fn pod(&self, pod: &PodRef, deadline: Deadline) -> Result<Pod, SourceError> {
        if let Some(cached) = self.cache.pod(pod) {
            self.metrics.read(Kind::Pod, From::Cache, 1);
            // The selector of the watch: every cached pod is on this node.
            let node = self.node.as_ref().map(DnsSubdomain::to_string);
            return Ok(cached.to_pod(&PodName::of(pod), node));
        }
        self.metrics.read(Kind::Pod, From::Server, 1);
        read_pod(&self.api, pod, deadline).await.map(|(pod, _)| pod)
    }

    async fn definitions(
        &self,
        wanted: Vec<NadRef>,
        deadline: Deadline,
    ) -> Result<Vec<(NadRef, Lookup)>, SourceError> {
        let (mut found, mut missing) = (Vec::with_capacity(wanted.len()), Vec::new());
        for nad_ref in wanted {
            match self.cache.definition(&nad_ref) {
                Some(definition) => found.push((nad_ref, Lookup::Found(definition))),
                None => missing.push(nad_ref),
            }
        }
        self.metrics.read(Kind::Definition, From::Cache, found.len());
        self.metrics.read(Kind::Definition, From::Server, missing.len());
        if !missing.is_empty() {
            found.extend(read_definitions(&self.api, &missing, deadline).await?);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
