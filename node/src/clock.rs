//! The time of day, for times that are written into objects or files and compared later, perhaps on another node; and the time since boot, which
//! all processes of a node share.
//!
//! A simulation calls [`replay`] first. Then the time of day of its thread follows tokio's clock, which the simulation has paused; and
//! [`set_offset`] says how wrong the clock of the node is whose code runs.

use std::cell::Cell;
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// A time of day that follows tokio's clock.
#[derive(Clone, Copy)]
struct Replayed {
    start: Timestamp,
    since: Instant,
    pace: u32,
    offset: SignedDuration,
}

thread_local! {
    /// The simulated time of day of this thread, if any.
    static REPLAYED: Cell<Option<Replayed>> = const { Cell::new(None) };
}

/// The time of day.
#[allow(clippy::disallowed_methods)] // the one place that reads the machine's clock
pub fn now() -> Timestamp {
    let Some(Replayed { start, since, pace, offset }) = REPLAYED.get() else { return Timestamp::now() };
    let passed =
        SignedDuration::try_from(since.elapsed().saturating_mul(pace)).unwrap_or(SignedDuration::MAX);
    start.checked_add(passed).and_then(|now| now.checked_add(offset)).unwrap_or(Timestamp::MAX)
}

/// The time since the node started, with suspends (`CLOCK_BOOTTIME`).
pub fn since_boot() -> Duration {
    // This clock exists on every kernel since 2.6.39.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// Sets the time of day of this thread to `start`. From there it runs `pace` times as fast as tokio's clock, so that a short run covers long
/// periods. For simulations.
pub fn replay(start: Timestamp, pace: u32) {
    let offset = SignedDuration::ZERO;
    REPLAYED.set(Some(Replayed { start, since: Instant::now(), pace, offset }));
}

/// From now on the replayed time of day of this thread is ahead by `offset`. Returns the offset until now. For simulations, which have nodes
/// with different clocks in one thread; without a replayed time nothing changes.
pub fn set_offset(offset: SignedDuration) -> SignedDuration {
    let Some(replayed) = REPLAYED.get() else { return SignedDuration::ZERO };
    REPLAYED.set(Some(Replayed { offset, ..replayed }));
    replayed.offset
}

#[cfg(test)]
mod tests {
    use super::{SignedDuration, Timestamp, now, replay, set_offset};
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
        let behind = SignedDuration::from_secs(-660);
        assert_eq!(set_offset(behind), SignedDuration::ZERO);
        assert_eq!(now().duration_since(start), SignedDuration::from_secs(40 - 660));
        assert_eq!(set_offset(SignedDuration::ZERO), behind);
    }
}
