//! When the claims of a pool are not worth following: a function of how many there are and of how fast they change.
//!
//! Each claim is told to every node that follows its pool. Where pods are made in hundreds, on as many nodes, that would cost the API
//! server more than the claims themselves, and be out of date on arrival: orders then do better with what they meet. And of a large pool
//! a node needs to know little: almost every claim in it is somebody else's, and free addresses are found in a few tries.

use std::time::Duration;

use node::rng::between;

/// More claims than these are not followed: eight pages of a list, under 1 MiB of memory.
const WATCHED_CLAIMS: usize = 4_000;

/// So many changes within [`BURST_WINDOW`] are a burst.
const BURST_CHANGES: u32 = 100;

/// See [`BURST_CHANGES`].
const BURST_WINDOW: Duration = Duration::from_secs(2);

/// A burst is over by then, most likely. Not all nodes come back at the same time.
const AFTER_BURST: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(45));

/// To list a pool anew takes longer the more claims it has: so much more time has to lie between for each.
const FOR_EACH: Duration = Duration::from_millis(10);

/// A large pool is seldom a small one again soon.
const WHILE_LARGE: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(1200));

/// Why a pool is not followed for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchPause {
    /// It has too many claims.
    Large,
    /// They change too fast; it has so many.
    Burst(usize),
}

impl WatchPause {
    /// How long.
    pub fn lasts(self) -> Duration {
        match self {
            WatchPause::Large => between(WHILE_LARGE.0, WHILE_LARGE.1),
            WatchPause::Burst(size) => {
                let size = u32::try_from(size).unwrap_or(u32::MAX);
                between(AFTER_BURST.0, AFTER_BURST.1).saturating_add(FOR_EACH.saturating_mul(size))
            }
        }
    }
}

/// The changes of a short while.
#[derive(Clone, Copy, Debug, Default)]
pub struct WatchThrottle {
    began: Duration,
    changes: u32,
}

impl WatchThrottle {
    /// A claim of a list was told: so many are known now.
    pub const fn listed(size: usize) -> Option<WatchPause> {
        if size > WATCHED_CLAIMS { Some(WatchPause::Large) } else { None }
    }

    /// A change was told at `now`, on any clock; so many claims are known.
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

    fn changes(pace: &mut WatchThrottle, count: u32, within: Duration) -> Option<WatchPause> {
        let at = |n: u32| within * n / count;
        (0..count).find_map(|n| pace.changed(at(n), 500))
    }

    #[test]
    fn a_pool_with_more_claims_than_are_followed_is_large() {
        assert_eq!(WatchThrottle::listed(WATCHED_CLAIMS), None);
        assert_eq!(WatchThrottle::listed(WATCHED_CLAIMS + 1), Some(WatchPause::Large));
        assert_eq!(
            WatchThrottle::default().changed(Duration::ZERO, WATCHED_CLAIMS + 1),
            Some(WatchPause::Large)
        );
    }

    #[test]
    fn many_changes_at_once_are_a_burst_and_many_over_time_are_none() {
        let burst = changes(&mut WatchThrottle::default(), BURST_CHANGES + 1, Duration::from_millis(1900));
        assert_eq!(burst, Some(WatchPause::Burst(500)));
        let calm =
            changes(&mut WatchThrottle::default(), 100 * BURST_CHANGES, Duration::from_secs(2 * 100 + 100));
        assert_eq!(calm, None);
    }

    #[test]
    fn a_pause_is_longer_the_more_there_is_to_list_again() {
        assert!(WatchPause::Burst(0).lasts() >= AFTER_BURST.0);
        assert!(WatchPause::Burst(WATCHED_CLAIMS).lasts() >= AFTER_BURST.0 + Duration::from_secs(40));
        assert!(WatchPause::Large.lasts() >= WHILE_LARGE.0);
    }
}
