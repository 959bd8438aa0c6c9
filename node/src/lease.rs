//! Which of several processes is the leader, by a `Lease` (`coordination.k8s.io/v1`) as client-go's leader election
//! uses it.
//!
//! Clocks of different machines are never compared. A contender measures by its own monotonic clock how long the lease
//! has not changed; the leader measures by its own since when it has not managed to renew it. The times in the lease are
//! for people.

mod step;

use std::pin::pin;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::client::{ApiClient, ApiError, ObjectPath};
use crate::deadline::Deadline;
use crate::entropy::between;
use crate::race::unless;
use step::{Step, holder, next, released, written};

/// How long things take in an election. `lease` > `renew` > `retry`, with room for a request's time in between: then two
/// leaders at once need clocks that run at different speeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A lease that did not change for so long is free. Whole seconds, at least one. Default 15 s.
    pub lease: Duration,
    /// A leader that did not manage to renew for so long leads no more. One request may take a third of it. Default 10 s.
    pub renew: Duration,
    /// Between attempts to get or renew it, plus up to a fifth by chance. Default 2 s.
    pub retry: Duration,
    /// How often one who follows reads the lease, which every node's process does: the longer, the less the API server has to do and
    /// the later a lease that was given back is taken. Default 5 s.
    pub look: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { lease: seconds(15), renew: seconds(10), retry: seconds(2), look: seconds(5) }
    }
}

/// Who leads, as far as we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leadership {
    /// Not known: nothing heard yet, or too long ago.
    Unknown,
    /// This one does.
    Following(String),
    /// We do.
    Leading,
}

/// A running candidacy. Dropping it ends it as a crash would: the others wait until the lease runs out.
#[derive(Debug)]
#[must_use = "an election ends when it is dropped"]
pub struct Election {
    leadership: watch::Receiver<Leadership>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Election {
    /// Stands for leader under the name `me`, which no other process may use at the same time; the lease at `path` is made
    /// if it is missing. Must run inside a tokio runtime.
    pub fn start(api: ApiClient, path: ObjectPath, me: String, timing: Timing) -> Self {
        let (told, leadership) = watch::channel(Leadership::Unknown);
        let (stop, stopped) = oneshot::channel::<()>();
        let candidate = Candidate {
            api,
            path,
            me,
            timing,
            told,
            seen: None,
            unchanged_since: Instant::now(),
            heard: None,
            renewed: None,
        };
        let task = tokio::spawn(candidate.run(async { drop(stopped.await) }));
        Self { leadership, stop: Some(stop), task }
    }

    /// Who leads; changes as it changes. Once the election has ended it says [`Leadership::Unknown`].
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Ends it; a leader gives the lease back, so that the next one takes over at once. Call this after the leader's work
    /// has stopped.
    pub async fn release(mut self) {
        if let Some(stop) = self.stop.take() {
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
    told: watch::Sender<Leadership>,
    /// The lease as it was last seen, if there was one.
    seen: Option<Lease>,
    /// Since when it is so.
    unchanged_since: Instant,
    /// When the API server last answered about it.
    heard: Option<Instant>,
    /// When the last successful renewal was sent. We lead while this is less than `renew` ago.
    renewed: Option<Instant>,
}

impl Candidate {
    async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        while unless(stop.as_mut(), self.round()).await.is_some() {}
        self.tell(Leadership::Unknown);
        if let Err(error) = self.give_back(Deadline::after(self.timing.retry)).await {
            tracing::warn!(%error, "the leader's lease is not given back; it runs out by itself");
        }
    }

    /// One attempt, and the wait before the next one. Neither lasts longer than we lead.
    async fn round(&mut self) {
        let limit = self.leads_for().unwrap_or(self.timing.renew);
        let attempt = tokio::time::timeout(limit, self.attempt(Deadline::after(limit))).await;
        let wait = match attempt {
            Ok(Ok(wait)) => wait,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the leader's lease could not be read or renewed; trying again");
                self.timing.retry
            }
            Err(_) => self.timing.retry,
        };
        self.doubt();
        let wait = between(wait, wait.saturating_add(wait / 5));
        tokio::time::sleep(self.leads_for().map_or(wait, |left| wait.min(left))).await;
        self.doubt();
    }

    /// How much longer we lead without another renewal, if we do.
    fn leads_for(&self) -> Option<Duration> {
        let left = self.timing.renew.saturating_sub(self.renewed?.elapsed());
        (!left.is_zero()).then_some(left)
    }

    /// Tells no longer what was heard too long ago.
    fn doubt(&mut self) {
        if self.leads_for().is_some() {
            return;
        }
        self.renewed = None;
        let heard = self.heard.is_some_and(|heard| heard.elapsed() < self.timing.renew);
        if !heard || *self.told.borrow() == Leadership::Leading {
            self.tell(Leadership::Unknown);
        }
    }

    /// Looks, decides, writes. Returns after which time to look again, at the latest.
    async fn attempt(&mut self, deadline: Deadline) -> Result<Duration, ApiError> {
        // A leader knows what it wrote. If that is not so any more, the write fails.
        if self.leads_for().is_none() {
            self.look(deadline).await?;
        }
        let now = Instant::now();
        let written = match self.decide() {
            Step::Follow(holder, left) => {
                self.follow(holder);
                return Ok(left.min(self.timing.look));
            }
            Step::Create => self.write(None, deadline).await,
            Step::Take | Step::Renew => self.write(self.seen.as_ref(), deadline).await,
        };
        match written {
            Ok(lease) => {
                (self.seen, self.unchanged_since) = (Some(lease), Instant::now());
                (self.heard, self.renewed) = (Some(Instant::now()), Some(now));
                if self.leads_for().is_some() {
                    self.tell(Leadership::Leading);
                }
                Ok(self.timing.retry)
            }
            Err(error) => {
                self.look(deadline).await?;
                match self.decide() {
                    Step::Renew => {}
                    Step::Follow(holder, _) => self.follow(holder),
                    // Someone took it away or deleted it: the next one may have it already.
                    Step::Create | Step::Take => self.renewed = None,
                }
                match error {
                    // Another was faster.
                    ApiError::Conflict { .. }
                    | ApiError::AlreadyExists { .. }
                    | ApiError::NotFound { .. } => Ok(self.timing.retry),
                    other => Err(other),
                }
            }
        }
    }

    fn decide(&self) -> Step {
        next(self.seen.as_ref(), &self.me, &self.timing, self.unchanged_since.elapsed())
    }

    fn follow(&mut self, holder: String) {
        self.renewed = None;
        self.tell(Leadership::Following(holder));
    }

    fn tell(&self, news: Leadership) {
        let told = self.told.send_if_modified(|old| {
            let changed = *old != news;
            old.clone_from(&news);
            changed
        });
        if told {
            tracing::info!(lease = %self.path.name(), leadership = ?news, "leader election");
        }
    }

    /// One request that hangs must not cost the leadership.
    fn brief(&self, deadline: Deadline) -> Deadline {
        deadline.child(self.timing.renew / 3)
    }

    /// Reads the lease.
    async fn look(&mut self, deadline: Deadline) -> Result<(), ApiError> {
        let lease = match self.api.get::<Lease>(&self.path, self.brief(deadline)).await {
            Ok(lease) => Some(lease),
            Err(ApiError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        let now = Instant::now();
        if lease.as_ref().map(version) != self.seen.as_ref().map(version) {
            self.unchanged_since = now;
        }
        (self.seen, self.heard) = (lease, Some(now));
        Ok(())
    }

    /// Writes our name into the lease `old`, or into a new one.
    async fn write(&self, old: Option<&Lease>, deadline: Deadline) -> Result<Lease, ApiError> {
        let deadline = self.brief(deadline);
        let lease = written(old, &self.me, &self.timing, &self.path, Timestamp::now());
        match old {
            Some(_) => self.api.replace(&self.path, &lease, deadline).await,
            None => self.api.create(self.path.collection(), &lease, deadline).await,
        }
    }

    /// Takes our name out of the lease if it is there. The attempt that the stop cut off may still arrive in between.
    async fn give_back(&mut self, deadline: Deadline) -> Result<(), ApiError> {
        loop {
            self.look(deadline).await?;
            let Some(ours) = self.seen.as_ref().filter(|lease| holder(lease) == Some(self.me.as_str()))
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
    /// Whatever ends it: nobody shall go on as a leader.
    fn drop(&mut self) {
        self.tell(Leadership::Unknown);
    }
}

/// What changes with every write.
fn version(lease: &Lease) -> (Option<&String>, Option<&String>) {
    (lease.metadata.uid.as_ref(), lease.metadata.resource_version.as_ref())
}

#[cfg(test)]
mod tests;
