//! Adoption: what Whereabouts wrote into a pool gets a claim, and a claim follows the container that Whereabouts refreshed. It goes on as long
//! as nodes of both kinds share a cluster; after a change-over there is nothing left to do.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use cni::crash_point;
use futures::{StreamExt as _, stream};
use ipnet::IpNet;
use node::client::{ApiError, OnUnknown, RetryPolicy, retry};
use node::deadline::Deadline;
use node::names::DnsSubdomain;
use tokio::time::Instant;

use super::mirrors::{Mirrors, Seen};
use super::networks::{self, Scopes};
use super::{AT_ONCE, Context};
use crate::adopt::{make, of_entry};
use crate::claim::Claims;
use crate::objects::{Allocation, Pool, RESERVATIONS, Reservation};
use crate::view::{self, Fate};

/// What is to be done for an entry.
#[derive(Clone, Debug)]
pub enum Action {
    /// This claim is to be made.
    Make(Box<Reservation>),
    /// This claim, as it was read and changed, is to be written.
    Follow(Box<Reservation>),
}

/// An entry of a pool, judged.
#[derive(Clone, Debug)]
pub struct Judged<'a> {
    /// Its key.
    pub key: &'a str,
    /// What it says.
    pub entry: &'a Allocation,
    /// The claim on its address.
    pub claim: Option<&'a Reservation>,
    /// What that claim is called; `None` where no network tells.
    pub name: Option<DnsSubdomain>,
    /// What it calls for.
    pub fate: Fate,
}

/// Judges every entry of a pool. Keys that are none are left out.
pub fn judge<'a>(pool: &'a Pool, mirrors: &'a Mirrors, scopes: &Scopes) -> Vec<Judged<'a>> {
    let name = pool.metadata.name.as_deref().unwrap_or_default();
    let Ok(range) = pool.spec.range.parse::<IpNet>() else { return Vec::new() };
    let scope = scopes.get(name, &range, mirrors);
    let claims: BTreeMap<IpAddr, &Reservation> = mirrors
        .claims_of(name)
        .filter_map(|claim| Some((view::address(claim.metadata.name.as_deref()?, name, &range)?, claim)))
        .collect();
    let mut judged = Vec::with_capacity(pool.spec.allocations.len());
    for (key, ip, _) in pool.entries() {
        let Some((key, entry)) = pool.spec.allocations.get_key_value(&key) else { continue };
        let name = scope.as_ref().and_then(|scope| scope.claim_name(ip));
        let by_name = || mirrors.claims().content().get(name.as_ref()?.as_str());
        let claim = claims.get(&ip).copied().or_else(by_name);
        let fate = view::fate(entry, claim, mirrors.pod(&entry.podref));
        judged.push(Judged { key, entry, claim, name, fate });
    }
    judged
}

/// Entries without a claim, and since when they were seen so: Whereabouts writes the entry first and its claim a moment later.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    since: BTreeMap<(String, String, String), Duration>,
}

impl Waiting {
    /// What is to be done in these pools now. What is too new for it waits.
    pub fn actions(
        &mut self,
        mirrors: &Mirrors,
        pools: impl IntoIterator<Item = String>,
        scopes: &Scopes,
        now: Duration,
        settle: Duration,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        for name in pools {
            let earlier = self.leave(&name);
            let Some(pool) = mirrors.pools().content().get(&name) else { continue };
            let Ok(range) = pool.spec.range.parse::<IpNet>() else { continue };
            for judged in judge(pool, mirrors, scopes) {
                let holding = of_entry(&name, range, judged.entry);
                match (judged.fate, judged.claim, &judged.name) {
                    (Fate::Follow, Some(claim), _) => {
                        let mut claim = claim.clone();
                        claim.assign(holding);
                        actions.push(Action::Follow(Box::new(claim)));
                    }
                    (Fate::Adopt, _, Some(claim_name)) => {
                        let seen = (name.clone(), judged.key.to_owned(), judged.entry.id.clone());
                        let since = earlier.get(&seen).copied().unwrap_or(now);
                        if now.saturating_sub(since) >= settle {
                            let claim = Reservation::new(claim_name.as_str(), holding);
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
    pub fn pools(&self) -> Vec<String> {
        let mut pools: Vec<String> = self.since.keys().map(|(pool, _, _)| pool.clone()).collect();
        pools.dedup();
        pools
    }

    fn leave(&mut self, pool: &str) -> BTreeMap<(String, String, String), Duration> {
        let (own, others) =
            std::mem::take(&mut self.since).into_iter().partition(|((name, _, _), _)| name == pool);
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

async fn follow(context: &Context, claim: &Reservation, deadline: Deadline) -> Result<(), ApiError> {
    let name = claim.metadata.name.clone().and_then(|name| DnsSubdomain::new(name).ok());
    let Some(name) = name else { return Ok(()) };
    let path = RESERVATIONS.in_namespace(&context.namespace).object(&name);
    let replace = || context.api.replace::<Reservation>(&path, claim, deadline);
    match retry(deadline, RetryPolicy::new(OnUnknown::Repeat), replace).await {
        // It changed since: the next look decides.
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
    let needs_something = |name: &String| {
        let pool = mirrors.pools().content().get(name);
        pool.is_some_and(|pool| {
            judge(pool, &mirrors, &no_networks).iter().any(|judged| judged.fate != Fate::Settled)
        })
    };
    let (unsettled, settled): (Vec<String>, Vec<String>) = pools.into_iter().partition(needs_something);
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
