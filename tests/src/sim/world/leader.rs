//! The leader. The simulation has no election: several processes lead at the same time.

use std::time::Duration;

use fastrand::Rng;
use node::client::ApiClient;
use node::names::DnsLabel;
use whereabouts::leader::context::{Context, Timing};
use whereabouts::leader::run;
use whereabouts::metrics::Metrics;

use super::layout::NAMESPACE;
use super::{CHURN, PASS, World};

/// Runs a leader until the run ends. Until the churn ends, it crashes from time to time, and a new leader starts with no state.
pub async fn lead(world: World, api: ApiClient, grace: Duration, mut rng: Rng) {
    let namespace = DnsLabel::new(NAMESPACE).unwrap();
    let timing = Timing { grace, pass: PASS, ..Timing::default() };
    loop {
        let (metrics, _) = Metrics::new();
        let context = Context::new(api.clone(), namespace.clone(), metrics, grace).with_timing(timing);
        let term = Duration::from_secs(rng.u64(30..300));
        if world.history.now() + term < CHURN {
            let _ = tokio::time::timeout(term, run(&context)).await;
        } else {
            run(&context).await;
        }
    }
}
