//! What one daemon does for all nodes while it leads, from one set of mirrors of the cluster.
//!
//! | module | answers |
//! |---|---|
//! | [`mirrors`] | what is there? |
//! | [`networks`] | which pools do the networks have, and how are their claims named? |
//! | [`adopt`] | what did Whereabouts write that needs a claim? |
//! | [`views`] | what do the pools' objects lack? |
//! | [`slices`] | which node gets which slice? |
//! | [`reclaim`] | which claims outlived their pods? |
//!
//! Each task is a loop around a pass: a look at the mirrors that decides, and then the requests. Two leaders at once would do no harm: every
//! write is for the version that was read.

pub mod adopt;
pub mod mirrors;
pub mod networks;
pub mod reclaim;
pub mod slices;
pub mod views;

use std::time::Duration;

use node::client::ApiClient;
use node::names::DnsLabel;

use super::metrics::Metrics;
use mirrors::Seen;

/// So many requests are under way at once: what the API server does without queueing.
const AT_ONCE: usize = 16;

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
    api: ApiClient,
    namespace: DnsLabel,
    metrics: Metrics,
    timing: Timing,
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

/// Leads until it is dropped.
pub async fn run(context: &Context) {
    let seen = Seen::default();
    futures::join!(
        mirrors::feed(&seen, &context.api, &context.namespace),
        adopt::run(context, &seen),
        views::run(context, &seen),
        slices::run(context, &seen),
        reclaim::run(context, &seen),
    );
}

#[cfg(test)]
pub(crate) mod tests;
