//! Writing the pools' objects: an object is created if a pool with claims has none, and patched when its view is out of date.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cni::crash_point;
use futures::{StreamExt as _, stream};
use ipnet::IpNet;
use node::client::{ApiError, Change, OnUnknown, Patch, RetryPolicy, retry};
use node::deadline::Deadline;
use node::names::DnsSubdomain;
use tokio::time::Instant;

use super::adopt::{ClassifiedAllocation, classify};
use super::cluster_cache::{ClusterCache, SharedCache};
use super::context::{AT_ONCE, Context};
use super::ip_pool_view::{self, Entries, PoolView, ViaSupport, ViewChange};
use super::networks::{self, PoolNamings};
use super::pool_windows::PoolWindows;
use super::view_schedule::{LastWrite, Schedule};
use super::void_entries::VoidEntries;
use crate::crd::allocation_state::AllocationState;
use crate::crd::cached::CachedPool;
use crate::crd::ip_pool::{POOLS, Pool};
use crate::crd::packed::Decimal;
use crate::metrics::TaskOutcome;

/// How long the first views wait for the networks.
const NETWORKS_WAIT: Duration = Duration::from_secs(10);

/// Added to the wait of a pool whose write failed for another reason than a conflict.
const PENALTY: Duration = Duration::from_secs(10);

/// A write that a pool needs.
#[derive(Clone, Debug)]
pub(super) struct PlannedWrite {
    write: Write,
    /// The number of entries of the object, which its next write depends on.
    entries: usize,
}

#[derive(Clone, Debug)]
enum Write {
    /// The pool has claims and no object.
    Create(Box<Pool>),
    /// The object lacks a part of its view.
    Patch {
        /// The object's version that the change was decided on.
        resource_version: String,
        change: ViewChange,
    },
}

/// The write that a pool needs; `None` if it needs none, or if its range is unknown. Sets the pool's metrics.
fn plan(
    context: &Context,
    cache: &ClusterCache,
    windows: &PoolWindows,
    name: &Arc<str>,
    via_support: ViaSupport,
    void: &mut VoidEntries,
) -> Option<PlannedWrite> {
    let object = cache.pools().content().get(name);
    let range = match object {
        Some(pool) => pool.range?,
        None => cache.claims_of(name).find_map(|claim| claim.range)?,
    };
    let view = ip_pool_view::view_of(name, &range, windows.get(name), cache.claims_of(name));
    let used = usize::try_from(view.status.used.unwrap_or(0)).unwrap_or(usize::MAX);
    context.metrics.set_pool(name, view.status);
    let Some(pool) = object else {
        let write = Write::Create(Box::new(new_pool(name, range, &view)));
        return (used > 0).then_some(PlannedWrite { write, entries: used });
    };
    let classified = classify(pool, cache, &PoolNamings::default());
    let states: BTreeMap<&Decimal, AllocationState> =
        classified.iter().map(|found| (found.key, void.state(name, found))).collect();
    warn_about_void(name, &classified, &states);
    void.note(name, &classified, cache);
    // A key that is no offset was not classified. NeedsClaim leaves it as it is.
    let state = |key: &Decimal, _: &_| states.get(key).copied().unwrap_or(AllocationState::NeedsClaim);
    let change = ip_pool_view::change(pool, &view, via_support, state)?;
    let resource_version = pool.resource_version.as_ref()?.to_string();
    let entries = match view.entries {
        Entries::Shown(entries) => entries.len().max(pool.entries().len()),
        Entries::TooMany => pool.entries().len(),
    };
    Some(PlannedWrite { write: Write::Patch { resource_version, change }, entries })
}

fn warn_about_void(
    pool: &str,
    classified: &[ClassifiedAllocation<'_>],
    states: &BTreeMap<&Decimal, AllocationState>,
) {
    let is_removed = |found: &&ClassifiedAllocation<'_>| {
        found.state == AllocationState::Disputed && states.get(found.key) == Some(&AllocationState::Released)
    };
    for void in classified.iter().filter(is_removed) {
        tracing::warn!(
            pool, key = %void.key, allocated_to = %void.allocation.podref,
            claimed_by = void.claim.map(|claim| &*claim.podref),
            "allocation removed: its pod is gone, and another pod has the claim of its address"
        );
    }
}

/// A new object without entries. How the claims are named is not fixed here: the next request lists them, from the API server and not from a
/// cache, and fixes it.
fn new_pool(name: &str, range: IpNet, view: &PoolView<'_>) -> Pool {
    Pool { status: Some(view.status), ..Pool::new(name, range) }
}

/// Sends a write. Returns what it showed about the IPPool definition, and the object as it is now.
async fn send(
    context: &Context,
    name: &DnsSubdomain,
    write: &Write,
    via_support: ViaSupport,
) -> Result<(ViaSupport, CachedPool), ApiError> {
    let deadline = Deadline::after(context.timing.request);
    let collection = POOLS.in_namespace(&context.namespace);
    let path = collection.object(name);
    // After an unknown outcome the resourceVersion is unknown too: the next pass decides from the watched object.
    let policy = RetryPolicy::new(OnUnknown::Stop);
    let (change, resource_version) = match write {
        Write::Create(pool) => {
            let create = || context.api.create::<CachedPool>(&collection, pool, deadline);
            return Ok((via_support, retry(deadline, policy, create).await?));
        }
        Write::Patch { change, resource_version } => (change, resource_version),
    };
    let patch = Patch::Merge(change.patch(resource_version));
    let response: CachedPool = retry(deadline, policy, || context.api.patch(&path, &patch, deadline)).await?;
    // A crash here loses nothing: the next leader decides from the object.
    crash_point!("leader-after-view");
    Ok((via_support.after(change, &response), response))
}

/// Writes views, pass by pass.
pub(super) struct ViewWriter<'a> {
    pub context: &'a Context,
    pub shared: &'a SharedCache,
    /// What is known about the IPPool definition.
    pub via_support: ViaSupport,
    pub schedule: Schedule,
    void: VoidEntries,
    /// When its pools were looked at last.
    looked_at_void: Duration,
    /// The addresses that the networks of each pool may choose.
    windows: PoolWindows,
    /// The version of the networks that `windows` is of; `None` at the beginning.
    networks_version: Option<u64>,
    /// The point that the schedule's times count from.
    pub began: Instant,
}

impl<'a> ViewWriter<'a> {
    /// A writer that has not written yet.
    pub fn new(context: &'a Context, shared: &'a SharedCache) -> Self {
        let (via_support, schedule) = (ViaSupport::Unknown, Schedule::default());
        let (windows, networks_version) = (PoolWindows::default(), None);
        ViewWriter {
            context,
            shared,
            via_support,
            schedule,
            void: VoidEntries::default(),
            looked_at_void: Duration::ZERO,
            windows,
            networks_version,
            began: Instant::now(),
        }
    }

    /// Writes the pools that are ready.
    pub async fn pass(&mut self) {
        let writes = self.take_writes();
        let (context, via_support) = (self.context, self.via_support);
        let sent = stream::iter(writes).map(|(name, write)| async move {
            let started = Instant::now();
            let result = send(context, &name, &write, via_support).await;
            (name, result, started.elapsed())
        });
        let mut sent = sent.buffer_unordered(AT_ONCE);
        while let Some((name, result, took)) = sent.next().await {
            let ended = self.began.elapsed();
            let outcome = outcome(&result);
            context.metrics.view_write(outcome, took);
            let ended = if outcome == TaskOutcome::Failed { ended + PENALTY } else { ended };
            self.schedule.wrote(name.as_str(), LastWrite { ended, took });
            match result {
                Ok((learned, pool)) => {
                    self.learn(learned);
                    // Without this the next pass would decide from the old object until the watch delivers the new one.
                    self.shared.lock().apply_pool(Change::Put(pool));
                }
                Err(error) => {
                    tracing::debug!(pool = %name, %error, "IPPool not written; trying again");
                    self.schedule.mark([Arc::from(name.as_str())], ended);
                }
            }
        }
        drop(sent);
        let gone = self.void.confirm(context, self.began.elapsed()).await;
        self.schedule.mark(gone, self.began.elapsed());
    }

    /// Learns whether the definition of IPPool keeps `via`.
    fn learn(&mut self, learned: ViaSupport) {
        match (self.via_support, learned) {
            // The write had no entries.
            (_, ViaSupport::Unknown) => return,
            // Entries without `via` are written again with it.
            (ViaSupport::Unknown | ViaSupport::Dropped, ViaSupport::Kept) => {
                self.shared.lock().mark_all_views();
            }
            (ViaSupport::Unknown | ViaSupport::Kept, ViaSupport::Dropped) => tracing::warn!(
                "this cluster's definition of IPPool has no property \"via\" of allocations and no status: `kubectl get ippools` shows no counts \
                 until deploy/crds/ippools.yaml is applied"
            ),
            _ => {}
        }
        self.via_support = learned;
    }

    /// The writes of the pools that are ready.
    fn take_writes(&mut self) -> Vec<(DnsSubdomain, Write)> {
        let mut cache = self.shared.lock();
        let now = self.began.elapsed();
        if !cache.has_claims_pools_and_pods() || !self.knows_networks(&cache, now) {
            return Vec::new();
        }
        self.schedule.mark(cache.take_stale_views(), now);
        if now.saturating_sub(self.looked_at_void) >= self.context.timing.pass {
            self.looked_at_void = now;
            self.schedule.mark(self.void.pools(), now);
        }
        let mut writes = Vec::new();
        for pool in self.schedule.take_ready(now) {
            let planned = plan(self.context, &cache, &self.windows, &pool, self.via_support, &mut self.void);
            let Some(planned) = planned else { continue };
            self.schedule.set_entries(pool.clone(), planned.entries);
            if let Ok(name) = DnsSubdomain::new(&*pool) {
                writes.push((name, planned.write));
            }
        }
        writes
    }

    /// Derives the windows again if networks changed, and marks the pools that have others now. Whether views can be written: without the
    /// networks every size would be that of the whole range, and a moment later another one.
    fn knows_networks(&mut self, cache: &ClusterCache, now: Duration) -> bool {
        if !cache.networks.is_synced() || !cache.slice_pools.is_synced() {
            // A cluster without multus has no such objects.
            return now >= NETWORKS_WAIT;
        }
        if self.networks_version != Some(cache.networks_version()) {
            self.networks_version = Some(cache.networks_version());
            let networks = networks::parse_networks(cache.networks.iter(), networks::flat_file);
            let windows = PoolWindows::of(&networks, cache);
            self.schedule.mark(windows.differences(&self.windows), now);
            self.windows = windows;
        }
        true
    }

    /// The time until the next write, at most one period of a pass.
    fn idle(&self) -> Duration {
        let next = self.schedule.next().map(|next| next.saturating_sub(self.began.elapsed()));
        next.unwrap_or(self.context.timing.pass).min(self.context.timing.pass)
    }
}

fn outcome<T>(result: &Result<T, ApiError>) -> TaskOutcome {
    match result {
        Ok(_) => TaskOutcome::Done,
        Err(ApiError::Conflict { .. } | ApiError::AlreadyExists { .. }) => TaskOutcome::Conflict,
        Err(_) => TaskOutcome::Failed,
    }
}

/// Writes views whenever pools are ready. Never returns.
pub(super) async fn run(context: &Context, shared: &SharedCache) {
    let mut writer = ViewWriter::new(context, shared);
    loop {
        writer.pass().await;
        let _ = tokio::time::timeout(writer.idle(), shared.view_work.notified()).await;
    }
}
