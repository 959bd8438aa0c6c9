//! The time of day, for what is written into objects and compared with what other nodes wrote there.
//!
//! A simulation calls [`replay`] first: from then on its thread's time of day follows tokio's clock, which a simulation has paused.

use std::cell::Cell;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A time of day that follows from tokio's clock.
#[derive(Clone, Copy)]
struct Replayed {
    start: Timestamp,
    since: Instant,
    pace: u32,
}

thread_local! {
    /// This thread's time of day, once it has been given one.
    static REPLAYED: Cell<Option<Replayed>> = const { Cell::new(None) };
}

/// What time it is.
pub fn now() -> Timestamp {
    let Some(Replayed { start, since, pace }) = REPLAYED.get() else { return Timestamp::now() };
    let passed =
        SignedDuration::try_from(since.elapsed().saturating_mul(pace)).unwrap_or(SignedDuration::MAX);
    start.checked_add(passed).unwrap_or(Timestamp::MAX)
}

/// Makes it `start` on this thread now, and lets the time of day go on `pace` times as fast as tokio's clock: long terms pass in a short
/// run. For simulations.
pub fn replay(start: Timestamp, pace: u32) {
    REPLAYED.set(Some(Replayed { start, since: Instant::now(), pace }));
}

#[cfg(test)]
mod tests {
    use super::{SignedDuration, Timestamp, now, replay};
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn the_time_of_day_follows_the_paused_clock_at_its_pace() {
        let real = now();
        assert!(real.duration_since(Timestamp::now()).abs() < SignedDuration::from_secs(60));
        let start = Timestamp::from_second(1_700_000_000).unwrap();
        replay(start, 4);
        assert_eq!(now(), start);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(now().duration_since(start), SignedDuration::from_secs(40));
    }
}
