//! What goes wrong between a client and the API server: a function of the seed. Nothing here happens that a real API server could not do.
//! In particular no create answers "exists already", and no precondition fails, unless it is so.

use std::time::Duration;

use fastrand::Rng;

/// How bad it is in one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Climate {
    /// Part of the requests that are refused without being served (429, 500, 503; for some writes 409).
    pub refused: f64,
    /// Part of the requests whose answer is lost, or is an error, although they were served.
    pub lost_after: f64,
    /// Part of the requests that never arrive.
    pub lost_before: f64,
    /// Part of the requests that take seconds.
    pub slow: f64,
    /// Nobody, or some clients, reach the server from..to.
    pub blackouts: Vec<Blackout>,
    /// The caches of the servers (there are two) stand still from..to.
    pub frozen: [Vec<(Duration, Duration)>; 2],
    /// By how much they are behind otherwise.
    pub lag: Duration,
    /// How long a watch lives at most.
    pub watch_life: Duration,
    /// From then on nothing fails any more.
    pub calm_from: Duration,
}

/// A time without connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blackout {
    /// When it begins.
    pub from: Duration,
    /// When it ends.
    pub to: Duration,
    /// Whom it hits: the clients whose number has its bit set here.
    pub clients: u16,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// The time until it arrives.
    pub before: Duration,
    /// What the server does.
    pub service: Service,
    /// The time until the answer arrives.
    pub after: Duration,
    /// What becomes of the answer.
    pub reply: Reply,
    /// Which of the servers it reaches.
    pub server: usize,
}

/// What a server does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Service {
    Served,
    Refused { code: u16, reason: &'static str, retry_after: Option<u64> },
    NeverArrives,
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It arrives.
    Arrives,
    /// The connection breaks.
    Breaks,
    /// Nothing ever comes.
    Silence,
    /// An error comes in its place: the store was too slow, or a proxy gave up.
    Error(u16),
}

/// What a request does, as far as the faults care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Act {
    Read,
    Create,
    Patch,
    Write,
}

const LATENCY: Duration = Duration::from_micros(700);

impl Climate {
    /// The climate of a run that is rough until `calm_from`.
    pub fn of(rng: &mut Rng, calm_from: Duration) -> Self {
        let refused = [0.0, 0.02, 0.1, 0.3][rng.usize(..4)];
        let lost_after = [0.0, 0.05, 0.05, 0.05][rng.usize(..4)];
        let lost_before = [0.0, 0.02, 0.05][rng.usize(..3)];
        let slow = [0.0, 0.02, 0.08][rng.usize(..3)];
        let blackouts = (0..rng.usize(..4)).map(|_| Blackout::any(rng, calm_from)).collect();
        let mut frozen = || {
            let times = rng.usize(..3);
            (0..times).map(|_| span(rng, calm_from, Duration::from_secs(150))).collect()
        };
        let frozen = [frozen(), frozen()];
        let lag = Duration::from_millis(rng.u64(0..1500));
        let watch_life = Duration::from_secs(rng.u64(20..300));
        Climate { refused, lost_after, lost_before, slow, blackouts, frozen, lag, watch_life, calm_from }
    }

    /// One without faults, for tests.
    pub const fn fair() -> Self {
        Climate {
            refused: 0.0,
            lost_after: 0.0,
            lost_before: 0.0,
            slow: 0.0,
            blackouts: Vec::new(),
            frozen: [Vec::new(), Vec::new()],
            lag: Duration::ZERO,
            watch_life: Duration::from_secs(300),
            calm_from: Duration::ZERO,
        }
    }

    /// What becomes of a request of `client` at `now`.
    pub fn fate(&self, rng: &mut Rng, now: Duration, client: usize, act: Act) -> Fate {
        let latency = LATENCY + Duration::from_micros(rng.u64(0..2000));
        let fine = Fate {
            before: latency,
            service: Service::Served,
            after: latency,
            reply: Reply::Arrives,
            server: rng.usize(..2),
        };
        if now >= self.calm_from {
            return fine;
        }
        if self.is_dark(now, client) {
            // Either the connection is refused, or packets are dropped.
            let reply = if rng.bool() { Reply::Breaks } else { Reply::Silence };
            return Fate { service: Service::NeverArrives, reply, ..fine };
        }
        let slow = |rng: &mut Rng| match rng.f64() {
            // Longer than any client waits: it is served all the same.
            f if f < self.slow / 16.0 => Duration::from_millis(rng.u64(15_000..25_000)),
            f if f < self.slow => Duration::from_millis(rng.u64(100..5_000)),
            _ => Duration::ZERO,
        };
        let (before, after) = (latency + slow(rng), latency + slow(rng));
        let chance = rng.f64();
        if chance < self.lost_before {
            let reply = if rng.u8(..4) == 0 { Reply::Silence } else { Reply::Breaks };
            return Fate { before, service: Service::NeverArrives, after, reply, ..fine };
        }
        if rng.f64() < self.refused {
            return Fate { before, service: refusal(rng, act), after, ..fine };
        }
        let reply = if rng.f64() < self.lost_after { mishap(rng) } else { Reply::Arrives };
        Fate { before, after, reply, ..fine }
    }

    /// Whether `client` reaches no server at `now`.
    pub fn is_dark(&self, now: Duration, client: usize) -> bool {
        let hit = |out: &Blackout| (out.from..out.to).contains(&now) && (out.clients >> client) & 1 == 1;
        now < self.calm_from && self.blackouts.iter().any(hit)
    }

    /// The moment that a server's cache shows at `now`.
    pub fn cached(&self, now: Duration, server: usize) -> Duration {
        let late = now.saturating_sub(self.lag);
        let frozen = self.frozen[server].iter().filter(|(from, to)| (*from..*to).contains(&now));
        frozen.map(|(from, _)| *from).min().map_or(late, |from| from.min(late))
    }
}

impl Blackout {
    fn any(rng: &mut Rng, calm_from: Duration) -> Self {
        let (from, to) = span(rng, calm_from, Duration::from_secs(60));
        let clients = if rng.bool() { u16::MAX } else { rng.u16(..) };
        Blackout { from, to, clients }
    }
}

fn span(rng: &mut Rng, calm_from: Duration, longest: Duration) -> (Duration, Duration) {
    let part = |rng: &mut Rng, of: Duration| Duration::from_millis(rng.u64(0..of.as_millis() as u64));
    let from = part(rng, calm_from);
    let to = from + part(rng, longest);
    (from, to.min(calm_from))
}

/// A refusal that changed nothing.
fn refusal(rng: &mut Rng, act: Act) -> Service {
    let (code, reason) = match (rng.u8(..8), act) {
        // A quota that others are changing; a patch that lost to others five times.
        (0, Act::Create | Act::Patch) => (409, "Conflict"),
        (0..=3, _) => (429, "TooManyRequests"),
        (4 | 5, _) => (500, "InternalError"),
        _ => (503, "ServiceUnavailable"),
    };
    let retry_after = (code == 429).then(|| rng.u64(0..3)).filter(|after| *after > 0);
    Service::Refused { code, reason, retry_after }
}

/// What can come in place of the answer to a request that was served.
fn mishap(rng: &mut Rng) -> Reply {
    match rng.u8(..8) {
        0 => Reply::Silence,
        1 => Reply::Error(500),
        2 => Reply::Error(504),
        _ => Reply::Breaks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Duration = Duration::from_secs(200);

    fn fates(seed: u64, act: Act) -> Vec<Fate> {
        let mut rng = Rng::with_seed(seed);
        let climate = Climate { refused: 0.3, ..Climate::of(&mut rng, CALM) };
        (0..1000).map(|second| climate.fate(&mut rng, Duration::from_secs(second), 1, act)).collect()
    }

    #[test]
    fn a_seed_has_one_fate() {
        assert_eq!(fates(7, Act::Create), fates(7, Act::Create));
        assert_ne!(fates(7, Act::Create), fates(8, Act::Create));
    }

    #[test]
    fn nothing_fails_once_it_is_calm() {
        for seed in 0..50 {
            let late = fates(seed, Act::Create).split_off(CALM.as_secs() as usize);
            assert!(late.iter().all(|fate| fate.service == Service::Served && fate.reply == Reply::Arrives));
        }
    }

    #[test]
    fn only_what_can_conflict_conflicts() {
        let conflicts = |act: Act| {
            let is_conflict = |fate: &Fate| matches!(fate.service, Service::Refused { code: 409, .. });
            (0..20).any(|seed| fates(seed, act).iter().any(is_conflict))
        };
        assert!(conflicts(Act::Create) && conflicts(Act::Patch));
        assert!(!conflicts(Act::Read) && !conflicts(Act::Write));
    }

    #[test]
    fn a_blackout_hits_its_clients_for_its_time() {
        let seconds = Duration::from_secs;
        let out = Blackout { from: seconds(10), to: seconds(20), clients: 0b10 };
        let climate = Climate { blackouts: vec![out], calm_from: CALM, ..Climate::fair() };
        let dark = |now: u64, client: usize| climate.is_dark(seconds(now), client);
        assert!(dark(10, 1) && dark(19, 1) && !dark(20, 1) && !dark(9, 1) && !dark(15, 0));
        let fate = climate.fate(&mut Rng::with_seed(1), seconds(15), 1, Act::Read);
        assert_eq!(fate.service, Service::NeverArrives);
    }

    #[test]
    fn a_frozen_cache_shows_when_it_froze() {
        let seconds = Duration::from_secs;
        let frozen = [vec![(seconds(10), seconds(20))], Vec::new()];
        let climate = Climate { frozen, lag: seconds(1), ..Climate::fair() };
        assert_eq!(climate.cached(seconds(15), 0), seconds(10));
        assert_eq!(climate.cached(seconds(10), 0), seconds(9));
        assert_eq!(climate.cached(seconds(25), 0), seconds(24));
        assert_eq!(climate.cached(seconds(15), 1), seconds(14));
    }
}
