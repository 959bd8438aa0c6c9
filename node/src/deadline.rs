//! Deadlines.

use std::time::Duration;

use tokio::time::Instant;

/// The point in time at which an operation must end. An operation passes it on to its parts, so that the parts together take no longer than the
/// whole.
///
/// It follows tokio's clock: the system's monotonic clock, or the paused clock of a test. It accepts both [`std::time::Instant`] and
/// [`tokio::time::Instant`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    at: Instant,
}

impl Deadline {
    /// A deadline `span` from now.
    pub fn after(span: Duration) -> Self {
        Self::after_from(Instant::now(), span)
    }

    /// A deadline `span` from `now`. A longer span than a year counts as a year, so that the sum does not overflow.
    fn after_from(now: impl Into<Instant>, span: Duration) -> Self {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        let now = now.into();
        Self { at: now.checked_add(span.min(YEAR)).unwrap_or(now) }
    }

    /// The time left; zero once it has passed.
    pub fn remaining(&self) -> Duration {
        self.remaining_at(Instant::now())
    }

    /// The time left at `now`; zero once it has passed.
    fn remaining_at(&self, now: impl Into<Instant>) -> Duration {
        self.at.saturating_duration_since(now.into())
    }

    /// Whether it has passed.
    pub fn expired(&self) -> bool {
        self.remaining().is_zero()
    }

    /// The deadline of a part: `max` from now, and not later than the whole.
    #[must_use]
    pub fn child(&self, max: Duration) -> Self {
        self.child_from(Instant::now(), max)
    }

    /// The deadline of a part: `max` from `now`, and not later than the whole.
    fn child_from(&self, now: impl Into<Instant>, max: Duration) -> Self {
        (*self).min(Self::after_from(now, max))
    }

    /// The point in time on the system's clock, for work outside tokio (a process, a blocking socket).
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
    fn the_longest_span_does_not_overflow() {
        let now = Instant::now();
        assert!(Deadline::after_from(now, Duration::MAX).remaining_at(now) > 300 * 24 * 3600 * SECOND);
    }

    #[test]
    fn a_passed_deadline_is_expired() {
        assert!(Deadline::after(Duration::ZERO).expired());
        assert!(!Deadline::after(60 * SECOND).expired());
    }

    #[tokio::test(start_paused = true)]
    async fn it_follows_a_paused_clock() {
        let deadline = Deadline::after(3 * SECOND);
        std::thread::sleep(SECOND / 50);
        assert_eq!(deadline.remaining(), 3 * SECOND);
        tokio::time::advance(2 * SECOND).await;
        assert_eq!(deadline.remaining(), SECOND);
        assert_eq!(deadline.child(2 * SECOND), deadline);
    }

    #[test]
    fn it_converts_from_and_to_the_systems_clock() {
        let now = Instant::now();
        assert_eq!(Deadline::after_from(now, SECOND).instant(), now + SECOND);
        assert_eq!(
            Deadline::after_from(now, SECOND),
            Deadline::after_from(tokio::time::Instant::from_std(now), SECOND)
        );
    }
}
