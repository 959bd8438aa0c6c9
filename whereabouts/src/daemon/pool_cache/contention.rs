//! Contention with other nodes: conflicts with claims that the watch has not shown yet. A node that has many of them chooses its candidates at
//! random from a wider window, so that concurrent nodes collide less.

use std::ops::RangeInclusive;

use tokio::time::Instant;

use crate::node_state::hints::SPREAD_LIFETIME;

/// The smallest and the largest window: how many free addresses a candidate is chosen from.
const SPREADS: RangeInclusive<u32> = 1 << 6..=1 << 16;

/// This many conflicts, each within [`SPREAD_LIFETIME`] of the one before, mean contention. Fewer happen at random.
const CONFLICTS_OF_CONTENTION: u32 = 3;

/// The conflicts of the last [`SPREAD_LIFETIME`].
#[derive(Debug, Default)]
pub(super) struct ContentionTracker {
    last: Option<Instant>,
    conflicts: u32,
    window: u32,
}

impl ContentionTracker {
    /// The window to choose from now; 0 without contention.
    pub(super) fn window(&self) -> u32 {
        if self.is_recent() { self.window } else { 0 }
    }

    fn is_recent(&self) -> bool {
        self.last.is_some_and(|at| at.elapsed() < SPREAD_LIFETIME)
    }

    /// Records a conflict. From the third one on, each doubles the window.
    pub(super) fn conflicted(&mut self) {
        if !self.is_recent() {
            *self = ContentionTracker::default();
        }
        self.last = Some(Instant::now());
        self.conflicts += 1;
        if self.conflicts >= CONFLICTS_OF_CONTENTION {
            self.window = (self.window * 2).clamp(*SPREADS.start(), *SPREADS.end());
        }
    }

    /// Records that a request needed a window of this size.
    pub(super) fn needed(&mut self, window: u32) {
        *self = ContentionTracker { last: Some(Instant::now()), conflicts: CONFLICTS_OF_CONTENTION, window };
    }

    /// Records a request that needed no window, and keeps the window alive. Requests narrow it, not only time: under steady load it would
    /// otherwise expire and be learned again and again.
    pub(super) fn narrow_and_keep(&mut self) {
        if self.is_recent() {
            self.last = Some(Instant::now());
            self.narrow();
        }
    }

    /// Records an allocation without a conflict: the window shrinks by a sixteenth.
    pub(super) fn narrow(&mut self) {
        self.window -= self.window.div_ceil(16);
    }
}
