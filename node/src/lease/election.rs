//! The candidate: it reads and writes the lease, and reports who leads.

use std::pin::pin;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::step::{Step, holder, next, released, written};
use super::timing::Timing;
use crate::client::{ApiClient, ApiError, ObjectPath};
use crate::deadline::Deadline;
use crate::rng::between;

/// Who leads, as far as this process knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leadership {
    /// Not known: the API server has not responded about the lease, or too long ago.
    Unknown,
    /// The process of this name leads.
    Following(String),
    /// This process leads.
    Leading,
}

/// A running candidate. Dropping it has the effect of a crash: the others wait until the lease expires.
#[derive(Debug)]
#[must_use = "an election ends when it is dropped"]
pub struct Election {
    leadership: watch::Receiver<Leadership>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Election {
    /// Starts a candidate named `me`, a name that no other process uses at the same time. It creates the lease at `path` if there is none.
    /// Must run inside a tokio runtime.
    pub fn start(api: ApiClient, path: ObjectPath, me: String, timing: Timing) -> Self {
        let (sender, leadership) = watch::channel(Leadership::Unknown);
        let (stop, stopped) = oneshot::channel::<()>();
        let candidate = Candidate {
            api,
            path,
            me,
            timing,
            leadership: sender,
            lease: None,
            unchanged_since: Instant::now(),
            last_response: None,
            last_renewal: None,
        };
        let task = tokio::spawn(candidate.run(async { drop(stopped.await) }));
        Self { leadership, stop: Some(stop), task }
    }

    /// Who leads, and every change of it. [`Leadership::Unknown`] once the election has ended.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Ends the election. A leader releases the lease, so that another candidate takes over at its next read. Call this after the leader's work
    /// has stopped.
    pub async fn release(mut self) {
        if let Some(stop) = self.stop.take() {
            // Fails only if the task has ended already.
            let _ = stop.send(());
        }
        let _ = (&mut self.task).await;
    }
}

impl Drop for Election {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Candidate {
    api: ApiClient,
    path: ObjectPath,
    me: String,
    timing: Timing,
    leadership: watch::Sender<Leadership>,
    /// The lease as it was last read or written, if there was one.
    lease: Option<Lease>,
    /// Since when `lease` has had its resourceVersion, by our clock.
    unchanged_since: Instant,
    /// When the API server last responded about the lease.
    last_response: Option<Instant>,
    /// When the last successful renewal was sent. This process leads while that is less than `renew` ago.
    last_renewal: Option<Instant>,
}

impl Candidate {
    async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                biased; // in an order that a simulation can repeat
                () = &mut stop => break,
                () = self.round() => {}
            }
        }
        self.report(Leadership::Unknown);
        if let Err(error) = self.release(Deadline::after(self.timing.retry)).await {
            tracing::warn!(%error, "the leader's lease was not released; another candidate takes it when it expires");
        }
    }

    /// Makes one attempt, and waits until the next one. Neither takes longer than this process leads without a renewal.
    async fn round(&mut self) {
        let limit = self.leads_for().unwrap_or(self.timing.renew);
        let attempt = tokio::time::timeout(limit, self.attempt(Deadline::after(limit))).await;
        let wait = match attempt {
            Ok(Ok(wait)) => wait,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the leader's lease could not be read or renewed; retrying");
                self.timing.retry
            }
            Err(_) => self.timing.retry,
        };
        self.expire();
        let wait = between(wait, wait.saturating_add(wait / 5));
        // A leader that cannot renew wakes up in time to stop leading.
        tokio::time::sleep(self.leads_for().map_or(wait, |left| wait.min(left))).await;
        self.expire();
    }

    /// How much longer this process leads without another renewal; `None` if it does not lead.
    fn leads_for(&self) -> Option<Duration> {
        let left = self.timing.renew.saturating_sub(self.last_renewal?.elapsed());
        (!left.is_zero()).then_some(left)
    }

    /// Reports [`Leadership::Unknown`] if what was reported last is too old to rely on.
    fn expire(&mut self) {
        if self.leads_for().is_some() {
            return;
        }
        self.last_renewal = None;
        let is_recent = self.last_response.is_some_and(|at| at.elapsed() < self.timing.renew);
        if !is_recent || *self.leadership.borrow() == Leadership::Leading {
            self.report(Leadership::Unknown);
        }
    }

    /// Reads, decides, writes. Returns the longest wait until the next attempt.
    async fn attempt(&mut self, deadline: Deadline) -> Result<Duration, ApiError> {
        // A leader need not read what it wrote: if somebody changed the lease, the write fails with a conflict (409).
        if self.leads_for().is_none() {
            self.read(deadline).await?;
        }
        // The time before the request: the API server may have written the renewal at any moment from here on.
        let sent = Instant::now();
        let written = match self.decide() {
            Step::Follow(holder, left) => {
                self.follow(holder);
                return Ok(left.min(self.timing.look));
            }
            Step::Create => self.write(None, deadline).await,
            Step::Take | Step::Renew => self.write(self.lease.as_ref(), deadline).await,
        };
        match written {
            Ok(lease) => {
                (self.lease, self.unchanged_since) = (Some(lease), Instant::now());
                (self.last_response, self.last_renewal) = (Some(Instant::now()), Some(sent));
                // A response that took longer than `renew` comes too late to lead.
                if self.leads_for().is_some() {
                    self.report(Leadership::Leading);
                }
                Ok(self.timing.retry)
            }
            Err(error) => self.after_failed_write(error, deadline).await,
        }
    }

    async fn after_failed_write(
        &mut self,
        error: ApiError,
        deadline: Deadline,
    ) -> Result<Duration, ApiError> {
        self.read(deadline).await?;
        match self.decide() {
            Step::Renew => {}
            Step::Follow(holder, _) => self.follow(holder),
            // Somebody cleared or deleted the lease, and another candidate may take it at any moment: stop leading.
            Step::Create | Step::Take => self.last_renewal = None,
        }
        match error {
            // Another candidate was faster.
            ApiError::Conflict { .. } | ApiError::AlreadyExists { .. } | ApiError::NotFound { .. } => {
                Ok(self.timing.retry)
            }
            other => Err(other),
        }
    }

    fn decide(&self) -> Step {
        next(self.lease.as_ref(), &self.me, &self.timing, self.unchanged_since.elapsed())
    }

    fn follow(&mut self, holder: String) {
        self.last_renewal = None;
        self.report(Leadership::Following(holder));
    }

    fn report(&self, new: Leadership) {
        let is_new = self.leadership.send_if_modified(|old| {
            let is_new = *old != new;
            old.clone_from(&new);
            is_new
        });
        if is_new {
            tracing::info!(lease = %self.path.name(), leadership = ?new, "leader election");
        }
    }

    /// The deadline of one request. A third of `renew`, so that one lost response leaves time for two more attempts.
    fn request_deadline(&self, deadline: Deadline) -> Deadline {
        deadline.child(self.timing.renew / 3)
    }

    /// Reads the lease.
    async fn read(&mut self, deadline: Deadline) -> Result<(), ApiError> {
        let lease = match self.api.get::<Lease>(&self.path, self.request_deadline(deadline)).await {
            Ok(lease) => Some(lease),
            Err(ApiError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        let now = Instant::now();
        if lease.as_ref().map(version) != self.lease.as_ref().map(version) {
            self.unchanged_since = now;
        }
        (self.lease, self.last_response) = (lease, Some(now));
        Ok(())
    }

    /// Writes our name into the lease `old`, or creates a lease with our name.
    async fn write(&self, old: Option<&Lease>, deadline: Deadline) -> Result<Lease, ApiError> {
        let deadline = self.request_deadline(deadline);
        let lease = written(old, &self.me, &self.timing, &self.path, crate::clock::now());
        match old {
            // The lease carries its resourceVersion: of several candidates that write, one succeeds.
            Some(_) => self.api.replace(&self.path, &lease, deadline).await,
            None => self.api.create(self.path.collection(), &lease, deadline).await,
        }
    }

    /// Removes our name from the lease if it is there. A renewal that was sent before the stop may still arrive in between: then this reads
    /// the lease and writes it again.
    async fn release(&mut self, deadline: Deadline) -> Result<(), ApiError> {
        loop {
            self.read(deadline).await?;
            let Some(ours) = self.lease.as_ref().filter(|lease| holder(lease) == Some(self.me.as_str()))
            else {
                return Ok(());
            };
            match self.api.replace::<Lease>(&self.path, &released(ours), deadline).await {
                Err(ApiError::Conflict { .. }) => {}
                done => return done.map(drop),
            }
        }
    }
}

impl Drop for Candidate {
    /// However the candidate ends, this process must not go on as the leader.
    fn drop(&mut self) {
        self.report(Leadership::Unknown);
    }
}

/// A value that changes with every write.
fn version(lease: &Lease) -> (Option<&String>, Option<&String>) {
    (lease.metadata.uid.as_ref(), lease.metadata.resource_version.as_ref())
}

#[cfg(test)]
mod tests;
