//! Meetings with orders of other nodes: claims that were there first and that the API server's news had not shown.

use std::ops::RangeInclusive;

use tokio::time::Instant;

use crate::node_state::hints::SPREAD_LIFETIME;

/// The window among whose free addresses orders choose after a few meetings with others, and the widest after many.
const SPREADS: RangeInclusive<u32> = 1 << 6..=1 << 16;

/// So many meetings, one shortly after the other, are no chance.
const CONFLICTS_OF_CONTENTION: u32 = 3;

/// The meetings of a short while.
#[derive(Debug, Default)]
pub(super) struct ContentionTracker {
    last: Option<Instant>,
    times: u32,
    window: u32,
}

impl ContentionTracker {
    /// The window that is wide enough now; 0 if nobody was met lately.
    pub(super) fn window(&self) -> u32 {
        if self.is_recent() { self.window } else { 0 }
    }

    fn is_recent(&self) -> bool {
        self.last.is_some_and(|at| at.elapsed() < SPREAD_LIFETIME)
    }

    pub(super) fn again(&mut self) {
        if !self.is_recent() {
            *self = ContentionTracker::default();
        }
        self.last = Some(Instant::now());
        self.times += 1;
        if self.times >= CONFLICTS_OF_CONTENTION {
            self.window = (self.window * 2).clamp(*SPREADS.start(), *SPREADS.end());
        }
    }

    /// A window so wide was needed, whoever was met.
    pub(super) fn needed(&mut self, window: u32) {
        *self = ContentionTracker { last: Some(Instant::now()), times: CONFLICTS_OF_CONTENTION, window };
    }

    /// Nobody was met in a window that had been needed. It is narrowed by orders, not only by time: under steady load it would else be
    /// forgotten and learned anew again and again.
    pub(super) fn fewer(&mut self) {
        if self.is_recent() {
            self.last = Some(Instant::now());
            self.not_this_time();
        }
    }

    pub(super) fn not_this_time(&mut self) {
        self.window -= self.window.div_ceil(16);
    }
}
