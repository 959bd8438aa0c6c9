//! The daemon's metrics, for Prometheus.

use std::time::Duration;

use node::client::ResourceKind;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::crd::ip_pool::Counts;

/// Seconds, from half a millisecond to the longest deadline of a request (30 s).
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 30.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    request: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabel {
    pool: String,
}

/// The kind of a plugin's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Claim,
    Release,
    Check,
    Status,
}

impl RequestKind {
    const fn label(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Release => "release",
            Self::Check => "check",
            Self::Status => "status",
        }
    }
}

/// The outcome of a plugin's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    Done,
    Refused,
}

impl RequestOutcome {
    const fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }
}

/// The outcome of a task of the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskOutcome {
    Done,
    /// Another writer changed the object first (409). The leader decides again.
    Conflict,
    Failed,
}

impl TaskOutcome {
    const fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Conflict => "conflict",
            Self::Failed => "failed",
        }
    }
}

/// The daemon's metrics. Clones share their values.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    claim_seconds: Histogram,
    conflicts: Counter,
    tombstones: Gauge,
    leading: Gauge,
    reclaimed: Counter,
    reclaim_candidates: Gauge,
    pool_size: Family<PoolLabel, Gauge>,
    pool_used: Family<PoolLabel, Gauge>,
    pool_free: Family<PoolLabel, Gauge>,
    view_writes: Family<OutcomeLabel, Counter>,
    view_write_seconds: Histogram,
    adoptions: Family<OutcomeLabel, Counter>,
    watch_restarts: Family<KindLabel, Counter>,
    restored_claims: Family<OutcomeLabel, Counter>,
    held_twice: Gauge,
}

impl Metrics {
    /// Metrics that are all zero, and the registry that encodes them.
    ///
    /// Those that alerts watch are there from the start: Prometheus does not see the first increase of a counter that begins with 1.
    pub fn new() -> (Self, Registry) {
        let metrics = Metrics {
            requests: Family::default(),
            claim_seconds: Histogram::new(SECONDS),
            conflicts: Counter::default(),
            tombstones: Gauge::default(),
            leading: Gauge::default(),
            reclaimed: Counter::default(),
            reclaim_candidates: Gauge::default(),
            pool_size: Family::default(),
            pool_used: Family::default(),
            pool_free: Family::default(),
            view_writes: Family::default(),
            view_write_seconds: Histogram::new(SECONDS),
            adoptions: Family::default(),
            watch_restarts: Family::default(),
            restored_claims: Family::default(),
            held_twice: Gauge::default(),
        };
        metrics.begin_at_zero();
        let mut registry = Registry::with_prefix("whereabouts");
        metrics.register(&mut registry);
        (metrics, registry)
    }

    fn begin_at_zero(&self) {
        let kinds = [RequestKind::Claim, RequestKind::Release, RequestKind::Check, RequestKind::Status];
        for request in kinds.map(RequestKind::label) {
            for outcome in [RequestOutcome::Done, RequestOutcome::Refused].map(RequestOutcome::label) {
                drop(self.requests.get_or_create(&RequestLabels { request, outcome }));
            }
        }
        for outcome in [TaskOutcome::Done, TaskOutcome::Failed].map(TaskOutcome::label) {
            for family in [&self.view_writes, &self.adoptions, &self.restored_claims] {
                drop(family.get_or_create(&OutcomeLabel { outcome }));
            }
        }
    }

    fn register(&self, registry: &mut Registry) {
        let m = self.clone();
        registry.register("requests", "Requests of plugins on this node", m.requests);
        registry.register("claim_seconds", "Time to serve an allocation request", m.claim_seconds);
        registry.register("conflicts", "Create conflicts (409) during allocation", m.conflicts);
        registry.register("tombstones", "Deleted attachments with addresses left to release", m.tombstones);
        registry.register("leading", "1 if this daemon is the leader, else 0", m.leading);
        registry.register("reclaimed", "Claims of deleted pods that the leader deleted", m.reclaimed);
        registry.register(
            "reclaim_candidates",
            "Claims whose pod was not found in the last pass",
            m.reclaim_candidates,
        );
        registry.register("pool_size", "Addresses of a pool that its networks may choose", m.pool_size);
        registry.register("pool_used", "Addresses of a pool that are held", m.pool_used);
        registry.register(
            "pool_free",
            "Addresses of a pool that its networks may choose and nobody holds",
            m.pool_free,
        );
        registry.register("view_writes", "Writes of IPPool objects by the leader", m.view_writes);
        registry.register(
            "view_write_seconds",
            "Time of a write of an IPPool object, failed writes included",
            m.view_write_seconds,
        );
        registry.register(
            "adoptions",
            "Adoptions of allocations that Whereabouts wrote, by the leader",
            m.adoptions,
        );
        registry.register(
            "watch_restarts",
            "Full lists after the first one, by kind, because a watch of the leader could not resume",
            m.watch_restarts,
        );
        registry.register(
            "restored_claims",
            "Claims of running pods that somebody deleted and that this node made again",
            m.restored_claims,
        );
        registry.register(
            "addresses_held_twice",
            "Addresses of running pods of this node whose claim another pod has now",
            m.held_twice,
        );
    }

    /// Counts a plugin's request that took `took`.
    pub(crate) fn answered(&self, request: RequestKind, outcome: RequestOutcome, took: Duration) {
        let labels = RequestLabels { request: request.label(), outcome: outcome.label() };
        self.requests.get_or_create(&labels).inc();
        if request == RequestKind::Claim {
            self.claim_seconds.observe(took.as_secs_f64());
        }
    }

    /// Counts a create that conflicted.
    pub(crate) fn conflict(&self) {
        self.conflicts.inc();
    }

    /// Sets the number of tombstones.
    pub(crate) fn set_tombstones(&self, count: usize) {
        self.tombstones.set(gauge(count));
    }

    /// This daemon is the leader now.
    pub(crate) fn set_leading(&self) {
        self.leading.set(1);
    }

    /// This daemon is not the leader any more. Clears the gauges about the cluster, because the next leader exports them.
    pub(crate) fn clear_leading(&self) {
        self.leading.set(0);
        self.reclaim_candidates.set(0);
        self.pool_size.clear();
        self.pool_used.clear();
        self.pool_free.clear();
    }

    /// Counts a claim that was reclaimed.
    pub(crate) fn reclaimed(&self) {
        self.reclaimed.inc();
    }

    /// Sets the number of claims whose pod was not found.
    pub(crate) fn set_reclaim_candidates(&self, count: usize) {
        self.reclaim_candidates.set(gauge(count));
    }

    /// Sets how full a pool is. Numbers that an `i64` cannot count are left out.
    pub(crate) fn set_pool(&self, pool: &str, counts: Counts) {
        let label = PoolLabel { pool: pool.to_owned() };
        let Counts { size, used, free } = counts;
        for (family, count) in [(&self.pool_size, size), (&self.pool_used, used), (&self.pool_free, free)] {
            match count {
                Some(count) => drop(family.get_or_create(&label).set(count)),
                None => drop(family.remove(&label)),
            }
        }
    }

    /// Counts a write of an IPPool object that took `took`.
    pub(crate) fn view_write(&self, outcome: TaskOutcome, took: Duration) {
        self.view_writes.get_or_create(&OutcomeLabel { outcome: outcome.label() }).inc();
        self.view_write_seconds.observe(took.as_secs_f64());
    }

    /// Counts an adoption.
    pub(crate) fn adoption(&self, outcome: TaskOutcome) {
        self.adoptions.get_or_create(&OutcomeLabel { outcome: outcome.label() }).inc();
    }

    /// Counts a claim of a running pod that was made again.
    pub(crate) fn restored(&self, outcome: TaskOutcome) {
        self.restored_claims.get_or_create(&OutcomeLabel { outcome: outcome.label() }).inc();
    }

    /// Sets the number of addresses of this node's pods that another pod has claimed.
    pub(crate) fn set_held_twice(&self, count: usize) {
        self.held_twice.set(gauge(count));
    }

    /// Counts a full list after the first one of this kind's objects.
    pub(crate) fn watch_restart(&self, kind: ResourceKind) {
        self.watch_restarts.get_or_create(&KindLabel { kind: kind.to_string() }).inc();
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use node::daemon::metrics_text as text;

    fn assert_shows(registry: &Registry, lines: &[&str]) {
        let shown = text(registry);
        for line in lines {
            assert!(shown.contains(line), "{line} is not in\n{shown}");
        }
    }

    #[test]
    fn what_a_node_counts_is_exported() {
        let (metrics, registry) = Metrics::new();
        metrics.answered(RequestKind::Claim, RequestOutcome::Done, Duration::from_millis(3));
        metrics.conflict();
        metrics.set_tombstones(2);
        assert_shows(
            &registry,
            &[
                "whereabouts_requests_total{request=\"claim\",outcome=\"done\"} 1",
                "whereabouts_conflicts_total 1",
                "whereabouts_claim_seconds_count 1",
                "whereabouts_tombstones 2",
            ],
        );
    }

    #[test]
    fn what_the_leader_counts_is_exported() {
        let (metrics, registry) = Metrics::new();
        metrics.set_leading();
        metrics.view_write(TaskOutcome::Done, Duration::from_millis(3));
        metrics.view_write(TaskOutcome::Conflict, Duration::from_millis(3));
        metrics.view_write(TaskOutcome::Failed, Duration::from_secs(6));
        metrics.adoption(TaskOutcome::Failed);
        metrics.watch_restart(ResourceKind::PODS);
        assert_shows(
            &registry,
            &[
                "whereabouts_leading 1",
                "whereabouts_view_writes_total{outcome=\"done\"} 1",
                "whereabouts_view_writes_total{outcome=\"conflict\"} 1",
                "whereabouts_view_writes_total{outcome=\"failed\"} 1",
                "whereabouts_view_write_seconds_count 3",
                "whereabouts_adoptions_total{outcome=\"failed\"} 1",
                "whereabouts_watch_restarts_total{kind=\"pods\"} 1",
            ],
        );
    }

    #[test]
    fn a_daemon_that_stops_leading_exports_no_pools() {
        let (metrics, registry) = Metrics::new();
        metrics.set_leading();
        metrics.set_pool("10.0.0.0-8", Counts { size: None, used: Some(7), free: None });
        assert_shows(&registry, &["whereabouts_pool_used{pool=\"10.0.0.0-8\"} 7"]);
        metrics.clear_leading();
        assert_shows(&registry, &["whereabouts_leading 0"]);
        assert!(!text(&registry).contains("pool_used{"));
    }

    /// `increase()` of a counter that appears with the value 1 is 0.
    #[test]
    fn counters_that_alerts_watch_begin_at_zero() {
        let (_, registry) = Metrics::new();
        assert_shows(
            &registry,
            &[
                "whereabouts_requests_total{request=\"claim\",outcome=\"refused\"} 0",
                "whereabouts_view_writes_total{outcome=\"failed\"} 0",
                "whereabouts_adoptions_total{outcome=\"failed\"} 0",
                "whereabouts_restored_claims_total{outcome=\"failed\"} 0",
            ],
        );
    }
}
