//! Networks that ask for `enable_overlapping_ranges: false` in a pool whose claims are named by address: they work, but stricter than asked.
//! Their owners get an event.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use node::deadline::Deadline;

use super::cluster_cache::{ClusterCache, SharedCache};
use super::context::Context;
use super::networks::{self, WhereaboutsNetwork, pools_of};
use super::notices::{Notice, report};
use crate::pool::claim_names::is_stricter_than;

/// The time between two looks. They read all networks' configurations.
const PERIOD: Duration = Duration::from_secs(60);

const COMPONENT: &str = "whereabouts";
const REASON: &str = "OverlappingRanges";

/// The notices about all networks.
pub(super) fn notices(
    cache: &ClusterCache,
    networks: &BTreeMap<String, WhereaboutsNetwork>,
) -> BTreeSet<Notice> {
    let mut notices = BTreeSet::new();
    for (definition, WhereaboutsNetwork { conf, .. }) in networks {
        for pool in pools_of(conf, cache) {
            let pool = pool.whole.0.as_str();
            let naming = cache.pools().content().get(pool).and_then(|object| object.naming);
            if naming.is_some_and(|naming| is_stricter_than(naming, conf.overlapping)) {
                let text = format!(
                    "enable_overlapping_ranges is false, but a request with true came first in pool {pool}: addresses of overlapping ranges \
                     are not given a second time here either; to change that, remove all pods of the range, then delete the IPPool {pool}"
                );
                notices.insert(Notice::new(cache, definition, COMPONENT, REASON, text));
            }
        }
    }
    notices
}

/// Reports each notice once. Never returns.
pub(super) async fn run(context: &Context, shared: &SharedCache) {
    let mut reported = BTreeSet::new();
    loop {
        let notices = {
            let cache = shared.lock();
            let is_synced =
                cache.pools().is_synced() && cache.networks.is_synced() && cache.slice_pools.is_synced();
            let networks = || networks::parse_networks(cache.networks.iter(), networks::flat_file);
            is_synced.then(|| notices(&cache, &networks()))
        };
        if let Some(notices) = notices {
            let deadline = Deadline::after(context.timing.request);
            for notice in notices.difference(&reported) {
                // An event that is lost is in the log.
                let _ = report(context, notice, deadline).await;
            }
            reported = notices;
        }
        tokio::time::sleep(PERIOD).await;
    }
}
