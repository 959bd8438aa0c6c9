//! Answering the node's plugins.

use std::sync::Arc;
use std::time::Duration;

use cni::CniError;
use node::client::ApiClient;
use node::deadline::Deadline;
use node::names::DnsLabel;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::known::{ForOrder, Known};
use super::metrics::{Asked, Metrics, Outcome};
use super::turns::Turns;
use crate::allocate::{self, Beginning, Left};
use crate::claim::Claims;
use crate::order::Order;
use crate::release;
use crate::session::{ADD_LIMIT, DEL_LIMIT, STATUS_LIMIT, SessionError};
use crate::wire::{Answer, Refusal, Release, Request, StatusQuery};

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
    pub known: Arc<Known>,
    /// The daemon's numbers.
    pub metrics: Metrics,
    permits: Arc<Semaphore>,
    turns: Arc<Turns>,
}

impl Service {
    /// A service without orders.
    pub fn new(api: ApiClient, namespace: DnsLabel, known: Arc<Known>, metrics: Metrics) -> Self {
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        Service { api, namespace, known, metrics, permits, turns: Arc::default() }
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
                (Asked::Check, answer.map_err(|error| (error.into(), Left::Nothing)))
            }
            Request::Status(query) => (Asked::Status, self.status(&query).await),
        };
        let outcome = if answer.is_ok() { Outcome::Done } else { Outcome::Refused };
        self.metrics.answered(asked, outcome, began.elapsed());
        answer.unwrap_or_else(|(error, left)| refused(&error.to_cni(), left))
    }

    fn claims<'a>(&'a self, namespace: Option<&'a DnsLabel>, limit: Duration) -> Claims<'a> {
        let deadline = Deadline::after(limit.saturating_sub(EARLIER));
        Claims { api: &self.api, namespace: namespace.unwrap_or(&self.namespace), deadline }
    }

    async fn claim(&self, order: &Order) -> Result<Answer, (SessionError, Left)> {
        let claims = self.claims(order.namespace.as_ref(), ADD_LIMIT);
        let admission = async {
            let turn = self.turns.begin(&order.who).await;
            // The semaphore is never closed.
            (turn, self.permits.acquire().await)
        };
        let Ok((turn, _permit)) = tokio::time::timeout(claims.deadline.remaining(), admission).await else {
            return Err((SessionError::Busy, Left::Nothing));
        };
        let memory = ForOrder { known: &self.known, turn: Some(Arc::new(turn)) };
        let served = allocate::serve(&claims, order, &memory, Beginning::Fresh).await;
        match served {
            Ok(claimed) => Ok(Answer::Claimed(claimed)),
            Err(failure) => {
                tracing::warn!(pod = %order.who.podref, interface = %order.who.if_name, "no address: {}", failure.error);
                Err((failure.error.into(), failure.left))
            }
        }
    }

    async fn release(&self, release: &Release) -> Result<Answer, (SessionError, Left)> {
        let claims = self.claims(release.record.namespace.as_ref(), DEL_LIMIT);
        self.turns.end(&release.record).await;
        let memory = ForOrder { known: &self.known, turn: None };
        let released = release::release(&claims, &release.record, &release.upstream, &memory).await;
        released.map_err(|error| (error.into(), Left::Something))?;
        self.known.freed(&release.record);
        Ok(Answer::Done)
    }

    async fn status(&self, query: &StatusQuery) -> Result<Answer, (SessionError, Left)> {
        let claims = self.claims(query.namespace.as_ref(), STATUS_LIMIT);
        let memory = ForOrder { known: &self.known, turn: None };
        let status = release::status(&claims, &query.pools, &memory).await;
        status.map(|()| Answer::Done).map_err(|error| (error.into(), Left::Nothing))
    }
}

fn refused(error: &CniError, left: Left) -> Answer {
    Answer::Refused(Refusal::new(error, left))
}
