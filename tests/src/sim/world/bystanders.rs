//! What else happens: power failures, daemons that fall, people who annotate objects, an API server that forgets old revisions.

use std::time::Duration;

use fake_api::store::Endpoint;
use fastrand::Rng;
use serde_json::json;

use super::layout::{CLAIMS, INTERFACE, NAMESPACE};
use super::node::{Disk, Node};
use super::{CHURN, World};
use crate::sim::history::Event;

/// A power failure this long before the end of the churn is a short one.
const SOON: Duration = Duration::from_secs(80);

/// Lets it all happen.
pub fn spawn(world: &World, rng: &mut Rng) {
    for node in world.nodes.iter() {
        tokio::spawn(fail_and_recover(world.clone(), node.clone(), rng.fork()));
        tokio::spawn(restart_daemon(world.clone(), node.clone(), rng.fork()));
    }
    tokio::spawn(annotate(world.clone(), rng.fork()));
    tokio::spawn(compact(world.clone(), rng.fork()));
}

async fn pause(rng: &mut Rng, from: u64, to: u64) {
    tokio::time::sleep(Duration::from_millis(rng.u64(from * 1000..to * 1000))).await;
}

/// Power failures, up to the end of the churn.
async fn fail_and_recover(world: World, node: Node, mut rng: Rng) {
    loop {
        pause(&mut rng, 20, 400).await;
        if !world.churns() {
            return;
        }
        world.history.detail(|| format!("{} fails", node.name));
        node.fail();
        let longest = if world.history.now() + SOON < CHURN { 90 } else { 20 };
        pause(&mut rng, 5, longest).await;
        let disk = if rng.bool() { Disk::Kept } else { Disk::Lost };
        world.history.detail(|| format!("{} recovers, disk {disk:?}", node.name));
        let left = node.recover(disk);
        // What ran before the failure is deleted first, as kubelet does.
        for record in left {
            world.history.note(Event::DelStarted { container: record.container_id.clone() });
            let del = node.del(&record.container_id, INTERFACE, &record.podref, &[]);
            if node.while_on(del).await.is_some() {
                world.history.note(Event::DelEnded { container: record.container_id });
            }
        }
    }
}

async fn restart_daemon(world: World, node: Node, mut rng: Rng) {
    while world.churns() {
        pause(&mut rng, 20, 200).await;
        if world.churns() {
            world.history.detail(|| format!("the daemon of {} falls", node.name));
            node.stop_daemon();
            pause(&mut rng, 0, 5).await;
        }
        node.start_daemon();
    }
}

/// Somebody annotates claims: their versions change under those who hold them.
async fn annotate(world: World, mut rng: Rng) {
    while world.churns() {
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

/// The API server forgets what is older than some seconds.
async fn compact(world: World, mut rng: Rng) {
    while world.churns() {
        let revision = world.server.with(|store| store.revision());
        pause(&mut rng, 5, 60).await;
        world.server.with(|store| store.compact(revision));
    }
}
