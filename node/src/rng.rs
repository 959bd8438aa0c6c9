//! Random numbers: temp file names, jitter, the choice among free addresses. They must be spread, not secret.
//!
//! All come from fastrand's generator of the current thread. A simulation calls `fastrand::seed` first, and can then repeat a run.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

/// Seeds the generator of the current thread from the kernel. Every program calls this when it starts.
///
/// fastrand's own seed is a hash of the time since boot and the thread's number, without a secret key. Nodes that boot together and start a
/// daemon at the same moment would then draw similar numbers, and retry and choose addresses in step. The standard library keys
/// [`RandomState`] from getrandom(2).
pub fn seed_from_kernel() {
    fastrand::seed(RandomState::new().build_hasher().finish());
}

/// A random time from `from` up to `to`; `from` if `to` is not later.
pub fn between(from: Duration, to: Duration) -> Duration {
    from.saturating_add(to.saturating_sub(from).mul_f64(fastrand::f64()))
}

#[cfg(test)]
mod tests {
    use super::{Duration, between, seed_from_kernel};

    #[test]
    fn each_seed_from_the_kernel_is_another() {
        let number = || {
            seed_from_kernel();
            fastrand::u64(..)
        };
        assert_ne!(number(), number());
    }

    #[test]
    fn threads_that_start_together_draw_different_numbers() {
        let numbers = std::thread::scope(|scope| {
            let draw = || {
                seed_from_kernel();
                fastrand::u64(..)
            };
            let threads = [scope.spawn(draw), scope.spawn(draw)];
            threads.map(|thread| thread.join().unwrap())
        });
        assert_ne!(numbers[0], numbers[1]);
    }

    #[test]
    fn a_seed_repeats_the_times() {
        let times = || {
            fastrand::seed(7);
            [(); 5].map(|()| between(Duration::ZERO, Duration::from_secs(1)))
        };
        assert_eq!(times(), times());
    }

    #[test]
    fn a_time_between_two_is_between_them() {
        let (from, to) = (Duration::from_millis(5), Duration::from_millis(6));
        assert!((0..1000).all(|_| (from..=to).contains(&between(from, to))));
        assert_eq!(between(to, from), to);
        assert_eq!(between(to, to), to);
    }
}
