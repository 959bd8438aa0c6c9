//! What every task of the leader needs.

use std::time::Duration;

use node::client::ApiClient;
use node::names::DnsLabel;

use crate::metrics::Metrics;

/// Requests in flight per task. The API server serves this many without queueing.
pub(super) const AT_ONCE: usize = 16;

/// The leader's periods and time limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The least time from the confirmed loss of a pod until its claims are deleted. Default 60 s.
    pub grace: Duration,
    /// The time between two passes of reclaim, and the longest time between two passes of any task. Default 15 s.
    pub pass: Duration,
    /// How long an allocation that Whereabouts wrote is left alone, because Whereabouts writes the claim a moment later. Default 2 s.
    pub settle: Duration,
    /// The time limit of the requests of one pass. Default 15 s.
    pub request: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Timing { grace: seconds(60), pass: seconds(15), settle: seconds(2), request: seconds(15) }
    }
}

/// What the leader's tasks need.
#[derive(Clone, Debug)]
pub struct Context {
    pub(super) api: ApiClient,
    pub(super) namespace: DnsLabel,
    pub(super) metrics: Metrics,
    pub(super) timing: Timing,
}

impl Context {
    /// A context with the default timing, except for `grace`.
    pub fn new(api: ApiClient, namespace: DnsLabel, metrics: Metrics, grace: Duration) -> Self {
        Context { api, namespace, metrics, timing: Timing { grace, ..Timing::default() } }
    }

    /// Replaces the timing.
    #[must_use]
    pub fn with_timing(self, timing: Timing) -> Self {
        Context { timing, ..self }
    }

    /// The daemon's metrics.
    pub(crate) const fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
