//! Serving the requests of the node's plugins.

use std::sync::Arc;
use std::time::Duration;

use cni::CniError;
use node::client::ApiClient;
use node::deadline::Deadline;
use node::names::DnsLabel;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::in_flight::InFlight;
use super::pool_cache::{PoolCaches, RequestCandidates};
use crate::claims::allocate::{self, PriorAttempt};
use crate::claims::error::Cleanup;
use crate::claims::release;
use crate::claims::status;
use crate::claims::store::Claims;
use crate::metrics::{Metrics, RequestKind, RequestOutcome};
use crate::node_state::record::Record;
use crate::pool::request::AllocationRequest;
use crate::rpc::error::CallError;
use crate::rpc::wire::{
    ADD_LIMIT, DEL_LIMIT, Refusal, Release, Request, Response, STATUS_LIMIT, StatusQuery,
};

/// Allocation requests that are served at the same time; others wait. One API server handles about 1,000 creates per second for all nodes
/// together.
const AT_ONCE: usize = 32;

/// The daemon gives up this long before the plugin does, so that its error reaches the plugin.
const MARGIN: Duration = Duration::from_millis(500);

/// A request that failed.
struct Failure {
    error: CallError,
    cleanup: Cleanup,
}

impl Failure {
    fn new(error: impl Into<CallError>, cleanup: Cleanup) -> Self {
        Failure { error: error.into(), cleanup }
    }
}

/// What is needed to serve requests. Clones share everything.
#[derive(Clone, Debug)]
pub struct Service {
    /// The API server.
    pub(super) api: ApiClient,
    /// The namespace of claims if the plugin's configuration names none.
    pub(super) namespace: DnsLabel,
    /// The caches of the pools in use.
    pub(super) caches: Arc<PoolCaches>,
    /// The daemon's metrics.
    pub(super) metrics: Metrics,
    permits: Arc<Semaphore>,
    pub(super) in_flight: Arc<InFlight>,
}

impl Service {
    /// A service without requests in flight.
    pub fn new(api: ApiClient, namespace: DnsLabel, caches: Arc<PoolCaches>, metrics: Metrics) -> Self {
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        Service { api, namespace, caches, metrics, permits, in_flight: Arc::default() }
    }

    /// Serves one request.
    pub async fn answer(&self, request: Request) -> Response {
        let began = Instant::now();
        let (kind, result) = match request {
            Request::Claim(request) => (RequestKind::Claim, self.claim(&request).await),
            Request::Release(release) => (RequestKind::Release, self.release(&release).await),
            Request::Check(record) => (RequestKind::Check, self.check(&record).await),
            Request::Status(query) => (RequestKind::Status, self.status(&query).await),
        };
        let outcome = if result.is_ok() { RequestOutcome::Done } else { RequestOutcome::Refused };
        self.metrics.answered(kind, outcome, began.elapsed());
        result.unwrap_or_else(|failure| refusal(&failure.error.to_cni(), failure.cleanup))
    }

    fn claims<'a>(&'a self, namespace: Option<&'a DnsLabel>, limit: Duration) -> Claims<'a> {
        self.claims_until(namespace, Deadline::after(limit.saturating_sub(MARGIN)))
    }

    /// The claims of a namespace; `None` is the daemon's own.
    pub(super) fn claims_until<'a>(
        &'a self,
        namespace: Option<&'a DnsLabel>,
        deadline: Deadline,
    ) -> Claims<'a> {
        Claims { api: &self.api, namespace: namespace.unwrap_or(&self.namespace), deadline }
    }

    async fn claim(&self, request: &AllocationRequest) -> Result<Response, Failure> {
        let claims = self.claims(request.namespace.as_ref(), ADD_LIMIT);
        let admission = async {
            // First the interface, then the permit: a request that waits for an earlier one of its interface must not occupy a permit.
            let in_flight = self.in_flight.begin(&request.claimant).await;
            // acquire() fails only if the semaphore is closed, which it never is.
            (in_flight, self.permits.acquire().await)
        };
        let Ok((in_flight, _permit)) = tokio::time::timeout(claims.deadline.remaining(), admission).await
        else {
            return Err(Failure::new(CallError::Busy, Cleanup::NotNeeded));
        };
        let candidates = RequestCandidates { caches: &self.caches, in_flight: Some(Arc::new(in_flight)) };
        match allocate::serve(&claims, request, &candidates, PriorAttempt::Absent).await {
            Ok(claimed) => Ok(Response::Claimed(claimed)),
            Err(failure) => {
                tracing::warn!(
                    pod = %request.claimant.podref, interface = %request.claimant.if_name, error = %failure.error,
                    "no address is allocated"
                );
                Err(Failure::new(failure.error, failure.cleanup))
            }
        }
    }

    async fn release(&self, release: &Release) -> Result<Response, Failure> {
        let claims = self.claims(release.record.namespace.as_ref(), DEL_LIMIT);
        self.in_flight.cancel(&release.record).await;
        let candidates = RequestCandidates { caches: &self.caches, in_flight: None };
        let released = release::release(&claims, &release.record, &release.upstream, &candidates).await;
        released.map_err(|error| Failure::new(error, Cleanup::Needed))?;
        self.caches.released(&release.record);
        Ok(Response::Done)
    }

    async fn check(&self, record: &Record) -> Result<Response, Failure> {
        let claims = self.claims(record.namespace.as_ref(), DEL_LIMIT);
        let missing = claims.first_missing(record).await;
        let missing = missing.map_err(|error| Failure::new(error, Cleanup::NotNeeded))?;
        Ok(missing.map_or(Response::Done, Response::Missing))
    }

    async fn status(&self, query: &StatusQuery) -> Result<Response, Failure> {
        let claims = self.claims(query.namespace.as_ref(), STATUS_LIMIT);
        let candidates = RequestCandidates { caches: &self.caches, in_flight: None };
        let status = status::status(&claims, &query.pools, &candidates).await;
        status.map(|()| Response::Done).map_err(|error| Failure::new(error, Cleanup::NotNeeded))
    }
}

fn refusal(error: &CniError, cleanup: Cleanup) -> Response {
    Response::Refused(Refusal::new(error, cleanup))
}
