//! What kind of run a seed is, and when Whereabouts' plugin runs in place of ours.

use std::time::Duration;

use fastrand::Rng;

use super::CHURN;

/// The kind of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Only our processes, with all faults. At its start one pool has what Whereabouts left behind.
    Ours,
    /// Ours, then Whereabouts while none of our processes runs, then ours again, without faults of the API server. Between two of them the
    /// kubelets start nothing for some seconds, as when nodes are drained, so that the leader's views are complete. All
    /// networks of a range have the same `enable_overlapping_ranges`, which the manual asks for while old plugins remain.
    WhereaboutsBetween,
    /// Each node changes from Whereabouts to ours at its own time, while our leaders run; without faults of the API server. All networks of a
    /// range have the same `enable_overlapping_ranges`, as between.
    WhereaboutsBeside,
}

/// Whose plugin a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Plugin {
    Ours,
    Whereabouts,
}

/// The times of a run in which something is the other way round. All are counted from its start.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The kind of the run.
    pub scenario: Scenario,
    /// For each node: from when to when it runs Whereabouts' plugin.
    upstream: Vec<(Duration, Duration)>,
}

/// How long the kubelets start nothing before a change of plugins. The leader writes the views within a pass.
const QUIET: Duration = Duration::from_secs(20);

impl Schedule {
    /// The times of a run with this many nodes.
    pub fn new(scenario: Scenario, nodes: usize, rng: &mut Rng) -> Self {
        let mut seconds = |from: u64, to: u64| Duration::from_millis(rng.u64(from * 1000..to * 1000));
        let upstream = match scenario {
            Scenario::Ours => Vec::new(),
            Scenario::WhereaboutsBetween => vec![(seconds(60, 70), seconds(115, 130)); nodes],
            Scenario::WhereaboutsBeside => (0..nodes).map(|_| (Duration::ZERO, seconds(20, 110))).collect(),
        };
        Schedule { scenario, upstream }
    }

    /// Whose plugin node `number` runs at `now`.
    pub fn plugin(&self, number: usize, now: Duration) -> Plugin {
        match self.upstream.get(number) {
            Some((from, to)) if (*from..*to).contains(&now) => Plugin::Whereabouts,
            _ => Plugin::Ours,
        }
    }

    /// The first time from `now` on at which the kubelets start something.
    pub fn next_start(&self, now: Duration) -> Duration {
        if self.scenario != Scenario::WhereaboutsBetween {
            return now;
        }
        let changes = self.upstream.first().into_iter().flat_map(|(from, to)| [*from, *to]);
        changes.filter(|at| (at.saturating_sub(QUIET)..*at).contains(&now)).max().unwrap_or(now)
    }

    /// From when to when no process of ours runs on node `number`.
    pub fn absence(&self, number: usize) -> Option<(Duration, Duration)> {
        self.upstream.get(number).copied()
    }

    /// When no disruptions by hand begin any more.
    pub fn end_of_meddling(&self) -> Duration {
        CHURN.saturating_sub(Duration::from_secs(60))
    }
}
