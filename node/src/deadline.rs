//! How long something may still take.

use std::time::Duration;

use tokio::time::Instant;

/// A point in time after which nobody waits any more. It is handed down, never started afresh, so that
/// the parts of an operation cannot together take longer than the whole.
///
/// It is read off tokio's clock: outside of a runtime that is the system's monotonic clock, and where a test has paused
/// the clock it is the paused one. Points in time of either kind ([`std::time::Instant`], [`tokio::time::Instant`]) are
/// taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    at: Instant,
}

impl Deadline {
    /// The point in time `at`.
    pub fn at(at: impl Into<Instant>) -> Self {
        Self { at: at.into() }
    }

    /// `span` from now.
    pub fn after(span: Duration) -> Self {
        Self::after_from(Instant::now(), span)
    }

    /// `span` from `now`. A span past what the clock can hold counts as a year.
    pub fn after_from(now: impl Into<Instant>, span: Duration) -> Self {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        let now = now.into();
        Self { at: now.checked_add(span.min(YEAR)).unwrap_or(now) }
    }

    /// What is left of it now; zero once it has passed.
    pub fn remaining(&self) -> Duration {
        self.remaining_at(Instant::now())
    }

    /// What is left of it at `now`; zero once it has passed.
    pub fn remaining_at(&self, now: impl Into<Instant>) -> Duration {
        self.at.saturating_duration_since(now.into())
    }

    /// True once it has passed.
    pub fn expired(&self) -> bool {
        self.remaining().is_zero()
    }

    /// A deadline for a part: `max` from now, but never later than the whole's.
    #[must_use]
    pub fn child(&self, max: Duration) -> Self {
        self.child_from(Instant::now(), max)
    }

    /// A deadline for a part: `max` from `now`, but never later than the whole's.
    #[must_use]
    pub fn child_from(&self, now: impl Into<Instant>, max: Duration) -> Self {
        (*self).min(Self::after_from(now, max))
    }

    /// The point in time itself, for what waits by the system's clock (an exec, a socket).
    pub fn instant(&self) -> std::time::Instant {
        self.at.into_std()
    }
}

#[cfg(test)]
mod tests {
    use super::Deadline;
    use std::time::{Duration, Instant};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn remaining_counts_down_and_stops_at_zero() {
        let now = Instant::now();
        let deadline = Deadline::after_from(now, 3 * SECOND);
        assert_eq!(deadline.remaining_at(now + SECOND), 2 * SECOND);
        assert_eq!(deadline.remaining_at(now + 4 * SECOND), Duration::ZERO);
    }

    #[test]
    fn a_child_never_outlives_its_parent() {
        let now = Instant::now();
        let parent = Deadline::after_from(now, 3 * SECOND);
        assert_eq!(parent.child_from(now, SECOND).remaining_at(now), SECOND);
        assert_eq!(parent.child_from(now, 9 * SECOND), parent);
        assert_eq!(parent.child_from(now + 2 * SECOND, 2 * SECOND), parent);
    }

    #[test]
    fn an_endless_span_is_bounded() {
        let now = Instant::now();
        assert!(Deadline::after_from(now, Duration::MAX).remaining_at(now) > 300 * 24 * 3600 * SECOND);
    }

    #[test]
    fn a_passed_deadline_is_expired() {
        assert!(Deadline::after(Duration::ZERO).expired());
        assert!(!Deadline::after(60 * SECOND).expired());
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_clock_stops_it() {
        let deadline = Deadline::after(3 * SECOND);
        std::thread::sleep(SECOND / 50);
        assert_eq!(deadline.remaining(), 3 * SECOND);
        tokio::time::advance(2 * SECOND).await;
        assert_eq!(deadline.remaining(), SECOND);
        assert_eq!(deadline.child(2 * SECOND), deadline);
    }

    #[test]
    fn it_takes_and_gives_the_systems_points_in_time() {
        let at = Instant::now() + SECOND;
        assert_eq!(Deadline::at(at).instant(), at);
        assert_eq!(Deadline::at(at), Deadline::at(tokio::time::Instant::from_std(at)));
    }
}
