//! Answering the node's plugins.

use crate::claims::status;
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
use crate::claims::allocate;
use crate::claims::allocate::PriorAttempt;
use crate::claims::error::Cleanup;
use crate::claims::release;
use crate::claims::store::Claims;
use crate::metrics::{Asked, Metrics, Outcome};
use crate::pool::request::AllocationRequest;
use crate::rpc::error::CallError;
use crate::rpc::wire::{ADD_LIMIT, DEL_LIMIT, STATUS_LIMIT};
use crate::rpc::wire::{Answer, Refusal, Release, Request, StatusQuery};

/// So many orders are served at once; more wait. The API server takes about a thousand creates a second, whoever asks.
const AT_ONCE: usize = 32;

/// How long before the plugin's own deadline the daemon gives up, so that its reason is heard.
const EARLIER: Duration = Duration::from_millis(500);

/// What answers need.
#[derive(Clone, Debug)]
pub struct Service {
    /// The API server.
    pub api: ApiClient,
    /// Where claims are when the plugin's configuration does not say.
    pub namespace: DnsLabel,
    /// What is known of the pools in use there.
    pub cache: Arc<PoolCaches>,
    /// The daemon's numbers.
    pub metrics: Metrics,
    permits: Arc<Semaphore>,
    in_flight: Arc<InFlight>,
}

impl Service {
    /// A service without orders.
    pub fn new(api: ApiClient, namespace: DnsLabel, cache: Arc<PoolCaches>, metrics: Metrics) -> Self {
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        Service { api, namespace, cache, metrics, permits, in_flight: Arc::default() }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request) -> Answer {
        let began = Instant::now();
        let (asked, answer) = match request {
            Request::Claim(order) => (Asked::Claim, self.claim(&order).await),
            Request::Release(release) => (Asked::Release, self.release(&release).await),
            Request::Check(record) => {
                let claims = self.claims(record.namespace.as_ref(), DEL_LIMIT);
                let missing = claims.first_missing(&record).await;
                let answer = missing.map(|missing| missing.map_or(Answer::Done, Answer::Missing));
                (Asked::Check, answer.map_err(|error| (error.into(), Cleanup::NotNeeded)))
            }
            Request::Status(query) => (Asked::Status, self.status(&query).await),
        };
        let outcome = if answer.is_ok() { Outcome::Done } else { Outcome::Refused };
        self.metrics.answered(asked, outcome, began.elapsed());
        answer.unwrap_or_else(|(error, cleanup)| refused(&error.to_cni(), cleanup))
    }

    fn claims<'a>(&'a self, namespace: Option<&'a DnsLabel>, limit: Duration) -> Claims<'a> {
        let deadline = Deadline::after(limit.saturating_sub(EARLIER));
        Claims { api: &self.api, namespace: namespace.unwrap_or(&self.namespace), deadline }
    }

    async fn claim(&self, order: &AllocationRequest) -> Result<Answer, (CallError, Cleanup)> {
        let claims = self.claims(order.namespace.as_ref(), ADD_LIMIT);
        let admission = async {
            let in_flight = self.in_flight.begin(&order.claimant).await;
            // The semaphore is never closed.
            (in_flight, self.permits.acquire().await)
        };
        let Ok((in_flight, _permit)) = tokio::time::timeout(claims.deadline.remaining(), admission).await
        else {
            return Err((CallError::Busy, Cleanup::NotNeeded));
        };
        let candidates = RequestCandidates { cache: &self.cache, in_flight: Some(Arc::new(in_flight)) };
        let served = allocate::serve(&claims, order, &candidates, PriorAttempt::Absent).await;
        match served {
            Ok(claimed) => Ok(Answer::Claimed(claimed)),
            Err(failure) => {
                tracing::warn!(pod = %order.claimant.podref, interface = %order.claimant.if_name, "no address: {}", failure.error);
                Err((failure.error.into(), failure.cleanup))
            }
        }
    }

    async fn release(&self, release: &Release) -> Result<Answer, (CallError, Cleanup)> {
        let claims = self.claims(release.record.namespace.as_ref(), DEL_LIMIT);
        self.in_flight.end(&release.record).await;
        let candidates = RequestCandidates { cache: &self.cache, in_flight: None };
        let released = release::release(&claims, &release.record, &release.upstream, &candidates).await;
        released.map_err(|error| (error.into(), Cleanup::Needed))?;
        self.cache.released(&release.record);
        Ok(Answer::Done)
    }

    async fn status(&self, query: &StatusQuery) -> Result<Answer, (CallError, Cleanup)> {
        let claims = self.claims(query.namespace.as_ref(), STATUS_LIMIT);
        let candidates = RequestCandidates { cache: &self.cache, in_flight: None };
        let status = status::status(&claims, &query.pools, &candidates).await;
        status.map(|()| Answer::Done).map_err(|error| (error.into(), Cleanup::NotNeeded))
    }
}

fn refused(error: &CniError, cleanup: Cleanup) -> Answer {
    Answer::Refused(Refusal::new(error, cleanup))
}
