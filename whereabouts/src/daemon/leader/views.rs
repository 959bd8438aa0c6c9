//! The pools' objects, kept as the claims say: made where there is none, and written when they are out of date, each not too often.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cni::crash_point;
use futures::{StreamExt as _, stream};
use ipnet::IpNet;
use node::client::{ApiError, Change as Told, OnUnknown, Patch, RetryPolicy, retry};
use node::deadline::Deadline;
use node::names::DnsSubdomain;
use tokio::time::Instant;

use super::adopt::judge;
use super::mirrors::{Mirrors, Seen};
use super::networks::Scopes;
use super::{AT_ONCE, Context};
use crate::objects::{Counts, POOLS, Pool, SEPARATE_SINCE};
use crate::packed::Decimal;
use crate::seen::SeenPool;
use crate::twin;
use crate::view::{self, Change, Definition, Entries, Fate, Named, View, Written};

/// After a write that failed, other than for a change in between, its pool waits so much longer.
const PENALTY: Duration = Duration::from_secs(10);

/// When which pool is to be written.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    dirty: BTreeMap<Arc<str>, Duration>,
    written: BTreeMap<Arc<str>, Written>,
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
        Some(view::due(entries, since, self.written.get(pool).copied()))
    }

    /// A pool was written.
    pub fn wrote(&mut self, pool: &str, written: Written) {
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
        change: Change,
    },
}

/// What a pool's object lacks; `None` if nothing, or if nobody knows its range. Counts are noted in `context`.
pub fn plan(
    context: &Context,
    mirrors: &Mirrors,
    name: &str,
    definition: Definition,
) -> Option<(Write, usize)> {
    let object = mirrors.pools().content().get(name);
    let range = match object {
        Some(pool) => pool.range?,
        None => mirrors.claims_of(name).find_map(|claim| claim.range)?,
    };
    let view = view::of(name, &range, mirrors.claims_of(name));
    let Counts { size, used, .. } = view.status;
    let used = usize::try_from(used.unwrap_or(0)).unwrap_or(usize::MAX);
    context.metrics.pool(name, size, used);
    let Some(pool) = object else {
        return (used > 0).then(|| (Write::Create(Box::new(new_pool(name, range, &view))), used));
    };
    let judged = judge(pool, mirrors, &Scopes::default());
    let fates: BTreeMap<&Decimal, Fate> = judged.iter().map(|judged| (judged.key, judged.fate)).collect();
    for void in judged.iter().filter(|judged| judged.fate == Fate::Void) {
        tracing::warn!(
            pool = name, key = %void.key, entry = %void.entry.podref,
            claim = void.claim.map(|claim| &*claim.podref),
            "an entry's address is claimed for another pod; the entry is removed"
        );
    }
    // A key that is none is nobody's, and none of our business.
    let fate = |key: &Decimal, _: &_| fates.get(key).copied().unwrap_or(Fate::Adopt);
    let change = view::change(pool, &view, definition, fate);
    let change = Change::with_separation(change, pool, &view, node::clock::now())?;
    let resource_version = pool.resource_version.as_ref()?.to_string();
    let entries = match view.entries {
        Entries::Shown(entries) => entries.len().max(pool.entries().len()),
        Entries::TooMany => pool.entries().len(),
    };
    Some((Write::Patch { resource_version, change }, entries))
}

/// Without entries: the first one is written alone.
fn new_pool(name: &str, range: IpNet, view: &View<'_>) -> Pool {
    let since = twin::written(node::clock::now());
    let said = (view.named == Named::SomeApart).then_some((SEPARATE_SINCE, since.as_str()));
    Pool { status: Some(view.status), ..Pool::new(name, range, said) }
}

/// Makes a write. What the definition of IPPool turned out to do is returned, with the object as it is now.
pub async fn perform(
    context: &Context,
    name: &DnsSubdomain,
    write: &Write,
    definition: Definition,
) -> Result<(Definition, SeenPool), ApiError> {
    let deadline = Deadline::after(context.timing.request);
    let collection = POOLS.in_namespace(&context.namespace);
    let path = collection.object(name);
    let policy = RetryPolicy::new(OnUnknown::Stop);
    let (change, resource_version) = match write {
        Write::Create(pool) => {
            let create = || context.api.create::<SeenPool>(&collection, pool, deadline);
            return Ok((definition, retry(deadline, policy, create).await?));
        }
        Write::Patch { change, resource_version } => (change, resource_version),
    };
    let patch = Patch::Merge(change.patch(resource_version));
    let answer: SeenPool = retry(deadline, policy, || context.api.patch(&path, &patch, deadline)).await?;
    crash_point!("leader-after-view");
    let learned = definition.after(change, &answer);
    if learned != Definition::Drops || !change.has_entries() {
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
pub struct Round<'a> {
    /// What is needed.
    pub context: &'a Context,
    /// The mirrors.
    pub seen: &'a Seen,
    /// What is known of the definition of IPPool.
    pub definition: Definition,
    /// When which pool is due.
    pub schedule: Schedule,
    /// From when times count.
    pub begin: Instant,
}

impl Round<'_> {
    /// Writes what is due.
    pub async fn pass(&mut self) {
        let writes = self.due();
        let (context, definition) = (self.context, self.definition);
        let made = stream::iter(writes).map(|(name, write)| async move {
            let started = Instant::now();
            let done = perform(context, &name, &write, definition).await;
            (name, done, started.elapsed())
        });
        let mut made = made.buffer_unordered(AT_ONCE);
        while let Some((name, done, took)) = made.next().await {
            let ended = self.begin.elapsed();
            match done {
                Ok((learned, pool)) => {
                    self.definition = if learned == Definition::Untried { self.definition } else { learned };
                    self.schedule.wrote(name.as_str(), Written { ended, took });
                    self.seen.lock().apply_pool(Told::Put(pool));
                }
                Err(error) => {
                    // After a conflict or an unknown outcome the mirror is told what became of it.
                    tracing::debug!(pool = %name, %error, "the pool's object is not written; trying again");
                    let met = matches!(error, ApiError::Conflict { .. } | ApiError::AlreadyExists { .. });
                    let ended = if met { ended } else { ended + PENALTY };
                    self.schedule.wrote(name.as_str(), Written { ended, took });
                    self.schedule.changed([Arc::from(name.as_str())], ended);
                }
            }
        }
    }

    /// The writes of the pools that are due. As long as the definition is untried, at most one of them has entries; the others wait.
    fn due(&mut self) -> Vec<(DnsSubdomain, Write)> {
        let mut mirrors = self.seen.lock();
        if !mirrors.can_judge() {
            return Vec::new();
        }
        let now = self.begin.elapsed();
        self.schedule.changed(mirrors.take_unwritten(), now);
        let (mut writes, mut waiting, mut tries) = (Vec::new(), BTreeSet::new(), false);
        for pool in self.schedule.take_due(now) {
            let Some((write, entries)) = plan(self.context, &mirrors, &pool, self.definition) else {
                continue;
            };
            self.schedule.entries.insert(pool.clone(), entries);
            let has_entries = matches!(&write, Write::Patch { change, .. } if change.has_entries());
            if self.definition == Definition::Untried && has_entries && std::mem::replace(&mut tries, true) {
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
pub async fn run(context: &Context, seen: &Seen) {
    let (definition, schedule, begin) = (Definition::Untried, Schedule::default(), Instant::now());
    let mut round = Round { context, seen, definition, schedule, begin };
    let mut tried = Instant::now();
    loop {
        round.pass().await;
        if round.definition == Definition::Drops && tried.elapsed() >= context.timing.retrial {
            (round.definition, tried) = (Definition::Untried, Instant::now());
            seen.lock().touch_unwritten();
        }
        let _ = tokio::time::timeout(round.idle(), seen.pools.notified()).await;
    }
}
