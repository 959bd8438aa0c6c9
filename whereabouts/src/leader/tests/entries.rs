//! Entries of the IPPools that Whereabouts looks at, with and without claims.

use super::*;

/// The pool 10.0.0.0/24, with the naming of its claims.
fn named_pool(world: &World, naming: &str, allocations: Value) {
    let metadata = json!({"annotations": {"whereabouts.multus-rs/claim-names": naming}});
    let pool = json!({"metadata": metadata, "spec": {"range": "10.0.0.0/24", "allocations": allocations}});
    world.server.put("ippools", "kube-system", "10.0.0.0-24", pool);
}

/// An operator changes the image and nothing else: the definition is Whereabouts' own.
#[tokio::test(start_paused = true)]
async fn if_the_definition_drops_via_entries_come_and_go_with_their_claims() {
    let world = World::new().await;
    world.server.drop_via();
    let entry = |id: &str, podref: &str| json!({"id": id, "podref": podref, "ifname": "net1"});
    named_pool(&world, "address", json!({"9": entry("x", "a/theirs")}));
    world.claim("10.0.0.1", "a/b", ID);
    world.claim("10.0.0.9", "a/theirs", "x");
    world.sync();
    assert_eq!(world.write_views().await, ViaSupport::Dropped);
    assert_eq!(world.entries(), json!({"1": entry(ID, "a/b"), "9": entry("x", "a/theirs")}));
    world.server.remove(RESERVATIONS, "kube-system", "10.0.0.1");
    world.sync();
    world.write_views().await;
    assert_eq!(world.entries(), json!({"9": entry("x", "a/theirs")}));
    world.adopt().await;
    assert_eq!(
        world.server.names(RESERVATIONS),
        ["10.0.0.9"],
        "the entry was not taken for one of Whereabouts'"
    );
}

/// Whereabouts gave the address to a pod while the claim of an earlier pod was left, or a request's claim is about to give way.
#[tokio::test(start_paused = true)]
async fn an_entry_whose_address_another_pod_has_claimed_stays_while_its_pod_exists() {
    let world = World::new().await;
    let theirs = json!({"id": "x", "podref": "a/theirs", "ifname": "net1"});
    world.pool("10.0.0.0-24", json!({"1": theirs}));
    world.pod("theirs", "u");
    world.claim("10.0.0.1", "a/b", ID);
    world.sync();
    let mut writer = ViewWriter::new(&world.context, &world.shared);
    world.write_views_with(&mut writer).await;
    assert_eq!(world.entries(), json!({"1": theirs}));
    // The cache lags behind: the API server still has the pod.
    let pod = world.shared.lock().pod("a/theirs").cloned().unwrap();
    world.shared.lock().pods.apply(Change::Gone(("a/theirs".into(), pod)));
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(30)).await;
        writer.pass().await;
    }
    assert_eq!(world.entries(), json!({"1": theirs}));
    world.server.remove("pods", "a", "theirs");
    // A pod that was deleted by force still has its sandbox, and this the address.
    world.write_views_with(&mut writer).await;
    assert_eq!(world.entries(), json!({"1": theirs}), "within the grace time");
    world.write_views_with(&mut writer).await;
    assert_eq!(world.entries()["1"]["podref"], "a/b");
}

/// As Whereabouts' own test of its reconciler does.
#[tokio::test(start_paused = true)]
async fn an_entry_that_somebody_restores_after_its_removal_gets_a_claim() {
    let world = World::new().await;
    named_pool(&world, "address", json!({}));
    world.network("a", "n", json!({"type": "whereabouts", "range": "10.0.0.0/24"}));
    world.claim("10.0.0.1", "a/b", ID);
    world.sync();
    world.write_views().await;
    assert_eq!(world.entries()["1"]["id"], ID);
    world.server.remove(RESERVATIONS, "kube-system", "10.0.0.1");
    world.sync();
    world.write_views().await;
    assert_eq!(world.entries(), json!({}));
    let restored = json!({"1": {"id": ID, "podref": "a/b", "ifname": "net1"}});
    named_pool(&world, "address", restored.clone());
    world.sync();
    world.write_views().await;
    assert_eq!(world.entries(), restored);
    world.adopt().await;
    assert_eq!(world.server.names(RESERVATIONS), ["10.0.0.1"]);
}

/// The request writes the entry, and the DEL removes it.
#[tokio::test(start_paused = true)]
async fn in_a_pool_named_by_pool_an_entry_without_a_claim_stays_while_its_pod_exists() {
    let world = World::new().await;
    let entry = |id: &str, podref: &str| json!({"id": id, "podref": podref, "ifname": "net1", "via": format!("claim:{id}")});
    named_pool(&world, "pool", json!({"1": entry("c1", "a/b"), "2": entry("c2", "a/gone")}));
    world.pod("b", "u");
    world.sync();
    world.write_views_past_the_grace_time().await;
    world.adopt().await;
    assert_eq!(world.entries(), json!({"1": entry("c1", "a/b")}), "the watch of the claims may lag behind");
    assert_eq!(world.server.names(RESERVATIONS), Vec::<String>::new());
}

/// On a node that still has Whereabouts the pod of a lost sandbox starts again, and the lost sandbox's DEL comes after that.
#[tokio::test(start_paused = true)]
async fn an_entry_that_whereabouts_took_over_gets_its_deleted_claim_again_at_once() {
    for (via, delay) in [(Some("claim:lost"), 0), (None, 2)] {
        let world = World::new().await;
        let mut entry = json!({"id": "next", "podref": "a/b", "ifname": "net1"});
        if let Some(via) = via {
            entry["via"] = via.into();
        }
        named_pool(&world, "address", json!({"1": entry}));
        world.network("a", "n", json!({"type": "whereabouts", "range": "10.0.0.0/24"}));
        world.pod("b", "u");
        world.sync();
        let (mut pending, mut waited) = (PendingAdoptions::default(), 0);
        world.adopt_at(0, &mut pending).await;
        while world.server.names(RESERVATIONS).is_empty() && waited < 9 {
            waited += 1;
            world.adopt_at(waited, &mut pending).await;
        }
        assert_eq!(waited, delay, "{via:?}");
    }
}
