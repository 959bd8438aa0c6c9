//! Faults between a client and the API server, all derived from the seed. Only faults that a real API server can show. In particular, no
//! create answers "already exists", and no precondition fails, unless it is true.

use std::time::Duration;

use fastrand::Rng;

/// The faults of one run. The rates are parts of all requests, from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultPlan {
    /// Requests that the server rejects without effect (429, 500, 503; for some writes 409).
    pub refused: f64,
    /// Requests that take effect, but whose response is lost or replaced by an error.
    pub response_lost: f64,
    /// Requests that never reach the server.
    pub request_lost: f64,
    /// Requests and responses that take seconds.
    pub slow: f64,
    /// Times in which all or some clients do not reach the server.
    pub outages: Vec<Outage>,
    /// For each of the two servers: the times (from, to) in which its watch cache does not move.
    pub frozen: [Vec<(Duration, Duration)>; 2],
    /// How far the watch caches are behind at other times.
    pub lag: Duration,
    /// The longest lifetime of a watch.
    pub watch_lifetime: Duration,
    /// The end of all faults, counted from the start of the run.
    pub faults_end: Duration,
}

/// A time without connection, for some clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Its start.
    pub from: Duration,
    /// Its end.
    pub to: Duration,
    /// The clients that it affects, as a bit set of client numbers.
    pub clients: u16,
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The time until the request reaches the server.
    pub request_delay: Duration,
    /// What the server does with it.
    pub handling: Handling,
    /// The time until the response reaches the client.
    pub response_delay: Duration,
    /// What the client receives.
    pub reply: Reply,
    /// The server that gets the request, 0 or 1.
    pub server: usize,
}

/// What a server does with a request. `Refused` changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Handling {
    Served,
    Refused { code: u16, reason: &'static str, retry_after: Option<u64> },
    NotReceived,
}

/// What a client receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The response.
    Delivered,
    /// A connection reset.
    Reset,
    /// Nothing: the client waits until its own timeout.
    Silence,
    /// An error in place of the response: etcd was too slow (500), or a proxy gave up (504).
    Error(u16),
}

/// The kind of a request, as far as faults depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verb {
    Read,
    Create,
    Patch,
    ReplaceOrDelete,
}

/// The shortest time of a request, and of a response, on the network.
const LATENCY: Duration = Duration::from_micros(700);

impl FaultPlan {
    /// Random faults until `faults_end`.
    pub fn random(rng: &mut Rng, faults_end: Duration) -> Self {
        // Every run draws in this order. Another order gives every seed another run.
        let refused = [0.0, 0.02, 0.1, 0.3][rng.usize(..4)];
        let response_lost = [0.0, 0.05, 0.05, 0.05][rng.usize(..4)];
        let request_lost = [0.0, 0.02, 0.05][rng.usize(..3)];
        let slow = [0.0, 0.02, 0.08][rng.usize(..3)];
        let outages = (0..rng.usize(..4)).map(|_| Outage::random(rng, faults_end)).collect();
        let mut frozen = || {
            let times = rng.usize(..3);
            (0..times).map(|_| span(rng, faults_end, Duration::from_secs(150))).collect()
        };
        let frozen = [frozen(), frozen()];
        let lag = Duration::from_millis(rng.u64(0..1500));
        let watch_lifetime = Duration::from_secs(rng.u64(20..300));
        FaultPlan {
            refused,
            response_lost,
            request_lost,
            slow,
            outages,
            frozen,
            lag,
            watch_lifetime,
            faults_end,
        }
    }

    /// No faults, for tests.
    pub const fn none() -> Self {
        FaultPlan {
            refused: 0.0,
            response_lost: 0.0,
            request_lost: 0.0,
            slow: 0.0,
            outages: Vec::new(),
            frozen: [Vec::new(), Vec::new()],
            lag: Duration::ZERO,
            watch_lifetime: Duration::from_secs(300),
            faults_end: Duration::ZERO,
        }
    }

    /// What happens to a request that `client` sends at `now`.
    pub fn outcome(&self, rng: &mut Rng, now: Duration, client: usize, verb: Verb) -> Outcome {
        // Up to 2 ms more, so that requests overtake each other.
        let latency = LATENCY + Duration::from_micros(rng.u64(0..2000));
        let faultless = Outcome {
            request_delay: latency,
            handling: Handling::Served,
            response_delay: latency,
            reply: Reply::Delivered,
            server: rng.usize(..2),
        };
        if now >= self.faults_end {
            return faultless;
        }
        if self.is_unreachable(now, client) {
            // A closed port resets the connection; a firewall drops packets in silence.
            let reply = if rng.bool() { Reply::Reset } else { Reply::Silence };
            return Outcome { handling: Handling::NotReceived, reply, ..faultless };
        }
        let extra = |rng: &mut Rng| match rng.f64() {
            // Longer than any client waits. The server handles the request all the same.
            f if f < self.slow / 16.0 => Duration::from_millis(rng.u64(15_000..25_000)),
            f if f < self.slow => Duration::from_millis(rng.u64(100..5_000)),
            _ => Duration::ZERO,
        };
        let (request_delay, response_delay) = (latency + extra(rng), latency + extra(rng));
        let roll = rng.f64();
        if roll < self.request_lost {
            let reply = if rng.u8(..4) == 0 { Reply::Silence } else { Reply::Reset };
            return Outcome {
                request_delay,
                handling: Handling::NotReceived,
                response_delay,
                reply,
                ..faultless
            };
        }
        if rng.f64() < self.refused {
            return Outcome { request_delay, handling: refusal(rng, verb), response_delay, ..faultless };
        }
        let reply = if rng.f64() < self.response_lost { lost_response(rng) } else { Reply::Delivered };
        Outcome { request_delay, response_delay, reply, ..faultless }
    }

    /// Whether `client` cannot reach any server at `now`.
    pub fn is_unreachable(&self, now: Duration, client: usize) -> bool {
        let affects =
            |outage: &Outage| (outage.from..outage.to).contains(&now) && (outage.clients >> client) & 1 == 1;
        now < self.faults_end && self.outages.iter().any(affects)
    }

    /// The time whose state the watch cache of `server` shows at `now`.
    pub fn cache_time(&self, now: Duration, server: usize) -> Duration {
        let lagging = now.saturating_sub(self.lag);
        let frozen = self.frozen[server].iter().filter(|(from, to)| (*from..*to).contains(&now));
        frozen.map(|(from, _)| *from).min().map_or(lagging, |from| from.min(lagging))
    }
}

impl Outage {
    fn random(rng: &mut Rng, faults_end: Duration) -> Self {
        let (from, to) = span(rng, faults_end, Duration::from_secs(60));
        let clients = if rng.bool() { u16::MAX } else { rng.u16(..) };
        Outage { from, to, clients }
    }
}

fn span(rng: &mut Rng, faults_end: Duration, longest: Duration) -> (Duration, Duration) {
    let part = |rng: &mut Rng, of: Duration| Duration::from_millis(rng.u64(0..of.as_millis() as u64));
    let from = part(rng, faults_end);
    let to = from + part(rng, longest);
    (from, to.min(faults_end))
}

/// A rejection without effect.
fn refusal(rng: &mut Rng, verb: Verb) -> Handling {
    let (code, reason) = match (rng.u8(..8), verb) {
        // 409 without a competing write: a quota that changed meanwhile, or a patch that the server retried five times in vain.
        (0, Verb::Create | Verb::Patch) => (409, "Conflict"),
        (0..=3, _) => (429, "TooManyRequests"),
        (4 | 5, _) => (500, "InternalError"),
        _ => (503, "ServiceUnavailable"),
    };
    let retry_after = (code == 429).then(|| rng.u64(0..3)).filter(|seconds| *seconds > 0);
    Handling::Refused { code, reason, retry_after }
}

/// What a client receives in place of the response to a request that took effect.
fn lost_response(rng: &mut Rng) -> Reply {
    match rng.u8(..8) {
        0 => Reply::Silence,
        1 => Reply::Error(500),
        2 => Reply::Error(504),
        _ => Reply::Reset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Duration = Duration::from_secs(200);

    fn outcomes(seed: u64, verb: Verb) -> Vec<Outcome> {
        let mut rng = Rng::with_seed(seed);
        let faults = FaultPlan { refused: 0.3, ..FaultPlan::random(&mut rng, END) };
        (0..1000).map(|second| faults.outcome(&mut rng, Duration::from_secs(second), 1, verb)).collect()
    }

    #[test]
    fn a_seed_gives_the_same_outcomes() {
        assert_eq!(outcomes(7, Verb::Create), outcomes(7, Verb::Create));
        assert_ne!(outcomes(7, Verb::Create), outcomes(8, Verb::Create));
    }

    #[test]
    fn no_request_fails_after_the_faults_end() {
        for seed in 0..50 {
            let late_outcomes = outcomes(seed, Verb::Create).split_off(END.as_secs() as usize);
            assert!(
                late_outcomes
                    .iter()
                    .all(|outcome| outcome.handling == Handling::Served && outcome.reply == Reply::Delivered)
            );
        }
    }

    #[test]
    fn only_creates_and_patches_get_an_unfounded_conflict() {
        let conflicts = |verb: Verb| {
            let is_conflict =
                |outcome: &Outcome| matches!(outcome.handling, Handling::Refused { code: 409, .. });
            (0..20).any(|seed| outcomes(seed, verb).iter().any(is_conflict))
        };
        assert!(conflicts(Verb::Create) && conflicts(Verb::Patch));
        assert!(!conflicts(Verb::Read) && !conflicts(Verb::ReplaceOrDelete));
    }

    #[test]
    fn an_outage_affects_its_clients_for_its_time() {
        let seconds = Duration::from_secs;
        let outage = Outage { from: seconds(10), to: seconds(20), clients: 0b10 };
        let faults = FaultPlan { outages: vec![outage], faults_end: END, ..FaultPlan::none() };
        let unreachable = |now: u64, client: usize| faults.is_unreachable(seconds(now), client);
        assert!(
            unreachable(10, 1)
                && unreachable(19, 1)
                && !unreachable(20, 1)
                && !unreachable(9, 1)
                && !unreachable(15, 0)
        );
        let outcome = faults.outcome(&mut Rng::with_seed(1), seconds(15), 1, Verb::Read);
        assert_eq!(outcome.handling, Handling::NotReceived);
    }

    #[test]
    fn a_frozen_cache_shows_the_time_when_it_froze() {
        let seconds = Duration::from_secs;
        let frozen = [vec![(seconds(10), seconds(20))], Vec::new()];
        let faults = FaultPlan { frozen, lag: seconds(1), ..FaultPlan::none() };
        assert_eq!(faults.cache_time(seconds(15), 0), seconds(10));
        assert_eq!(faults.cache_time(seconds(10), 0), seconds(9));
        assert_eq!(faults.cache_time(seconds(25), 0), seconds(24));
        assert_eq!(faults.cache_time(seconds(15), 1), seconds(14));
    }
}
