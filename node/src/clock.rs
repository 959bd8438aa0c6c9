//! The time of day, for times that are written into objects and compared with those of other nodes.
//!
//! A simulation calls [`replay`] first. Then the time of day of its thread follows tokio's clock, which the simulation has paused.

use std::cell::Cell;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A time of day that follows tokio's clock.
#[derive(Clone, Copy)]
struct Replayed {
    start: Timestamp,
    since: Instant,
    pace: u32,
}

thread_local! {
    /// The simulated time of day of this thread, if any.
    static REPLAYED: Cell<Option<Replayed>> = const { Cell::new(None) };
}

/// The time of day.
#[allow(clippy::disallowed_methods)] // the one place that reads the machine's clock
pub fn now() -> Timestamp {
    let Some(Replayed { start, since, pace }) = REPLAYED.get() else { return Timestamp::now() };
    let passed =
        SignedDuration::try_from(since.elapsed().saturating_mul(pace)).unwrap_or(SignedDuration::MAX);
    start.checked_add(passed).unwrap_or(Timestamp::MAX)
}

/// Sets the time of day of this thread to `start`. From there it runs `pace` times as fast as tokio's clock, so that a short run covers long
/// periods. For simulations.
pub fn replay(start: Timestamp, pace: u32) {
    REPLAYED.set(Some(Replayed { start, since: Instant::now(), pace }));
}

#[cfg(test)]
mod tests {
    use super::{SignedDuration, Timestamp, now, replay};
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn the_time_of_day_follows_the_paused_clock_at_its_pace() {
        let system = Timestamp::try_from(std::time::SystemTime::now()).unwrap();
        assert!(now().duration_since(system).abs() < SignedDuration::from_secs(60));
        let start = Timestamp::from_second(1_700_000_000).unwrap();
        replay(start, 4);
        assert_eq!(now(), start);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(now().duration_since(start), SignedDuration::from_secs(40));
    }
}
