//! Prometheus' text format, version 0.0.4. prometheus-client writes OpenMetrics only.
//!
//! The two differ, in what prometheus-client writes, by the name of a counter in its comments (with `_total` here) and by the lines `# UNIT` and
//! `# EOF`. Under the other name a reader of this format takes the samples of a counter for metrics without type and help.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Metrics in OpenMetrics, as prometheus-client writes them, in Prometheus' text format.
pub(super) fn prometheus_text(open_metrics: &str) -> String {
    let counters: BTreeSet<&str> = open_metrics.lines().filter_map(counter).collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        // A comment: `# HELP name text` or `# TYPE name type`.
        let mut words = line.splitn(4, ' ');
        let comment = (words.next(), words.next(), words.next(), words.next());
        let written = match comment {
            (Some("#"), Some(kind), Some(name), Some(rest)) if counters.contains(name) => {
                writeln!(text, "# {kind} {name}_total {rest}")
            }
            _ => writeln!(text, "{line}"),
        };
        // Writing to a string cannot fail.
        let _ = written;
    }
    text
}

/// The name in the line that says that it is a counter.
fn counter(line: &str) -> Option<&str> {
    line.strip_prefix("# TYPE ")?.strip_suffix(" counter")
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::histogram::Histogram;
    use prometheus_client::registry::{Registry, Unit};

    use super::*;
    use crate::daemon::metrics_text;

    #[test]
    fn a_counter_has_the_name_of_its_samples_and_the_rest_stays() {
        let mut registry = Registry::default();
        registry.register("requests", "All requests", Counter::<u64>::default());
        registry.register_with_unit("free", "Room", Unit::Bytes, Gauge::<i64>::default());
        registry.register("took_seconds", "Time", Histogram::new([1.0]));
        let expected = "# HELP requests_total All requests.\n# TYPE requests_total counter\nrequests_total 0\n\
            # HELP free_bytes Room.\n# TYPE free_bytes gauge\nfree_bytes 0\n\
            # HELP took_seconds Time.\n# TYPE took_seconds histogram\ntook_seconds_sum 0.0\ntook_seconds_count 0\n\
            took_seconds_bucket{le=\"1.0\"} 0\ntook_seconds_bucket{le=\"+Inf\"} 0\n";
        assert_eq!(prometheus_text(&metrics_text(&registry)), expected);
    }
}
