//! The pools' objects, kept as the claims say: made where there is none, and written when they are out of date, each not too often.

use crate::crd::ip_pool;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cni::crash_point;
use futures::{StreamExt as _, stream};
use ipnet::IpNet;
use node::client::{ApiError, Change, OnUnknown, Patch, RetryPolicy, retry};
use node::deadline::Deadline;
use node::names::DnsSubdomain;
use tokio::time::Instant;

use super::adopt::judge;
use super::cluster_cache::{ClusterCache, SharedCache};
use super::context::{AT_ONCE, Context};
use super::ip_pool_view;
use super::ip_pool_view::{ClaimNaming, Entries, LastWrite, PoolView, ViaSupport, ViewChange};
use super::networks::PoolNamings;
use crate::crd::allocation_state::AllocationState;
use crate::crd::cached::CachedPool;
use crate::crd::ip_pool::{Counts, POOLS, Pool, SEPARATE_SINCE};
use crate::crd::packed::Decimal;

/// After a write that failed, other than for a change in between, its pool waits so much longer.
const PENALTY: Duration = Duration::from_secs(10);

/// When which pool is to be written.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    dirty: BTreeMap<Arc<str>, Duration>,
    written: BTreeMap<Arc<str>, LastWrite>,
    /// How large each pool was when last seen.
    entries: BTreeMap<Arc<str>, usize>,
}

impl Schedule {
    /// These pools changed at `now`.
    pub fn changed(&mut self, pools: impl IntoIterator<Item = Arc<str>>, now: Duration) {
        for pool in pools {
            self.dirty.entry(pool).or_insert(now);
        }
    }

    /// The pools to be written at `now`; they are clean from then on.
    pub fn take_due(&mut self, now: Duration) -> Vec<Arc<str>> {
        let due: Vec<Arc<str>> =
            self.dirty.keys().filter(|pool| self.due(pool) <= Some(now)).cloned().collect();
        self.dirty.retain(|pool, _| !due.contains(pool));
        due
    }

    /// When the next pool is due, if one is dirty.
    pub fn next(&self) -> Option<Duration> {
        self.dirty.keys().filter_map(|pool| self.due(pool)).min()
    }

    fn due(&self, pool: &str) -> Option<Duration> {
        let since = *self.dirty.get(pool)?;
        let entries = self.entries.get(pool).copied().unwrap_or(0);
        Some(ip_pool_view::due(entries, since, self.written.get(pool).copied()))
    }

    /// A pool was written.
    pub fn wrote(&mut self, pool: &str, written: LastWrite) {
        self.written.insert(pool.into(), written);
    }
}

/// A write that is owed.
#[derive(Clone, Debug)]
pub enum Write {
    /// The pool has claims and no object.
    Create(Box<Pool>),
    /// Its object, at this version, lacks this.
    Patch {
        /// The version it was read with.
        resource_version: String,
        /// What it lacks.
        change: ViewChange,
    },
}

/// What a pool's object lacks; `None` if nothing, or if nobody knows its range. Counts are noted in `context`.
pub fn plan(
    context: &Context,
    cache: &ClusterCache,
    name: &str,
    via_support: ViaSupport,
) -> Option<(Write, usize)> {
    let object = cache.pools().content().get(name);
    let range = match object {
        Some(pool) => pool.range?,
        None => cache.claims_of(name).find_map(|claim| claim.range)?,
    };
    let view = ip_pool_view::of(name, &range, cache.claims_of(name));
    let Counts { size, used, .. } = view.status;
    let used = usize::try_from(used.unwrap_or(0)).unwrap_or(usize::MAX);
    context.metrics.pool(name, size, used);
    let Some(pool) = object else {
        return (used > 0).then(|| (Write::Create(Box::new(new_pool(name, range, &view))), used));
    };
    let judged = judge(pool, cache, &PoolNamings::default());
    let fates: BTreeMap<&Decimal, AllocationState> =
        judged.iter().map(|judged| (judged.key, judged.state)).collect();
    for void in judged.iter().filter(|judged| judged.state == AllocationState::Superseded) {
        tracing::warn!(
            pool = name, key = %void.key, entry = %void.entry.podref,
            claim = void.claim.map(|claim| &*claim.podref),
            "an entry's address is claimed for another pod; the entry is removed"
        );
    }
    // A key that is none is nobody's, and none of our business.
    let state = |key: &Decimal, _: &_| fates.get(key).copied().unwrap_or(AllocationState::NeedsClaim);
    let change = ip_pool_view::change(pool, &view, via_support, state);
    let change = ViewChange::with_separation(change, pool, &view, node::clock::now())?;
    let resource_version = pool.resource_version.as_ref()?.to_string();
    let entries = match view.entries {
        Entries::Shown(entries) => entries.len().max(pool.entries().len()),
        Entries::TooMany => pool.entries().len(),
    };
    Some((Write::Patch { resource_version, change }, entries))
}

/// Without entries: the first one is written alone.
fn new_pool(name: &str, range: IpNet, view: &PoolView<'_>) -> Pool {
    let since = ip_pool::written(node::clock::now());
    let said = (view.named == ClaimNaming::SomeByPool).then_some((SEPARATE_SINCE, since.as_str()));
    Pool { status: Some(view.status), ..Pool::new(name, range, said) }
}

/// Makes a write. What the definition of IPPool turned out to do is returned, with the object as it is now.
pub async fn perform(
    context: &Context,
    name: &DnsSubdomain,
    write: &Write,
    via_support: ViaSupport,
) -> Result<(ViaSupport, CachedPool), ApiError> {
    let deadline = Deadline::after(context.timing.request);
    let collection = POOLS.in_namespace(&context.namespace);
    let path = collection.object(name);
    let policy = RetryPolicy::new(OnUnknown::Stop);
    let (change, resource_version) = match write {
        Write::Create(pool) => {
            let create = || context.api.create::<CachedPool>(&collection, pool, deadline);
            return Ok((via_support, retry(deadline, policy, create).await?));
        }
        Write::Patch { change, resource_version } => (change, resource_version),
    };
    let patch = Patch::Merge(change.patch(resource_version));
    let answer: CachedPool = retry(deadline, policy, || context.api.patch(&path, &patch, deadline)).await?;
    crash_point!("leader-after-view");
    let learned = via_support.after(change, &answer);
    if learned != ViaSupport::Dropped || !change.has_entries() {
        return Ok((learned, answer));
    }
    tracing::warn!(
        pool = %name,
        "this cluster's definition of IPPool drops the property \"via\" of allocations: pools show no entries until \
         deploy/crds/ippools.yaml is applied"
    );
    let version = answer.resource_version.as_ref().map(Decimal::to_string).unwrap_or_default();
    let undo = Patch::Merge(change.undone().patch(&version));
    let answer = retry(deadline, policy, || context.api.patch(&path, &undo, deadline)).await?;
    Ok((learned, answer))
}

/// What one round does: the pools' writes that are due, and what they teach.
pub struct WritePass<'a> {
    /// What is needed.
    pub context: &'a Context,
    /// The mirrors.
    pub shared: &'a SharedCache,
    /// What is known of the definition of IPPool.
    pub via_support: ViaSupport,
    /// When which pool is due.
    pub schedule: Schedule,
    /// From when times count.
    pub begin: Instant,
}

impl WritePass<'_> {
    /// Writes what is due.
    pub async fn pass(&mut self) {
        let writes = self.due();
        let (context, via_support) = (self.context, self.via_support);
        let made = stream::iter(writes).map(|(name, write)| async move {
            let started = Instant::now();
            let done = perform(context, &name, &write, via_support).await;
            (name, done, started.elapsed())
        });
        let mut made = made.buffer_unordered(AT_ONCE);
        while let Some((name, done, took)) = made.next().await {
            let ended = self.begin.elapsed();
            match done {
                Ok((learned, pool)) => {
                    self.via_support =
                        if learned == ViaSupport::Unknown { self.via_support } else { learned };
                    self.schedule.wrote(name.as_str(), LastWrite { ended, took });
                    self.shared.lock().apply_pool(Change::Put(pool));
                }
                Err(error) => {
                    // After a conflict or an unknown outcome the mirror is told what became of it.
                    tracing::debug!(pool = %name, %error, "the pool's object is not written; trying again");
                    let met = matches!(error, ApiError::Conflict { .. } | ApiError::AlreadyExists { .. });
                    let ended = if met { ended } else { ended + PENALTY };
                    self.schedule.wrote(name.as_str(), LastWrite { ended, took });
                    self.schedule.changed([Arc::from(name.as_str())], ended);
                }
            }
        }
    }

    /// The writes of the pools that are due. As long as the definition is untried, at most one of them has entries; the others wait.
    fn due(&mut self) -> Vec<(DnsSubdomain, Write)> {
        let mut cache = self.shared.lock();
        if !cache.can_judge() {
            return Vec::new();
        }
        let now = self.begin.elapsed();
        self.schedule.changed(cache.take_unwritten(), now);
        let (mut writes, mut waiting, mut tries) = (Vec::new(), BTreeSet::new(), false);
        for pool in self.schedule.take_due(now) {
            let Some((write, entries)) = plan(self.context, &cache, &pool, self.via_support) else {
                continue;
            };
            self.schedule.entries.insert(pool.clone(), entries);
            let has_entries = matches!(&write, Write::Patch { change, .. } if change.has_entries());
            if self.via_support == ViaSupport::Unknown && has_entries && std::mem::replace(&mut tries, true) {
                waiting.insert(pool);
                continue;
            }
            if let Ok(name) = DnsSubdomain::new(&*pool) {
                writes.push((name, write));
            }
        }
        self.schedule.changed(waiting, now);
        writes
    }

    /// How long nothing is due.
    fn idle(&self) -> Duration {
        let next = self.schedule.next().map(|due| due.saturating_sub(self.begin.elapsed()));
        next.unwrap_or(self.context.timing.pass).min(self.context.timing.pass)
    }
}

/// Writes whenever something is due. Never returns.
pub async fn run(context: &Context, shared: &SharedCache) {
    let (via_support, schedule, begin) = (ViaSupport::Unknown, Schedule::default(), Instant::now());
    let mut round = WritePass { context, shared, via_support, schedule, begin };
    let mut tried = Instant::now();
    loop {
        round.pass().await;
        if round.via_support == ViaSupport::Dropped && tried.elapsed() >= context.timing.retrial {
            (round.via_support, tried) = (ViaSupport::Unknown, Instant::now());
            shared.lock().touch_unwritten();
        }
        let _ = tokio::time::timeout(round.idle(), shared.pools.notified()).await;
    }
}
