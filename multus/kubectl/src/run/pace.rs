//! How long `kubectl multus migrate` waits.

use std::time::Duration;

/// How long a change over waits for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Between two looks at something that is waited for.
    pub(super) look: Duration,
    /// After the pods are ready, until they are looked at once more: programs that end at once are ready for a moment.
    pub(super) settle: Duration,
    /// The longest time of one step.
    pub(super) step: Duration,
}

/// How long a change over for people waits, but for the limit of a step.
pub(super) const PACE: Pace =
    Pace { look: Duration::from_secs(2), settle: Duration::from_secs(5), step: Duration::from_secs(900) };

/// The longest time of a whole change over with this limit of a step.
pub(super) const fn limit(step: Duration) -> Duration {
    // At most so many workloads and waits; each has its own limit too.
    step.saturating_mul(12).saturating_add(Duration::from_secs(120))
}
