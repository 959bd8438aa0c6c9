//! When a pool's object is written.
//!
//! A write costs the API server as much as the object is large, and every watcher of IPPools receives the whole object. So changes are
//! collected for a short time, a small pool is written at most twice a second, and a large pool at most for a twentieth of the time.
//! All times count from one fixed point.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Pools with fewer entries are small.
const SMALL: usize = 1_000;

/// Changes within this time are written together.
const COLLECT: Duration = Duration::from_millis(100);

/// The least time between two writes of a small pool, so that its object is less than a second late.
const SMALL_GAP: Duration = Duration::from_millis(500);

/// The writes of a large pool take at most one part in this many of the time.
const LARGE_PARTS: u32 = 20;

/// The last write of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LastWrite {
    /// When it ended.
    pub ended: Duration,
    /// How long it took.
    pub took: Duration,
}

/// When to write a pool with this many entries, whose view is out of date since `dirty_since`.
fn next_write(entries: usize, dirty_since: Duration, last: Option<LastWrite>) -> Duration {
    let collected = dirty_since.saturating_add(COLLECT);
    let Some(last) = last else { return collected };
    let gap = if entries < SMALL { SMALL_GAP } else { last.took.saturating_mul(LARGE_PARTS - 1) };
    collected.max(last.ended.saturating_add(gap))
}

/// The pools whose view is out of date.
#[derive(Clone, Debug, Default)]
pub(super) struct Schedule {
    /// Pools that need a write, and since when.
    dirty: BTreeMap<Arc<str>, Duration>,
    last_writes: BTreeMap<Arc<str>, LastWrite>,
    /// The number of entries of each pool.
    entries: BTreeMap<Arc<str>, usize>,
}

impl Schedule {
    /// These pools need a write since `now`. A pool that needed one before keeps its earlier time.
    pub fn mark(&mut self, pools: impl IntoIterator<Item = Arc<str>>, now: Duration) {
        for pool in pools {
            self.dirty.entry(pool).or_insert(now);
        }
    }

    /// Removes and returns the pools to write at `now`.
    pub fn take_ready(&mut self, now: Duration) -> Vec<Arc<str>> {
        let ready: Vec<Arc<str>> =
            self.dirty.keys().filter(|pool| self.next_write_of(pool) <= Some(now)).cloned().collect();
        self.dirty.retain(|pool, _| !ready.contains(pool));
        ready
    }

    /// The time of the next write, if a pool needs one.
    pub fn next(&self) -> Option<Duration> {
        self.dirty.keys().filter_map(|pool| self.next_write_of(pool)).min()
    }

    fn next_write_of(&self, pool: &str) -> Option<Duration> {
        let since = *self.dirty.get(pool)?;
        let entries = self.entries.get(pool).copied().unwrap_or(0);
        Some(next_write(entries, since, self.last_writes.get(pool).copied()))
    }

    /// Records a write of a pool.
    pub fn wrote(&mut self, pool: &str, write: LastWrite) {
        self.last_writes.insert(pool.into(), write);
    }

    /// Records the number of entries of a pool.
    pub fn set_entries(&mut self, pool: Arc<str>, entries: usize) {
        self.entries.insert(pool, entries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn small_pools_are_less_than_a_second_late_and_large_pools_take_a_twentieth_of_the_time() {
        let last = |ended, took| Some(LastWrite { ended: ms(ended), took: ms(took) });
        let table = [
            // entries, dirty since, last write, next write
            (10, 5_000, None, 5_100),
            (10, 5_000, last(1_000, 90), 5_100),
            (999, 5_000, last(4_990, 90), 5_490),
            (7_000, 5_000, None, 5_100),
            (7_000, 5_000, last(4_000, 500), 13_500),
            (7_000, 60_000, last(4_000, 500), 60_100),
            (1_000, 5_000, last(5_000, 90), 6_710),
        ];
        for (entries, dirty, last, expected) in table {
            assert_eq!(next_write(entries, ms(dirty), last), ms(expected), "{entries} {dirty} {last:?}");
        }
    }

    #[test]
    fn a_pool_is_written_once_per_collected_change_and_not_before_its_time() {
        let mut schedule = Schedule::default();
        schedule.mark(["p".into()], ms(1_000));
        schedule.mark(["p".into()], ms(1_090));
        assert_eq!((schedule.next(), schedule.take_ready(ms(1_099))), (Some(ms(1_100)), vec![]));
        assert_eq!(schedule.take_ready(ms(1_100)), [Arc::from("p")]);
        assert_eq!(
            (schedule.next(), schedule.take_ready(ms(9_000))),
            (None, vec![]),
            "it needs no write now"
        );
    }
}
