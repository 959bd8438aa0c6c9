//! Disruptions of the cluster: power failures, daemon crashes, users who annotate claims and delete IPPools, an API server that compacts old revisions.

use std::time::Duration;

use fake_api::Preconditions;
use fake_api::store::Endpoint;
use fastrand::Rng;
use serde_json::json;
use whereabouts::crd::ip_pool::CLAIM_NAMES;

use super::layout::{INTERFACE, NAMESPACE, POOLS};
use super::node::{Disk, Node};
use super::{CHURN, World};
use crate::sim::history::Event;
use crate::sim::server::CLAIMS;

/// In this time before the end of the churn, power failures are short, so that every node runs again when the faults have ended.
const SHORT_FAILURES: Duration = Duration::from_secs(80);

/// Starts all disruptions, in the background.
pub fn spawn(world: &World, rng: &mut Rng) {
    for node in world.nodes.iter() {
        tokio::spawn(fail_and_recover(world.clone(), node.clone(), rng.fork()));
        tokio::spawn(restart_daemon(world.clone(), node.clone(), rng.fork()));
    }
    tokio::spawn(annotate(world.clone(), rng.fork()));
    tokio::spawn(compact(world.clone(), rng.fork()));
    tokio::spawn(delete_pools(world.clone(), rng.fork()));
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
            world.history.record(Event::DelStarted { container: record.container_id.clone() });
            let del = node.del(&record.container_id, INTERFACE, &record.podref, &[]);
            if node.while_powered(del).await.is_some() {
                world.history.record(Event::DelSucceeded { container: record.container_id });
            }
        }
    }
}

/// Crashes the daemon of a node and starts it again, until the churn ends. Then the daemon stays up.
async fn restart_daemon(world: World, node: Node, mut rng: Rng) {
    while world.is_churning() {
        pause(&mut rng, 20, 200).await;
        if world.is_churning() {
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
            let claims = store.list_at(CLAIMS, Some(NAMESPACE), store.revision());
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
            let all = store.list_at(POOLS, Some(NAMESPACE), store.revision());
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
