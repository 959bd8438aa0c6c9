//! When the watch of a pool's claims is paused: a function of the number of claims and of the rate of changes.
//!
//! The API server sends each claim to every node that watches its pool. If hundreds of pods start on as many nodes, these events cost the
//! API server more than the claims themselves, and they arrive too late to help; then conflicts alone guide the search. A large pool needs no
//! watch either: almost all of its claims belong to other nodes, and a few tries find a free address.

use std::time::Duration;

use node::rng::between;

/// A pool with more claims is not watched. This many claims are eight pages of a list and less than 1 MiB of memory.
const WATCHED_CLAIMS: usize = 4_000;

/// More changes than this within [`BURST_WINDOW`] are a burst.
const BURST_CHANGES: u32 = 100;

/// The time in which the changes of a burst are counted.
const BURST_WINDOW: Duration = Duration::from_secs(2);

/// The shortest and longest pause after a burst, which is probably over then. The pause is random, so that not all nodes list at once.
const AFTER_BURST: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(45));

/// Added to the pause after a burst for each claim, because a list of more claims costs more.
const PER_CLAIM: Duration = Duration::from_millis(10);

/// The shortest and longest pause of a large pool, which rarely becomes small soon.
const WHILE_LARGE: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(1200));

/// Why the watch of a pool is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchPause {
    /// The pool has too many claims.
    Large,
    /// Too many changes in a short time; the number of claims.
    Burst(usize),
}

impl WatchPause {
    /// The duration of the pause, partly random.
    pub fn duration(self) -> Duration {
        match self {
            WatchPause::Large => between(WHILE_LARGE.0, WHILE_LARGE.1),
            WatchPause::Burst(size) => {
                let size = u32::try_from(size).unwrap_or(u32::MAX);
                between(AFTER_BURST.0, AFTER_BURST.1).saturating_add(PER_CLAIM.saturating_mul(size))
            }
        }
    }
}

/// Counts the changes within [`BURST_WINDOW`].
#[derive(Clone, Copy, Debug, Default)]
pub struct WatchThrottle {
    began: Duration,
    changes: u32,
}

impl WatchThrottle {
    /// A list item was received; the cache has `size` claims now.
    pub const fn listed(size: usize) -> Option<WatchPause> {
        if size > WATCHED_CLAIMS { Some(WatchPause::Large) } else { None }
    }

    /// A watch event was received at `now`, the time since any fixed point; the cache has `size` claims now.
    pub fn changed(&mut self, now: Duration, size: usize) -> Option<WatchPause> {
        if now.saturating_sub(self.began) > BURST_WINDOW {
            *self = WatchThrottle { began: now, changes: 0 };
        }
        self.changes += 1;
        if self.changes > BURST_CHANGES { Some(WatchPause::Burst(size)) } else { WatchThrottle::listed(size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(throttle: &mut WatchThrottle, count: u32, within: Duration) -> Option<WatchPause> {
        let at = |n: u32| within * n / count;
        (0..count).find_map(|n| throttle.changed(at(n), 500))
    }

    #[test]
    fn a_pool_with_too_many_claims_is_large() {
        assert_eq!(WatchThrottle::listed(WATCHED_CLAIMS), None);
        assert_eq!(WatchThrottle::listed(WATCHED_CLAIMS + 1), Some(WatchPause::Large));
        assert_eq!(
            WatchThrottle::default().changed(Duration::ZERO, WATCHED_CLAIMS + 1),
            Some(WatchPause::Large)
        );
    }

    #[test]
    fn many_changes_in_a_short_time_are_a_burst_and_many_over_time_are_not() {
        let burst = changes(&mut WatchThrottle::default(), BURST_CHANGES + 1, Duration::from_millis(1900));
        assert_eq!(burst, Some(WatchPause::Burst(500)));
        let steady =
            changes(&mut WatchThrottle::default(), 100 * BURST_CHANGES, Duration::from_secs(2 * 100 + 100));
        assert_eq!(steady, None);
    }

    #[test]
    fn the_pause_after_a_burst_grows_with_the_number_of_claims() {
        assert!(WatchPause::Burst(0).duration() >= AFTER_BURST.0);
        assert!(WatchPause::Burst(WATCHED_CLAIMS).duration() >= AFTER_BURST.0 + Duration::from_secs(40));
        assert!(WatchPause::Large.duration() >= WHILE_LARGE.0);
    }
}
