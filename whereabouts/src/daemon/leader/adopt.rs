//! Adoption: what Whereabouts wrote into a pool gets a claim, and a claim follows the container that Whereabouts refreshed. It goes on as long
//! as nodes of both kinds share a cluster; after a change-over there is nothing left to do.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cni::crash_point;
use futures::{StreamExt as _, stream};
use node::client::{ApiError, OnUnknown, RetryPolicy, retry};
use node::deadline::Deadline;
use node::names::DnsSubdomain;
use serde::de::IgnoredAny;
use tokio::time::Instant;

use super::mirrors::{Mirrors, Seen};
use super::networks::{self, Scopes};
use super::{AT_ONCE, Context};
use crate::adopt::{make, of_entry};
use crate::claim::Claims;
use crate::objects::{Holding, RESERVATIONS, Reservation};
use crate::packed::{Decimal, Hex};
use crate::seen::{SeenClaim, SeenEntry, SeenPool};
use crate::view::{self, Fate, Readings};

/// What is to be done for an entry.
#[derive(Clone, Debug)]
pub enum Action {
    /// This claim is to be made.
    Make(Box<Reservation>),
    /// The claim of this name, at this version, is to say what this one says.
    Follow(Box<Reservation>),
}

/// An entry of a pool, judged.
#[derive(Clone, Debug)]
pub struct Judged<'a> {
    /// Its key.
    pub key: &'a Decimal,
    /// What it says.
    pub entry: &'a SeenEntry,
    /// The claim on its address.
    pub claim: Option<&'a SeenClaim>,
    /// What the claim that is missing is called; `None` where none is missing, or no network tells.
    pub name: Option<DnsSubdomain>,
    /// What it calls for.
    pub fate: Fate,
}

/// Judges every entry of a pool. Keys that are none are left out.
pub fn judge<'a>(pool: &'a SeenPool, mirrors: &'a Mirrors, scopes: &Scopes) -> Vec<Judged<'a>> {
    let name = &*pool.name;
    let Some(range) = pool.range.filter(|_| !pool.entries().is_empty()) else { return Vec::new() };
    let scope = scopes.get(name, &range, mirrors);
    let readings = Readings::of(name, &range);
    let claims: BTreeMap<IpAddr, &SeenClaim> =
        mirrors.claims_of(name).filter_map(|claim| Some((readings.address(&claim.name)?, claim))).collect();
    let mut judged = Vec::with_capacity(pool.entries().len());
    for (key, ip, entry) in pool.addresses() {
        let known = claims.get(&ip).copied();
        let name = scope.as_ref().filter(|_| known.is_none()).and_then(|scope| scope.claim_name(ip));
        let by_name = || mirrors.claims().content().get(name.as_ref()?.as_str()).map(Arc::as_ref);
        let claim = known.or_else(by_name);
        let fate = view::fate(entry, claim, mirrors.pod(&entry.podref));
        judged.push(Judged { key, entry, claim, name, fate });
    }
    judged
}

/// Pool, key and container of an entry.
type Entry = (Arc<str>, Decimal, Hex<32>);

/// Entries without a claim, and since when they were seen so: Whereabouts writes the entry first and its claim a moment later.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    since: BTreeMap<Entry, Duration>,
}

impl Waiting {
    /// What is to be done in these pools now. What is too new for it waits.
    pub fn actions(
        &mut self,
        mirrors: &Mirrors,
        pools: impl IntoIterator<Item = Arc<str>>,
        scopes: &Scopes,
        now: Duration,
        settle: Duration,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        for name in pools {
            let earlier = self.leave(&name);
            let Some(pool) = mirrors.pools().content().get(&name) else { continue };
            let Some(range) = pool.range else { continue };
            for judged in judge(pool, mirrors, scopes) {
                let holding = || of_entry(&name, range, judged.entry.held());
                match (judged.fate, judged.claim, &judged.name) {
                    (Fate::Follow, Some(claim), _) => {
                        let mut wanted = Reservation::new(&claim.name, holding());
                        wanted.metadata.resource_version = claim.version.1.as_ref().map(Decimal::to_string);
                        actions.push(Action::Follow(Box::new(wanted)));
                    }
                    (Fate::Adopt, _, Some(claim_name)) => {
                        let seen = (name.clone(), judged.key.clone(), judged.entry.id.clone());
                        let since = earlier.get(&seen).copied().unwrap_or(now);
                        if now.saturating_sub(since) >= settle {
                            let claim = Reservation::new(claim_name.as_str(), holding());
                            actions.push(Action::Make(Box::new(claim)));
                        }
                        self.since.insert(seen, since);
                    }
                    _ => {}
                }
            }
        }
        actions
    }

    /// The pools in which something waits.
    pub fn pools(&self) -> Vec<Arc<str>> {
        let mut pools: Vec<Arc<str>> = self.since.keys().map(|(pool, _, _)| pool.clone()).collect();
        pools.dedup();
        pools
    }

    fn leave(&mut self, pool: &str) -> BTreeMap<Entry, Duration> {
        let (own, others) =
            std::mem::take(&mut self.since).into_iter().partition(|((name, _, _), _)| **name == *pool);
        self.since = others;
        own
    }
}

/// Does what is to be done; what fails is logged, and found again.
pub async fn pass(context: &Context, actions: Vec<Action>) {
    let deadline = Deadline::after(context.timing.request);
    let done = stream::iter(actions).map(|action| async move {
        let claims = Claims { api: &context.api, namespace: &context.namespace, deadline };
        let (claim, done) = match action {
            Action::Make(claim) => {
                let done = make(&claims, &claim).await;
                (claim, done)
            }
            Action::Follow(claim) => {
                let done = follow(context, &claim, deadline).await;
                (claim, done)
            }
        };
        crash_point!("leader-after-adopt");
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        match done {
            Ok(()) => tracing::info!(claim = name, podref = %claim.spec.podref, "adopted from Whereabouts"),
            Err(error) => tracing::warn!(claim = name, %error, "not adopted; trying again"),
        }
    });
    done.buffer_unordered(AT_ONCE).collect::<()>().await;
}

/// What else the claim's object says stays as it is.
async fn follow(context: &Context, wanted: &Reservation, deadline: Deadline) -> Result<(), ApiError> {
    let name = wanted.metadata.name.clone().and_then(|name| DnsSubdomain::new(name).ok());
    let (Some(name), Some(pool), Some(range)) = (name, wanted.pool(), wanted.range()) else {
        return Ok(());
    };
    let path = RESERVATIONS.in_namespace(&context.namespace).object(&name);
    let policy = RetryPolicy::new(OnUnknown::Repeat);
    let get = || context.api.get::<Reservation>(&path, deadline);
    let mut claim = match retry(deadline, policy, get).await {
        Ok(claim) if claim.metadata.resource_version == wanted.metadata.resource_version => claim,
        // It changed since: the next look decides.
        Ok(_) | Err(ApiError::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    claim.assign(Holding { pool, range, pod_uid: None, node: None, spec: wanted.spec.clone() });
    let replace = || context.api.replace::<IgnoredAny>(&path, &claim, deadline);
    match retry(deadline, policy, replace).await {
        Ok(_) | Err(ApiError::Conflict { .. } | ApiError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What is to be done now in the pools that changed, and in those where something waits.
fn look(context: &Context, seen: &Seen, waiting: &mut Waiting, now: Duration) -> Vec<Action> {
    let mut mirrors = seen.lock();
    if !mirrors.can_judge() || !mirrors.networks.is_synced() || !mirrors.slice_pools.is_synced() {
        return Vec::new();
    }
    let mut pools = mirrors.take_unjudged();
    pools.extend(waiting.pools());
    // Most need nothing, for which the networks need not be read.
    let no_networks = Scopes::default();
    let needs_something = |name: &Arc<str>| {
        let pool = mirrors.pools().content().get(name);
        pool.is_some_and(|pool| {
            judge(pool, &mirrors, &no_networks).iter().any(|judged| judged.fate != Fate::Settled)
        })
    };
    let (unsettled, settled): (Vec<Arc<str>>, Vec<Arc<str>>) = pools.into_iter().partition(needs_something);
    settled.iter().for_each(|pool| drop(waiting.leave(pool)));
    if unsettled.is_empty() {
        return Vec::new();
    }
    let scopes = Scopes::of(&networks::ours(mirrors.networks.iter(), networks::flat_file), &mirrors);
    waiting.actions(&mirrors, unsettled, &scopes, now, context.timing.settle)
}

/// Adopts whenever pools change. Never returns.
pub async fn run(context: &Context, seen: &Seen) {
    let begin = Instant::now();
    let mut waiting = Waiting::default();
    loop {
        let actions = look(context, seen, &mut waiting, begin.elapsed());
        pass(context, actions).await;
        // Not more often than this: each look reads the pools that changed from end to end.
        tokio::time::sleep(context.timing.settle / 4).await;
        if waiting.since.is_empty() {
            let _ = tokio::time::timeout(context.timing.pass, seen.entries.notified()).await;
        }
    }
}
