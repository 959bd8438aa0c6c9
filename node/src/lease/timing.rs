//! The periods of an election.

use std::time::Duration;

/// The periods of an election.
///
/// `lease` > `renew` > `retry`, and each difference is longer than a request takes. A leader that cannot renew stops `lease - renew` before
/// another candidate may take the lease. Two leaders at once would need clocks that differ by that much within one lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Another candidate may take a lease that did not change for so long. Whole seconds, at least one. Default 15 s.
    pub lease: Duration,
    /// A leader that did not renew the lease for so long stops leading. One request may take a third of it. Default 10 s.
    pub renew: Duration,
    /// The wait between two attempts to take or renew the lease; jitter adds up to a fifth. Default 2 s.
    pub retry: Duration,
    /// The wait between two reads by a follower; jitter adds up to a fifth. On every node a process follows: a longer wait means less load on
    /// the API server, and a later successor after a lease was released. Default 5 s.
    pub look: Duration,
}

impl Default for Timing {
    /// client-go's values for `lease`, `renew` and `retry`.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { lease: seconds(15), renew: seconds(10), retry: seconds(2), look: seconds(5) }
    }
}
