//! What the daemon that is the leader does for all nodes, from one cache of the cluster.
//!
//! | module | question it answers |
//! |---|---|
//! | `cluster_cache` | which claims, pools, pods, nodes, networks and slices are there? |
//! | `networks` | which pools do the networks have, and how are their claims named? |
//! | `network_check` | what is wrong with the networks' configurations? |
//! | `notices` | how are the owners of networks told? |
//! | `pool_windows` | which addresses of a pool may its networks choose? |
//! | `adopt` | which allocations that Whereabouts wrote need a claim? |
//! | `views` | how are the IPPool objects written? |
//! | `ip_pool_view` | what does an IPPool object lack? |
//! | `void_entries` | which entries may be removed because their pod is gone? |
//! | `view_schedule` | when is a pool's object written? |
//! | `slices` | how are the NodeSlicePool objects written? |
//! | `sliced_networks` | which networks have slices, and do they agree? |
//! | `slice_plan` | which node gets which slice of a range? |
//! | `reclaim` | how are the claims of deleted pods deleted? |
//! | `reclaim_rules` | when may a claim be deleted? |
//! | `overlap_notices` | which networks get stricter pools than they ask for? |
//! | `elsewhere` | which other namespaces have claims? |
//!
//! Each task is a loop: it decides from the cache, then sends the requests. Two leaders at the same time do no harm, because every write
//! carries the resourceVersion of the object that it was decided on.

mod adopt;
mod cluster_cache;
pub mod context;
mod elsewhere;
mod ip_pool_view;
mod network_check;
mod networks;
mod notices;
mod overlap_notices;
mod pool_windows;
mod reclaim;
pub mod reclaim_rules;
mod slice_plan;
mod sliced_networks;
mod slices;
mod view_schedule;
mod views;
mod void_entries;

use cluster_cache::SharedCache;
use context::Context;

/// Runs the leader's tasks. Never returns; drop it to stop leading.
pub async fn run(context: &Context) {
    let shared = SharedCache::default();
    futures::join!(
        lead(context, &shared),
        slices::run(context, &shared),
        network_check::run(context, &shared),
        overlap_notices::run(context, &shared),
        elsewhere::run(context, lead_elsewhere),
    );
}

async fn lead_elsewhere(context: Context) {
    lead(&context, &SharedCache::default()).await;
}

/// The tasks for one namespace of claims.
async fn lead(context: &Context, shared: &SharedCache) {
    futures::join!(
        cluster_cache::watch(shared, &context.api, &context.namespace, &context.metrics),
        adopt::run(context, shared),
        views::run(context, shared),
        reclaim::run(context, shared),
    );
}

#[cfg(test)]
pub(crate) mod tests;
