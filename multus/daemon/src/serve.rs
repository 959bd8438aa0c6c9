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

impl Service {
    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request) -> Response {
        let (began, deadline) = (Instant::now(), Deadline::after(SERVE_LIMIT));
        let (kind, result) = match request {
            Request::Pod(pod) => (RequestKind::Pod, self.pod(&pod, deadline).await.map(Response::Pod)),
            Request::Definitions(wanted) => {
                let found = self.definitions(wanted, deadline).await;
                (RequestKind::Definitions, found.map(Response::Definitions))
            }
            Request::Attached(AttachedPod { status, events, took }) => {
                let written = self.status(status, deadline).await;
                // Otherwise the ADD fails, or the plugin writes the status and reports the rest itself.
                if written.is_ok() {
                    self.queue(events);
                    let took = took.saturating_add(began.elapsed());
                    self.metrics.ended(EndedCall { verb: CallVerb::Add, outcome: CallOutcome::Done, took });
                }
                (RequestKind::Status, written)
            }
            Request::Status(write) => (RequestKind::Status, self.status(write, deadline).await),
            Request::Events(events) => {
                self.queue(events);
                (RequestKind::Events, Ok(Response::Done))
            }
            Request::Ended(call) => {
                self.metrics.ended(call);
                (RequestKind::Ended, Ok(Response::Done))
            }
            Request::Changes(query) => {
                self.metrics.hotplug(query.counts);
                let changes = self.changed.after(query.after, self.node.as_ref());
                (RequestKind::Changes, Ok(Response::Changes(changes)))
            }
        };
        self.metrics.answered(kind, Outcome::of(&result), began.elapsed());
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
