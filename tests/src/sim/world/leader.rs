//! The leaders. The simulation has no election: several processes lead at the same time.

use std::time::Duration;

use fastrand::Rng;
use k8s_openapi::jiff::SignedDuration;
use node::client::ApiClient;
use node::names::DnsLabel;
use whereabouts::leader::context::{Context, Timing};
use whereabouts::leader::run;
use whereabouts::metrics::Metrics;

use super::clock::OnClock;
use super::scenario::Scenario;
use super::{CHURN, PASS, World};

/// Runs a leader of the daemons of a namespace until the run ends. Until the churn ends, it crashes from time to time, and a new leader starts
/// with no state.
pub async fn lead(
    world: World,
    namespace: &'static str,
    api: ApiClient,
    grace: Duration,
    clock: SignedDuration,
    mut rng: Rng,
) {
    let namespace = DnsLabel::new(namespace).unwrap();
    let timing = Timing { grace, pass: PASS, ..Timing::default() };
    // All nodes change at the same time there. In the other scenario the leaders run while a node still has Whereabouts' plugin.
    let absence =
        world.schedule.absence(0).filter(|_| world.schedule.scenario == Scenario::WhereaboutsBetween);
    loop {
        let (metrics, _) = Metrics::new();
        let context = Context::new(api.clone(), namespace.clone(), metrics, grace).with_timing(timing);
        let led = OnClock::new(clock, run(&context));
        let now = world.history.now();
        let mut term = Duration::from_secs(rng.u64(30..300));
        if now + term >= CHURN {
            term = Duration::from_secs(3600);
        }
        match absence.filter(|(from, _)| *from > now && *from < now + term) {
            Some((from, to)) => {
                let _ = tokio::time::timeout(from - now, led).await;
                tokio::time::sleep(to - from).await;
            }
            None => drop(tokio::time::timeout(term, led).await),
        }
    }
}
