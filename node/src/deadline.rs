//! How long something may still take.

use std::time::{Duration, Instant};

/// A point in time after which nobody waits any more. It is handed down, never started afresh, so that
/// the parts of an operation cannot together take longer than the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    at: Instant,
}

impl Deadline {
    /// The point in time `at`.
    pub const fn at(at: Instant) -> Self {
        Self { at }
    }

    /// `span` from now.
    pub fn after(span: Duration) -> Self {
        Self::after_from(Instant::now(), span)
    }

    /// `span` from `now`. A span past what the clock can hold counts as a year.
    pub fn after_from(now: Instant, span: Duration) -> Self {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        Self { at: now.checked_add(span.min(YEAR)).unwrap_or(now) }
    }

    /// What is left of it now; zero once it has passed.
    pub fn remaining(&self) -> Duration {
        self.remaining_at(Instant::now())
    }

    /// What is left of it at `now`; zero once it has passed.
    pub fn remaining_at(&self, now: Instant) -> Duration {
        self.at.saturating_duration_since(now)
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
    pub fn child_from(&self, now: Instant, max: Duration) -> Self {
        (*self).min(Self::after_from(now, max))
    }

    /// The point in time itself.
    pub const fn instant(&self) -> Instant {
        self.at
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
}
