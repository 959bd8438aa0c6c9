//! Giving back what DELs could not while the API server was away.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use node::deadline::Deadline;

use super::serve::Service;
use crate::claims::store::Claims;
use crate::claims::tombstones;
use crate::node_state::record::{Record, Records};

/// How often the node's folder is looked at: a tombstone is drained soon after the API server is back.
const PERIOD: Duration = Duration::from_secs(1);

/// How long one may take.
const LIMIT: Duration = Duration::from_secs(10);

/// So many are given back at once.
const AT_ONCE: usize = 16;

/// Drains the node's tombstones, for ever.
pub async fn drain_always(service: Service, records: Records) {
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        let found = records.tombstones().unwrap_or_default();
        let cleanup = pass(&service, &records, found).await;
        service.metrics.tombstones(cleanup);
    }
}

/// Gives back what the tombstones name; how many could not be.
async fn pass(service: &Service, records: &Records, found: Vec<Record>) -> usize {
    let all = found.len();
    let mut found = found.into_iter();
    let Some(first) = found.next() else { return 0 };
    // One tries whether the API server is there at all.
    if !given_back(service, records, first).await {
        return all;
    }
    let tried = stream::iter(found).map(|record| given_back(service, records, record));
    tried.buffer_unordered(AT_ONCE).filter(|done| std::future::ready(!done)).count().await
}

async fn given_back(service: &Service, records: &Records, record: Record) -> bool {
    let namespace = record.namespace.as_ref().unwrap_or(&service.namespace);
    let claims = Claims { api: &service.api, namespace, deadline: Deadline::after(LIMIT) };
    match tombstones::one(&claims, records, &record).await {
        Ok(()) => {
            service.cache.released(&record);
            tracing::info!(pod = %record.podref, interface = %record.if_name, "gave back the addresses of a deleted interface");
            true
        }
        Err(error) => {
            tracing::warn!(pod = %record.podref, interface = %record.if_name, "addresses are still to be given back: {error}");
            false
        }
    }
}
