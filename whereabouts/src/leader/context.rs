//! What every task of the leader needs.

use std::time::Duration;

use node::client::ApiClient;
use node::names::DnsLabel;

use crate::metrics::Metrics;

/// So many requests are under way at once: what the API server does without queueing.
pub const AT_ONCE: usize = 16;

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// An address outlives its pod by so much at least. Default 60 s.
    pub grace: Duration,
    /// Between two looks for claims to reclaim, and the longest between two looks at anything. Default 15 s.
    pub pass: Duration,
    /// Entries that Whereabouts wrote are left alone for so long: it is still writing the claim. Default 2 s.
    pub settle: Duration,
    /// For the requests of one pass that belong together. Default 15 s.
    pub request: Duration,
    /// A definition of IPPool that drops our marks is tried again after so long. Default 10 min.
    pub retrial: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Timing {
            grace: seconds(60),
            pass: seconds(15),
            settle: seconds(2),
            request: seconds(15),
            retrial: seconds(600),
        }
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
    /// A context; `grace` is how long an address outlives its pod.
    pub fn new(api: ApiClient, namespace: DnsLabel, metrics: Metrics, grace: Duration) -> Self {
        Context { api, namespace, metrics, timing: Timing { grace, ..Timing::default() } }
    }

    /// The same at another pace.
    #[must_use]
    pub fn paced(self, timing: Timing) -> Self {
        Context { timing, ..self }
    }

    /// The daemon's numbers.
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
