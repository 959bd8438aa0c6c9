//! The daemon's metrics, for Prometheus.

use std::time::Duration;

use nad::Counts;
use nad::rpc::{CallOutcome, CallVerb, EndedCall};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Seconds, from a tenth of a millisecond to the longest request (20 s).
const SECONDS: [f64; 12] = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 20.0];

/// Seconds of a whole ADD or DEL: from the fastest one to the time that the plugin has for it (110 s).
const CALL_SECONDS: [f64; 11] = [0.01, 0.03, 0.1, 0.2, 0.5, 1.0, 3.0, 10.0, 30.0, 60.0, 110.0];

/// The reasons of events that the plugin and `multus hotplug` report. Any other one is counted as `other`: a label must not have endless values.
const REASONS: [&str; 8] = [
    "AddedInterface",
    "NoNetworkFound",
    "LeftToAntrea",
    "NetworkNotDeleted",
    "RemovedInterface",
    "FailedAddingInterface",
    "FailedRemovingInterface",
    "InterfaceNotChanged",
];

/// The labels of upstream's metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    handler: &'static str,
    code: &'static str,
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    request: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    request: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadLabels {
    kind: &'static str,
    from: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    write: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    verb: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabel {
    verb: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChangeLabels {
    change: &'static str,
    outcome: &'static str,
}

/// The kind of a plugin's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Pod,
    Definitions,
    Status,
    Events,
    Ended,
    Changes,
}

impl RequestKind {
    const ALL: [Self; 6] =
        [Self::Pod, Self::Definitions, Self::Status, Self::Events, Self::Ended, Self::Changes];

    const fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::Pod => ("pod", "/pod"),
            Self::Definitions => ("definitions", "/definitions"),
            Self::Status => ("status", "/status"),
            Self::Events => ("events", "/events"),
            Self::Ended => ("ended", "/ended"),
            Self::Changes => ("changes", "/changes"),
        }
    }
}

/// What is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Pod,
    Definition,
}

impl Kind {
    const fn label(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Definition => "definition",
        }
    }
}

/// Who answered about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Cache,
    Server,
}

/// How network-status was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// A patch, without a read.
    Patch,
    /// A read and a replacement.
    Replace,
    /// A read and a replacement, because another writer took our entries out.
    Merge,
}

impl Write {
    const fn label(self) -> &'static str {
        match self {
            Self::Patch => "patch",
            Self::Replace => "replace",
            Self::Merge => "merge",
        }
    }
}

/// Whether something worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Failed,
    /// It was not tried: there was no room for it.
    Dropped,
}

impl Outcome {
    /// Of a result.
    pub(crate) fn of<T, E>(result: &Result<T, E>) -> Self {
        if result.is_ok() { Self::Done } else { Self::Failed }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// The daemon's metrics. Clones share their values.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    upstream: Family<UpstreamLabels, Counter>,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<RequestLabel, Histogram, fn() -> Histogram>,
    reads: Family<ReadLabels, Counter>,
    cached: Family<KindLabel, Gauge>,
    status_writes: Family<WriteLabels, Counter>,
    events: Family<OutcomeLabel, Counter>,
    reported: Family<ReasonLabel, Counter>,
    calls: Family<CallLabels, Counter>,
    call_seconds: Family<VerbLabel, Histogram, fn() -> Histogram>,
    hotplug: Family<ChangeLabels, Counter>,
}

impl Metrics {
    /// Metrics that are all zero, and the registry that encodes them.
    ///
    /// Those that alerts watch are there from the start: Prometheus does not see the first increase of a counter that begins with 1.
    pub(crate) fn new() -> (Self, Registry) {
        let metrics = Metrics {
            upstream: Family::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            reads: Family::default(),
            cached: Family::default(),
            status_writes: Family::default(),
            events: Family::default(),
            reported: Family::default(),
            calls: Family::default(),
            call_seconds: Family::new_with_constructor(|| Histogram::new(CALL_SECONDS)),
            hotplug: Family::default(),
        };
        metrics.begin_at_zero();
        let mut registry = Registry::with_prefix("multus");
        metrics.register(&mut registry);
        (metrics, registry)
    }

    fn begin_at_zero(&self) {
        for (request, _) in RequestKind::ALL.map(RequestKind::labels) {
            for outcome in [Outcome::Done, Outcome::Failed].map(Outcome::label) {
                drop(self.requests.get_or_create(&RequestLabels { request, outcome }));
            }
        }
        for write in [Write::Patch, Write::Replace, Write::Merge].map(Write::label) {
            for outcome in [Outcome::Done, Outcome::Failed].map(Outcome::label) {
                drop(self.status_writes.get_or_create(&WriteLabels { write, outcome }));
            }
        }
        for outcome in [Outcome::Done, Outcome::Failed, Outcome::Dropped].map(Outcome::label) {
            drop(self.events.get_or_create(&OutcomeLabel { outcome }));
        }
        for reason in REASONS {
            drop(self.reported.get_or_create(&ReasonLabel { reason }));
        }
        for verb in [CallVerb::Add, CallVerb::Del].map(verb_label) {
            drop(self.call_seconds.get_or_create(&VerbLabel { verb }));
            for outcome in [CallOutcome::Done, CallOutcome::Later, CallOutcome::Failed].map(call_label) {
                drop(self.calls.get_or_create(&CallLabels { verb, outcome }));
            }
        }
    }

    fn register(&self, registry: &mut Registry) {
        let m = self.clone();
        registry.register("server_request", "Requests of plugins, with the labels of Multus", m.upstream);
        registry.register("daemon_requests", "Requests of plugins on this node", m.requests);
        registry.register("daemon_request_seconds", "Time to answer a plugin's request", m.request_seconds);
        registry.register("daemon_reads", "Objects that plugins asked for, by who answered", m.reads);
        registry.register("daemon_cached", "Objects in the cache", m.cached);
        registry.register("daemon_status_writes", "Writes of network-status", m.status_writes);
        registry.register("daemon_events", "Events about pods", m.events);
        registry.register("daemon_reported_events", "Events that plugins reported, by reason", m.reported);
        registry.register("daemon_calls", "ADDs and DELs of this node's pods, by how they ended", m.calls);
        registry.register("daemon_call_seconds", "Time of whole ADDs and DELs", m.call_seconds);
        registry.register("hotplug_changes", "Interfaces added to and removed from running pods", m.hotplug);
    }

    /// Counts a plugin's request that took `took`.
    pub(crate) fn answered(&self, request: RequestKind, outcome: Outcome, took: Duration) {
        let (request, handler) = request.labels();
        // Upstream's daemon answers every failure with 400.
        let code = if outcome == Outcome::Done { "200" } else { "400" };
        self.upstream.get_or_create(&UpstreamLabels { handler, code, method: "post" }).inc();
        self.requests.get_or_create(&RequestLabels { request, outcome: outcome.label() }).inc();
        self.request_seconds.get_or_create(&RequestLabel { request }).observe(took.as_secs_f64());
    }

    /// Counts objects that were read.
    pub(crate) fn read(&self, kind: Kind, from: From, count: usize) {
        let from = match from {
            From::Cache => "cache",
            From::Server => "server",
        };
        let labels = ReadLabels { kind: kind.label(), from };
        self.reads.get_or_create(&labels).inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Sets the number of cached objects.
    pub(crate) fn set_cached(&self, kind: Kind, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.cached.get_or_create(&KindLabel { kind: kind.label() }).set(count);
    }

    /// Counts a write of network-status.
    pub(crate) fn status_write(&self, write: Write, outcome: Outcome) {
        self.status_writes
            .get_or_create(&WriteLabels { write: write.label(), outcome: outcome.label() })
            .inc();
    }

    /// Counts an event that a plugin reported, by its reason.
    pub(crate) fn reported(&self, reason: Option<&str>) {
        let known = REASONS.into_iter().find(|known| Some(*known) == reason);
        self.reported.get_or_create(&ReasonLabel { reason: known.unwrap_or("other") }).inc();
    }

    /// Counts a call of the runtime.
    pub(crate) fn ended(&self, call: EndedCall) {
        let (verb, outcome) = (verb_label(call.verb), call_label(call.outcome));
        self.calls.get_or_create(&CallLabels { verb, outcome }).inc();
        self.call_seconds.get_or_create(&VerbLabel { verb }).observe(call.took.as_secs_f64());
    }

    /// Counts changes of running pods.
    pub(crate) fn hotplug(&self, counts: Counts) {
        let Counts { attached, attach_failed, detached, detach_failed } = counts;
        for (change, outcome, count) in [
            ("attach", Outcome::Done, attached),
            ("attach", Outcome::Failed, attach_failed),
            ("detach", Outcome::Done, detached),
            ("detach", Outcome::Failed, detach_failed),
        ] {
            if count > 0 {
                let labels = ChangeLabels { change, outcome: outcome.label() };
                self.hotplug.get_or_create(&labels).inc_by(count.into());
            }
        }
    }

    /// Counts events.
    pub(crate) fn events(&self, outcome: Outcome, count: usize) {
        let label = OutcomeLabel { outcome: outcome.label() };
        self.events.get_or_create(&label).inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }
}

const fn verb_label(verb: CallVerb) -> &'static str {
    match verb {
        CallVerb::Add => "add",
        CallVerb::Del => "del",
    }
}

const fn call_label(outcome: CallOutcome) -> &'static str {
    match outcome {
        CallOutcome::Done => "done",
        CallOutcome::Later => "later",
        CallOutcome::Failed => "failed",
    }
}

#[cfg(test)]
mod tests {
    use node::daemon::metrics_text;

    use super::*;

    #[test]
    fn everything_that_is_counted_is_exported() {
        let (metrics, registry) = Metrics::new();
        metrics.answered(RequestKind::Pod, Outcome::Done, Duration::from_micros(200));
        metrics.answered(RequestKind::Status, Outcome::Failed, Duration::from_secs(20));
        metrics.read(Kind::Definition, From::Cache, 3);
        metrics.set_cached(Kind::Pod, 100);
        metrics.status_write(Write::Merge, Outcome::Done);
        metrics.events(Outcome::Dropped, 7);
        for reason in [Some("NetworkNotDeleted"), Some("Banana"), None] {
            metrics.reported(reason);
        }
        let took = Duration::from_secs(2);
        metrics.ended(EndedCall { verb: CallVerb::Add, outcome: CallOutcome::Later, took });
        metrics.hotplug(Counts { attached: 2, detach_failed: 1, ..Counts::default() });
        let text = metrics_text(&registry);
        for line in [
            "multus_server_request_total{handler=\"/pod\",code=\"200\",method=\"post\"} 1",
            "multus_server_request_total{handler=\"/status\",code=\"400\",method=\"post\"} 1",
            "multus_daemon_requests_total{request=\"pod\",outcome=\"done\"} 1",
            "multus_daemon_request_seconds_bucket{le=\"0.0003\",request=\"pod\"} 1",
            "multus_daemon_reads_total{kind=\"definition\",from=\"cache\"} 3",
            "multus_daemon_cached{kind=\"pod\"} 100",
            "multus_daemon_status_writes_total{write=\"merge\",outcome=\"done\"} 1",
            "multus_daemon_events_total{outcome=\"dropped\"} 7",
            "multus_daemon_reported_events_total{reason=\"NetworkNotDeleted\"} 1",
            "multus_daemon_reported_events_total{reason=\"other\"} 2",
            "multus_daemon_calls_total{verb=\"add\",outcome=\"later\"} 1",
            "multus_daemon_call_seconds_bucket{le=\"3.0\",verb=\"add\"} 1",
            "multus_hotplug_changes_total{change=\"attach\",outcome=\"done\"} 2",
            "multus_hotplug_changes_total{change=\"detach\",outcome=\"failed\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    /// `increase()` of a counter that appears with the value 1 is 0.
    #[test]
    fn counters_that_alerts_watch_begin_at_zero() {
        let text = metrics_text(&Metrics::new().1);
        for line in [
            "multus_daemon_reported_events_total{reason=\"NetworkNotDeleted\"} 0",
            "multus_daemon_calls_total{verb=\"add\",outcome=\"failed\"} 0",
            "multus_daemon_calls_total{verb=\"del\",outcome=\"done\"} 0",
            "multus_daemon_requests_total{request=\"status\",outcome=\"failed\"} 0",
            "multus_daemon_status_writes_total{write=\"merge\",outcome=\"failed\"} 0",
            "multus_daemon_events_total{outcome=\"dropped\"} 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
