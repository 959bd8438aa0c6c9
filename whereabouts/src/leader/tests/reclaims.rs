//! Reclaiming, and what the leader watches.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_claims_of_a_gone_pod_are_deleted_with_an_event() {
    let world = World::new().await;
    world.pod("here", "u1");
    world.claim("10.0.0.1", "a/gone", ID);
    world.claim("10.0.0.2", "a/here", ID);
    world.reclaim().await;
    assert_eq!(world.server.names(RESERVATIONS), ["10.0.0.2"]);
    let text = "successful cleanup of IP address [10.0.0.1] from network net-of-10.0.0.0-24";
    assert_eq!(world.events(), [("IPAddressGarbageCollected".to_owned(), text.to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn an_allocation_of_whereabouts_is_removed_with_its_claim() {
    let world = World::new().await;
    world.claim("10.0.0.1", "a/gone", ID);
    world.pool(
        "10.0.0.0-24",
        json!({"1": {"id": ID, "podref": "a/gone", "ifname": "net1"}, "2": {"id": ID, "podref": "a/gone", "ifname": "net2"}}),
    );
    world.reclaim().await;
    assert_eq!(world.entries(), json!({"2": {"id": ID, "podref": "a/gone", "ifname": "net2"}}));
}

#[tokio::test(start_paused = true)]
async fn the_claims_of_a_pod_that_the_cache_lacks_stay() {
    let world = World::new().await;
    world.claim("10.0.0.1", "a/b", ID);
    world.claim("10.0.0.2", "a/gone", ID);
    world.sync();
    // Then the pod appears, and the cache does not have it yet.
    let targets = world.reclaim_targets().await;
    assert_eq!(targets.len(), 2);
    world.pod("b", "u1");
    reclaim::pass(&world.context, targets, |_| None).await;
    assert_eq!(world.server.names(RESERVATIONS), ["10.0.0.1"]);
}

#[tokio::test(start_paused = true)]
async fn after_an_error_about_one_pod_nothing_is_reclaimed() {
    let world = World::new().await;
    world.claim("10.0.0.1", "a/gone", ID);
    world.claim("10.0.0.2", "a/unclear", ID);
    world.server.fail("/namespaces/a/pods/unclear");
    world.reclaim().await;
    assert_eq!(world.server.names(RESERVATIONS).len(), 2);
    assert_eq!(world.events(), []);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_taken_over_in_between_stays() {
    let world = World::new().await;
    world.claim("10.0.0.1", "a/b", ID);
    world.sync();
    let targets = world.reclaim_targets().await;
    world.claim("10.0.0.1", "a/b", NEXT);
    reclaim::pass(&world.context, targets, |_| None).await;
    assert_eq!(world.claimed("10.0.0.1").unwrap().container(), NEXT);
    assert_eq!(world.events(), [], "nothing was deleted");
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_address_whereabouts_reuses_stays() {
    let world = World::new().await;
    world.pod("b", "u2");
    world.claim("10.0.0.1", "a/b", ID);
    world.pool("10.0.0.0-24", json!({"1": {"id": NEXT, "podref": "a/b", "ifname": "net1"}}));
    world.reclaim().await;
    assert_eq!(world.server.names(RESERVATIONS), ["10.0.0.1"]);
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_cache_reclaims_nothing() {
    let world = World::new().await;
    world.claim("10.0.0.1", "a/gone", ID);
    let claim = world.claimed("10.0.0.1").unwrap();
    let mut cache = ClusterCache::default();
    cache.apply_claim(Change::Restarted);
    cache.apply_claim(Change::Put(CachedReservation::from(&claim)));
    cache.apply_claim(Change::Synced);
    let grace = Duration::from_secs(60);
    let decision = reclaim::decide(&cache, &TrackedClaims::new(), grace, grace);
    assert!(decision.candidates.is_empty() && decision.targets.is_empty());
}

#[tokio::test]
async fn the_cache_lists_and_watches_every_kind() {
    let world = World::new().await;
    world.claim("10.0.0.1", "a/web", ID);
    world.pool("10.0.0.0-24", json!({}));
    world.pod("web", "u1");
    world.network("a", "net", json!({}));
    world.server.put("nodes", "", "n1", json!({}));
    let metrics = &world.context.metrics;
    let watching = crate::leader::cluster_cache::watch(
        &world.shared,
        &world.context.api,
        &world.context.namespace,
        metrics,
    );
    let late = async {
        while world.shared.lock().networks.content().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.server.put(
            "nodeslicepools",
            "kube-system",
            "late",
            json!({"spec": {"range": "10.0.0.0/8", "sliceSize": "/16"}}),
        );
        while world.shared.lock().slice_pools.content().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = watching => panic!("a watch never ends"),
        done = tokio::time::timeout(Duration::from_secs(10), late) => done.unwrap(),
    }
    let cache = world.shared.lock();
    assert_eq!(cache.pods.content().len(), 1);
    assert_eq!(cache.nodes.content().len(), 1);
}
