//! Random numbers that need to be spread, not secret: temp file names, jitter, the choice among free addresses.
//!
//! A simulation calls [`replay`] first: from then on its thread's numbers follow from the seed, and what went wrong
//! once goes wrong again.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

thread_local! {
    /// The state of this thread's sequence, once it has been given a seed.
    static SEQUENCE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// A random number. The standard library seeds its hash keys from the kernel, once per thread.
pub fn random() -> u64 {
    let Some(state) = SEQUENCE.get() else {
        return RandomState::new().build_hasher().finish();
    };
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    SEQUENCE.set(Some(state));
    mixed(state)
}

/// Makes this thread's numbers follow from `seed` from now on. For simulations.
pub fn replay(seed: u64) {
    SEQUENCE.set(Some(seed));
}

/// A random time from `from` up to `to`, in steps of a microsecond; `from` if `to` is not later.
pub fn between(from: Duration, to: Duration) -> Duration {
    let span = u64::try_from(to.saturating_sub(from).as_micros()).unwrap_or(u64::MAX);
    from.saturating_add(Duration::from_micros(random() % span.max(1)))
}

/// The output step of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
const fn mixed(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Duration, between, random, replay};
    use std::collections::BTreeSet;

    fn numbers(count: usize) -> Vec<u64> {
        (0..count).map(|_| random()).collect()
    }

    #[test]
    fn a_thousand_numbers_differ() {
        assert_eq!(numbers(1000).into_iter().collect::<BTreeSet<_>>().len(), 1000);
        replay(0);
        assert_eq!(numbers(1000).into_iter().collect::<BTreeSet<_>>().len(), 1000);
    }

    #[test]
    fn a_seed_gives_the_published_sequence() {
        replay(1_234_567);
        // The reference implementation's first numbers for this seed.
        assert_eq!(
            numbers(3),
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn a_seed_repeats_and_stays_in_its_thread() {
        replay(7);
        let first = numbers(5);
        replay(7);
        let elsewhere = std::thread::spawn(|| numbers(5)).join().unwrap();
        assert_eq!(first, numbers(5));
        assert_ne!(first, elsewhere);
    }

    #[test]
    fn a_time_between_two_is_between_them() {
        let (from, to) = (Duration::from_millis(5), Duration::from_millis(6));
        assert!((0..1000).all(|_| (from..to).contains(&between(from, to))));
        assert_eq!(between(to, from), to);
        assert_eq!(between(to, to), to);
    }
}
