//! Disruptions of the cluster: power failures, daemon crashes, users who annotate and delete claims and delete IPPools, an API server that
//! compacts old revisions.

use std::time::Duration;

use fake_api::Preconditions;
use fake_api::store::Endpoint;
use fastrand::Rng;
use serde_json::json;
use whereabouts::crd::ip_pool::CLAIM_NAMES;

use super::networks::NAMESPACE;
use super::node::{Disk, Node, attachment_of};
use super::sandbox::del_on;
use super::scenario::{Plugin, Scenario};
use super::{CHURN, World};
use crate::sim::history::Event;
use crate::sim::server::{CLAIMS, POOLS};

/// In this time before the end of the churn, power failures are short, so that every node runs again when the faults have ended.
const SHORT_FAILURES: Duration = Duration::from_secs(80);

/// What users delete that is not theirs. Not both in one run: who deletes the claims of running pods and the pool's object takes away all that
/// says how the claims are named, which the manual warns of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deletions {
    Nothing,
    Pools,
    Claims,
}

/// Starts all disruptions, in the background.
pub fn spawn(world: &World, rng: &mut Rng) {
    for node in world.nodes.iter() {
        tokio::spawn(restart_daemon(world.clone(), node.clone(), rng.fork()));
    }
    tokio::spawn(annotate(world.clone(), rng.fork()));
    tokio::spawn(compact(world.clone(), rng.fork()));
    if world.schedule.scenario != Scenario::Ours {
        return;
    }
    for node in world.nodes.iter() {
        tokio::spawn(fail_and_recover(world.clone(), node.clone(), rng.fork()));
    }
    let deletions =
        [Deletions::Nothing, Deletions::Pools, Deletions::Pools, Deletions::Claims, Deletions::Claims];
    match deletions[rng.usize(..deletions.len())] {
        Deletions::Nothing => {}
        Deletions::Pools => drop(tokio::spawn(delete_pools(world.clone(), rng.fork()))),
        Deletions::Claims => drop(tokio::spawn(delete_claims(world.clone(), rng.fork()))),
    }
}

/// Sleeps for a random time. `from` and `to` are in seconds.
async fn pause(rng: &mut Rng, from: u64, to: u64) {
    tokio::time::sleep(Duration::from_millis(rng.u64(from * 1000..to * 1000))).await;
}

/// Cuts the power of a node again and again, until the churn ends.
async fn fail_and_recover(world: World, node: Node, mut rng: Rng) {
    loop {
        pause(&mut rng, 20, 400).await;
        if !world.is_churning() {
            return;
        }
        world.history.note(|| format!("{} fails", node.name));
        node.fail();
        let longest = if world.history.now() + SHORT_FAILURES < CHURN { 90 } else { 20 };
        pause(&mut rng, 5, longest).await;
        let disk = if rng.bool() { Disk::Kept } else { Disk::Lost };
        world.history.note(|| format!("{} recovers, disk {disk:?}", node.name));
        let earlier = node.recover(disk);
        // The kubelet deletes the containers from before the failure first.
        for record in earlier {
            let namespace = record.namespace.as_ref().map_or(NAMESPACE, |namespace| namespace.as_str());
            del_on(&world, &node, &attachment_of(&record), &record.podref, namespace, &[]).await;
        }
    }
}

/// Starts the daemon of a node, and crashes it and starts it again, or starts a newer one beside it, until the churn ends. Then the daemon stays up. It does not run while the
/// node has Whereabouts' plugin.
async fn restart_daemon(world: World, node: Node, mut rng: Rng) {
    let mut absence = world.schedule.absence(node.number);
    if world.plugin(&node) == Plugin::Ours {
        node.start_daemon();
    }
    while world.is_churning() || absence.is_some() {
        let until = tokio::time::Instant::now() + Duration::from_millis(rng.u64(20_000..200_000));
        if let Some((from, to)) = absence.filter(|(from, _)| world.history.time_of(until) > *from) {
            tokio::time::sleep(from.saturating_sub(world.history.now())).await;
            node.stop_daemon();
            node.end_replaced_daemon();
            node.replace_plugin();
            tokio::time::sleep(to.saturating_sub(world.history.now())).await;
            node.start_daemon();
            absence = None;
            continue;
        }
        tokio::time::sleep_until(until).await;
        if world.is_churning() && rng.bool() {
            world.history.note(|| format!("a newer daemon of {} takes over", node.name));
            node.replace_daemon();
            pause(&mut rng, 0, 15).await;
            node.end_replaced_daemon();
        } else if world.is_churning() {
            world.history.note(|| format!("the daemon of {} crashes", node.name));
            node.stop_daemon();
            pause(&mut rng, 0, 5).await;
        }
        node.start_daemon();
    }
}

/// Annotates claims, so that their resourceVersion changes between a read and a write of our code.
async fn annotate(world: World, mut rng: Rng) {
    while world.is_churning() {
        pause(&mut rng, 1, 6).await;
        let patch = json!({ "metadata": { "annotations": { "someone/was-here": rng.u32(..).to_string() } } });
        world.server.with(|store| {
            let claims = store.list_at(CLAIMS, None, store.revision());
            if let Some((key, _)) = rng.choice(claims) {
                let _ = store.merge_patch(&key, Endpoint::Object, &patch);
            }
        });
    }
}

/// Compacts the revisions that are older than some seconds: a watch or list from them fails (410).
async fn compact(world: World, mut rng: Rng) {
    while world.is_churning() {
        let revision = world.server.with(|store| store.revision());
        pause(&mut rng, 5, 60).await;
        world.server.with(|store| store.compact(revision));
    }
}

/// Deletes IPPools, or the annotation that says how their claims are named. Only of adopted pools: before, an object may have the only record
/// of an address that Whereabouts gave.
async fn delete_pools(world: World, mut rng: Rng) {
    let longest = [8, 30, 100][rng.usize(..3)];
    while world.is_churning() {
        pause(&mut rng, 1, longest).await;
        let whole = rng.u8(..4) > 0;
        let deleted = world.server.with(|store| {
            let all = store.list_at(POOLS, None, store.revision());
            let adopted =
                all.into_iter().filter(|(_, pool)| pool["metadata"]["annotations"][CLAIM_NAMES].is_string());
            let (key, _) = rng.choice(adopted.collect::<Vec<_>>())?;
            if whole {
                let _ = store.delete(&key, &Preconditions::default());
            } else {
                let patch = json!({ "metadata": { "annotations": { CLAIM_NAMES: null } } });
                let _ = store.merge_patch(&key, Endpoint::Object, &patch);
            }
            Some(key)
        });
        world.history.note(|| format!("somebody deletes {deleted:?}, the object: {whole}"));
    }
}

/// Deletes claims, as users do who clean up. Early enough that a daemon that does not watch the pool finds them missing before the run ends.
async fn delete_claims(world: World, mut rng: Rng) {
    let longest = [5, 15, 50][rng.usize(..3)];
    while world.history.now() < world.schedule.end_of_meddling() {
        pause(&mut rng, 1, longest).await;
        let claim = world.server.with(|store| {
            let all = store.list_at(CLAIMS, None, store.revision());
            // Nobody makes a reservation without a pod again, nor a claim of Whereabouts that is not adopted yet.
            let is_ours = |claim: &fake_api::store::Object| {
                let has_pod = claim["spec"]["podref"].as_str().is_some_and(|podref| !podref.is_empty());
                has_pod && claim["metadata"]["annotations"]["whereabouts.multus-rs/pod-uid"].is_string()
            };
            rng.choice(all.into_iter().filter(|(_, claim)| is_ours(claim)).collect::<Vec<_>>())
        });
        let Some((key, _)) = claim else { continue };
        let claim = format!("{}/{}", key.namespace, key.name);
        world.history.record(Event::ClaimDeletedByHand { claim });
        let _ = world.server.with(|store| store.delete(&key, &Preconditions::default()));
    }
}
