//! Trying again: when, how often, and what not to repeat.

use std::time::Duration;

use super::error::ApiError;
use crate::deadline::Deadline;
use crate::entropy::random;

/// What to do when a change may or may not have been made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnknown {
    /// Give the error to the caller, who will read before going on.
    Stop,
    /// Send it again: a second time does no harm, and the caller understands the answer to it (a create that
    /// answers "exists already", a delete that answers "not found").
    Repeat,
}

/// How to try again. The wait doubles from `first` to `longest`, each a random part (half to whole) of it, so that
/// those who failed together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The wait after the first failure.
    pub first: Duration,
    /// The longest wait, unless the server asks for more.
    pub longest: Duration,
    /// What to do when the outcome is not known.
    pub on_unknown: OnUnknown,
}

impl RetryPolicy {
    /// From 50 ms to 2 s.
    pub const fn new(on_unknown: OnUnknown) -> Self {
        Self { first: Duration::from_millis(50), longest: Duration::from_secs(2), on_unknown }
    }

    /// How long to wait after failure number `failure` (from 0), or `None` if trying again is of no use.
    pub fn delay(&self, error: &ApiError, failure: u32, random: u64) -> Option<Duration> {
        let after = match error {
            ApiError::Retryable { after, .. } => *after,
            ApiError::OutcomeUnknown { after, .. } if self.on_unknown == OnUnknown::Repeat => *after,
            _ => return None,
        };
        let jittered = self.wait(failure, random);
        // The server's wish is a minimum; the jitter on top keeps its callers apart.
        Some(after.map_or(jittered, |after| after.saturating_add(jittered)))
    }

    /// How long to wait after failure number `failure` (from 0), whatever failed.
    pub(super) fn wait(&self, failure: u32, random: u64) -> Duration {
        let ceiling = self.first.saturating_mul(2_u32.saturating_pow(failure)).min(self.longest);
        let part = (random % 1024) as u32; // 0..1024 of the upper half
        ceiling / 2 + (ceiling / 2048).saturating_mul(part)
    }
}

/// Runs `op` until it succeeds, fails for good, or the next wait would pass `deadline`; then the last error is
/// returned.
///
/// # Errors
/// The last [`ApiError`].
pub async fn retry<T, F, Op>(deadline: Deadline, policy: RetryPolicy, mut op: Op) -> Result<T, ApiError>
where
    Op: FnMut() -> F,
    F: Future<Output = Result<T, ApiError>>,
{
    let mut failures = 0_u32;
    loop {
        let error = match op().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let Some(delay) = policy.delay(&error, failures, random()) else { return Err(error) };
        if delay >= deadline.remaining() {
            return Err(error);
        }
        tokio::time::sleep(delay).await;
        failures = failures.saturating_add(1);
    }
}
