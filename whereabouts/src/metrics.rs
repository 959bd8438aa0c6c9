//! What the daemon counts, for Prometheus.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// What was asked for, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    request: &'static str,
    outcome: &'static str,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Asked {
    Claim,
    Release,
    Check,
    Status,
}

impl Asked {
    const fn label(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Release => "release",
            Self::Check => "check",
            Self::Status => "status",
        }
    }
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Outcome {
    Done,
    Refused,
}

impl Outcome {
    const fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }
}

/// The pool a number is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabel {
    pool: String,
}

/// The daemon's numbers. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<Labels, Counter>,
    seconds: Histogram,
    conflicts: Counter,
    tombstones: Gauge,
    leading: Gauge,
    reclaimed: Counter,
    candidates: Gauge,
    pool_size: Family<PoolLabel, Gauge>,
    pool_used: Family<PoolLabel, Gauge>,
}

impl Metrics {
    /// All zero, and the registry that shows them.
    pub fn new() -> (Self, Registry) {
        // From half a millisecond to the deadline.
        let buckets = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 30.0];
        let metrics = Metrics {
            requests: Family::default(),
            seconds: Histogram::new(buckets),
            conflicts: Counter::default(),
            tombstones: Gauge::default(),
            leading: Gauge::default(),
            reclaimed: Counter::default(),
            candidates: Gauge::default(),
            pool_size: Family::default(),
            pool_used: Family::default(),
        };
        let mut registry = Registry::with_prefix("whereabouts");
        let m = &metrics;
        registry.register("requests", "Requests of plugins on this node", m.requests.clone());
        registry.register("claim_seconds", "Time to serve an order of addresses", m.seconds.clone());
        registry.register("conflicts", "Candidates that another had", m.conflicts.clone());
        registry.register("tombstones", "Attachments still to be given back", m.tombstones.clone());
        registry.register("leading", "1 where this daemon leads", m.leading.clone());
        registry.register("reclaimed", "Addresses of pods that are gone", m.reclaimed.clone());
        registry.register("reclaim_candidates", "Claims whose pod seems gone", m.candidates.clone());
        registry.register("pool_size", "Addresses of a pool", m.pool_size.clone());
        registry.register("pool_used", "Addresses held of a pool", m.pool_used.clone());
        (metrics, registry)
    }

    /// A request was answered.
    pub fn answered(&self, request: Asked, outcome: Outcome, took: Duration) {
        let labels = Labels { request: request.label(), outcome: outcome.label() };
        self.requests.get_or_create(&labels).inc();
        if request == Asked::Claim {
            self.seconds.observe(took.as_secs_f64());
        }
    }

    /// A candidate was another's.
    pub fn conflict(&self) {
        self.conflicts.inc();
    }

    /// So many tombstones are left.
    pub fn tombstones(&self, cleanup: usize) {
        self.tombstones.set(whole(cleanup));
    }

    /// Whether this daemon leads.
    pub fn leads(&self) {
        self.leading.set(1);
    }

    /// This daemon does not lead any more: what it said of the cluster is another's to say.
    pub fn follows(&self) {
        self.leading.set(0);
        self.candidates.set(0);
        self.pool_size.clear();
        self.pool_used.clear();
    }

    /// An address was reclaimed.
    pub fn reclaimed(&self) {
        self.reclaimed.inc();
    }

    /// So many claims seem to be of pods that are gone.
    pub fn candidates(&self, count: usize) {
        self.candidates.set(whole(count));
    }

    /// How full a pool is.
    pub fn pool(&self, pool: &str, size: Option<i64>, used: usize) {
        let label = PoolLabel { pool: pool.to_owned() };
        if let Some(size) = size {
            self.pool_size.get_or_create(&label).set(size);
        }
        self.pool_used.get_or_create(&label).set(whole(used));
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use node::daemon::metrics_text as text;

    #[test]
    fn what_happens_is_shown() {
        let (metrics, registry) = Metrics::new();
        metrics.answered(Asked::Claim, Outcome::Done, Duration::from_millis(3));
        metrics.conflict();
        metrics.pool("10.0.0.0-8", None, 7);
        metrics.leads();
        let shown = text(&registry);
        for line in [
            "whereabouts_requests_total{request=\"claim\",outcome=\"done\"} 1",
            "whereabouts_conflicts_total 1",
            "whereabouts_pool_used{pool=\"10.0.0.0-8\"} 7",
            "whereabouts_leading 1",
            "whereabouts_claim_seconds_count 1",
        ] {
            assert!(shown.contains(line), "{line} is not in\n{shown}");
        }
        metrics.follows();
        assert!(!text(&registry).contains("pool_used{"));
    }
}
