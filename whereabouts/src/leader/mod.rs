//! What one daemon does for all nodes while it leads, from one cache of the cluster.
//!
//! | module | question it answers |
//! |---|---|
//! | [`cluster_cache`] | which claims, pools, pods, nodes, networks and slices are there? |
//! | [`networks`] | which pools do the networks have, and how are their claims named? |
//! | [`adopt`] | which allocations that Whereabouts wrote need a claim? |
//! | [`views`], [`ip_pool_view`] | what do the IPPool objects lack, and when are they written? |
//! | [`slices`], [`slice_plan`] | which node gets which slice of a range? |
//! | [`reclaim`], [`reclaim_rules`] | which claims outlived their pods? |
//!
//! Each task is a loop: it decides from the cache, then sends the requests. Two leaders at the same time do no harm, because every write
//! carries the resourceVersion that it was decided on.

pub mod adopt;
pub mod cluster_cache;
pub mod context;
pub mod ip_pool_view;
pub mod networks;
pub mod reclaim;
pub mod reclaim_rules;
pub mod slice_plan;
pub mod slices;
pub mod views;

use cluster_cache::SharedCache;
use context::Context;

/// Leads until it is dropped.
pub async fn run(context: &Context) {
    let shared = SharedCache::default();
    futures::join!(
        cluster_cache::feed(&shared, &context.api, &context.namespace),
        adopt::run(context, &shared),
        views::run(context, &shared),
        slices::run(context, &shared),
        reclaim::run(context, &shared),
    );
}

#[cfg(test)]
pub(crate) mod tests;
