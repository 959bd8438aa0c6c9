//! Retries: when, how often, and of which failures.

use std::time::Duration;

use super::error::ApiError;
use crate::deadline::Deadline;

/// What to do if a change may or may not have been made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnknown {
    /// Return the error. The caller reads the object before it goes on.
    Stop,
    /// Send the request again. The caller knows that the first attempt may have succeeded: a create may then fail with "already exists", a
    /// delete with "not found".
    Repeat,
}

/// Exponential back-off. The wait doubles from `first` to `longest`. Each wait is a random part of it, from half to whole, so that callers that
/// failed at the same time do not retry at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The wait after the first failure.
    pub first: Duration,
    /// The longest wait, unless the server asks for a longer one.
    pub longest: Duration,
    /// What to do if the outcome is unknown.
    pub on_unknown: OnUnknown,
}

impl RetryPolicy {
    /// A policy from 50 ms to 2 s.
    pub const fn new(on_unknown: OnUnknown) -> Self {
        Self { first: Duration::from_millis(50), longest: Duration::from_secs(2), on_unknown }
    }

    /// The wait after failure number `failure` (from 0), or `None` if a retry would not help. `random` is any random number.
    pub fn delay(&self, error: &ApiError, failure: u32, random: u64) -> Option<Duration> {
        let after = match error {
            ApiError::Retryable { after, .. } => *after,
            ApiError::OutcomeUnknown { after, .. } if self.on_unknown == OnUnknown::Repeat => *after,
            _ => return None,
        };
        let jittered = self.wait(failure, random);
        // The server's Retry-After is a minimum. Jitter on top of it spreads the callers that received the same value.
        Some(after.map_or(jittered, |after| after.saturating_add(jittered)))
    }

    /// The wait after failure number `failure` (from 0), whatever failed.
    pub(super) fn wait(&self, failure: u32, random: u64) -> Duration {
        let ceiling = self.first.saturating_mul(2_u32.saturating_pow(failure)).min(self.longest);
        let part = (random % 1024) as u32; // in 1/1024 of the upper half
        ceiling / 2 + (ceiling / 2048).saturating_mul(part)
    }
}

/// Runs `op` until it succeeds, fails with an error that a retry does not help, or the next wait would pass `deadline`.
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
        let Some(delay) = policy.delay(&error, failures, fastrand::u64(..)) else { return Err(error) };
        if delay >= deadline.remaining() {
            return Err(error);
        }
        tokio::time::sleep(delay).await;
        failures = failures.saturating_add(1);
    }
}
