//! The requests that could not be decided, and when each is tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use node::names::DnsSubdomain;
use node::rng::between;
use tokio::time::Instant;

/// The wait after the first failure. It doubles with each further one.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait.
pub(super) const LONGEST: Duration = Duration::from_secs(300);

/// The requests that wait, by name.
#[derive(Debug, Default)]
pub(super) struct Later {
    waiting: BTreeMap<DnsSubdomain, Attempt>,
}

#[derive(Debug)]
struct Attempt {
    failures: u32,
    due: Instant,
}

impl Later {
    /// Puts a request off after a failure. Returns for how long: each wait is a random part of twice the one before, from half to whole.
    pub(super) fn put_off(&mut self, name: DnsSubdomain) -> Duration {
        let now = Instant::now();
        let attempt = self.waiting.entry(name).or_insert(Attempt { failures: 0, due: now });
        let whole = FIRST.saturating_mul(2_u32.saturating_pow(attempt.failures)).min(LONGEST);
        let wait = between(whole / 2, whole);
        attempt.failures = attempt.failures.saturating_add(1);
        attempt.due = now + wait;
        wait
    }

    /// Forgets a request that needs no further attempt.
    pub(super) fn forget(&mut self, name: &DnsSubdomain) {
        self.waiting.remove(name);
    }

    /// Whether a request waits.
    pub(super) fn has(&self, name: &DnsSubdomain) -> bool {
        self.waiting.contains_key(name)
    }

    /// Waits until a request is due. Forever if none waits.
    pub(super) async fn next(&self) -> DnsSubdomain {
        match self.waiting.iter().min_by_key(|(_, attempt)| attempt.due) {
            Some((name, attempt)) => {
                tokio::time::sleep_until(attempt.due).await;
                name.clone()
            }
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DnsSubdomain {
        DnsSubdomain::new(text).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn waits_grow_to_the_longest_and_begin_anew_once_forgotten() {
        let mut later = Later::default();
        let waits: Vec<Duration> = (0..40).map(|_| later.put_off(name("a"))).collect();
        assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST, "{waits:?}");
        assert!(waits[3] >= FIRST * 4 && waits[3] <= FIRST * 8, "{waits:?}");
        assert!(waits[39] >= LONGEST / 2 && waits[39] <= LONGEST, "{waits:?}");
        later.forget(&name("a"));
        assert!(!later.has(&name("a")) && later.put_off(name("a")) <= FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn the_request_that_is_due_first_comes_first() {
        let mut later = Later::default();
        let none = tokio::time::timeout(Duration::from_secs(9), later.next()).await;
        assert!(none.is_err());
        for _ in 0..5 {
            later.put_off(name("a"));
        }
        let wait = later.put_off(name("b"));
        let before = Instant::now();
        assert_eq!(later.next().await, name("b"));
        assert!(before.elapsed() >= wait && before.elapsed() <= FIRST + Duration::from_millis(2));
        assert!(later.has(&name("a")) && later.has(&name("b")));
    }
}
