//! Time: what processes used of it, and how to sum it up.

use std::time::Duration;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// CPU time of all children that were waited for.
pub fn children() -> Duration {
    let usage: Usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("usage can be asked");
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(microseconds.try_into().expect("time goes forward"))
}

/// The smallest time that so many thousandths of all are at or below. `times` has at least one.
pub fn quantile(times: &[Duration], per_mille: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * per_mille).div_ceil(1000).max(1);
    sorted[rank - 1]
}

/// In milliseconds.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
