use std::time::Duration;

use fake_api::Fault;
use node::deadline::Deadline;
use serde_json::{Value, json};

use super::*;
use crate::claims::testing::{CLAIMS, Node, POOL, World, claim_of, claimant, ip, pool_request};
use crate::conf::OverlappingRanges::{Protected, Separate};
use crate::crd::reservation::{ReservationOwner, ReservationSpec};
use crate::pool::held_claim::{Claimed, Origin};
use crate::pool::range_pool::Pool;
use crate::pool::request::{Claimant, PoolRequest, SliceRequest};

#[tokio::test]
async fn the_first_request_of_a_pool_fixes_its_naming_and_later_ones_of_the_node_only_write() {
    let table =
        [(Protected, "address", "", None), (Separate, "pool", "10.0.0.0-29-", Some("PATCH 10.0.0.0-29"))];
    for (setting, naming, prefix, entry) in table {
        let (world, node) = (World::new().await, Node::new());
        assert_eq!(world.add(&node, "a", setting).await, [format!("{prefix}10.0.0.1")]);
        assert_eq!(world.naming().as_deref(), Some(naming));
        world.server.take_requests();
        world.add(&node, "b", setting).await;
        let mut expected = vec![format!("POST {prefix}10.0.0.2")];
        expected.extend(entry.map(str::to_owned));
        assert_eq!(world.server.take_requests(), expected);
    }
}

#[tokio::test]
async fn a_node_without_a_claim_in_the_pool_reads_the_naming_after_its_claim() {
    let (world, node) = (World::with(ClaimNaming::Address).await, Node::new());
    world.add(&node, "a", Protected).await;
    assert_eq!(world.server.take_requests(), ["GET 10.0.0.0-29", "POST 10.0.0.1", "GET 10.0.0.0-29"]);
    world.del(&node, "a").await;
    world.server.take_requests();
    world.add(&node, "b", Protected).await;
    assert_eq!(world.server.take_requests(), ["POST 10.0.0.1", "GET 10.0.0.0-29"]);
}

#[tokio::test]
async fn while_an_older_pod_of_the_node_lives_younger_ones_come_and_go_without_a_read() {
    let (world, node) = (World::with(ClaimNaming::Address).await, Node::new());
    world.add(&node, "old", Protected).await;
    world.server.take_requests();
    for pod in ["b", "c"] {
        world.add(&node, pod, Protected).await;
        assert_eq!(world.server.take_requests(), ["POST 10.0.0.2"], "{pod}");
        world.del(&node, pod).await;
        world.server.take_requests();
    }
    world.del(&node, "old").await;
    world.server.take_requests();
    world.add(&node, "d", Protected).await;
    assert_eq!(world.server.take_requests(), ["POST 10.0.0.1", "GET 10.0.0.0-29"]);
}

/// The record of the new sandbox names no claim: its plugin was killed before it could write it.
#[tokio::test]
async fn the_pin_follows_its_claim_to_the_sandbox_that_takes_it_over() {
    let (world, node) = (World::with(ClaimNaming::Address).await, Node::new());
    world.add(&node, "a", Protected).await;
    let next = Claimant { container_id: "a2".into(), ..claimant("a") };
    let taken = world.serve(&node, next, pool_request("10.0.0.0/29", Protected), None).await.unwrap();
    assert_eq!(taken[0].origin, Origin::TakenOver);
    world.del(&node, "a2").await;
    assert!(world.names().is_empty());
    world.server.take_requests();
    world.add(&node, "b", Protected).await;
    assert_eq!(world.server.take_requests(), ["POST 10.0.0.2", "GET 10.0.0.0-29"]);
}

#[tokio::test]
async fn a_pool_named_by_address_serves_both_settings_with_the_shared_name() {
    let (world, node) = (World::with(ClaimNaming::Address).await, Node::new());
    assert_eq!(world.add(&node, "a", Separate).await, ["10.0.0.1"]);
    assert_eq!(world.add(&Node::new(), "b", Protected).await, ["10.0.0.2"]);
    assert_eq!(world.add(&Node::new(), "c", Separate).await, ["10.0.0.3"]);
}

#[tokio::test]
async fn in_a_pool_named_by_pool_the_setting_true_takes_both_names_and_false_takes_one() {
    let world = World::with(ClaimNaming::Pool).await;
    assert_eq!(world.add(&Node::new(), "a", Separate).await, ["10.0.0.0-29-10.0.0.1"]);
    let node = Node::new();
    assert_eq!(world.add(&node, "b", Protected).await, ["10.0.0.2", "10.0.0.0-29-10.0.0.2"]);
    assert_eq!(
        world.names(),
        ["10.0.0.0-29-10.0.0.1", "10.0.0.0-29-10.0.0.2", "10.0.0.2"],
        "none is left of the first try"
    );
    assert_eq!(world.add(&Node::new(), "c", Separate).await, ["10.0.0.0-29-10.0.0.3"]);
    // DEL releases both.
    world.del(&node, "b").await;
    assert_eq!(world.names(), ["10.0.0.0-29-10.0.0.1", "10.0.0.0-29-10.0.0.3"]);
}

#[tokio::test]
async fn an_address_that_an_overlapping_pool_holds_is_given_only_with_the_setting_false() {
    for (setting, expected) in [(Separate, "10.0.0.0-29-10.0.0.1"), (Protected, "10.0.0.2")] {
        let world = World::with(ClaimNaming::Pool).await;
        world.put(&claim_of("10.0.0.0-28", "10.0.0.1", "other"));
        assert_eq!(world.add(&Node::new(), "a", setting).await[0], expected);
    }
}

#[tokio::test]
async fn a_requested_address_whose_second_name_is_taken_is_refused_and_nothing_is_left() {
    let world = World::with(ClaimNaming::Pool).await;
    world.add(&Node::new(), "a", Separate).await;
    let pool = pool_request("10.0.0.0/29", Protected);
    let error = world.serve(&Node::new(), claimant("b"), pool, Some(ip("10.0.0.1"))).await.unwrap_err();
    assert!(error.contains("10.0.0.1") && error.contains("default/a"), "{error}");
    assert_eq!(world.names(), ["10.0.0.0-29-10.0.0.1"]);
}

#[tokio::test]
async fn a_deleted_ippool_comes_back_with_the_naming_of_the_claims_that_are_left() {
    for (first, second, naming) in [(Separate, Protected, "pool"), (Protected, Separate, "address")] {
        let world = World::new().await;
        world.add(&Node::new(), "a", first).await;
        world.delete_pool();
        world.add(&Node::new(), "b", second).await;
        assert_eq!(world.naming().as_deref(), Some(naming));
    }
    // Claims of both kinds, of which nobody can say which ones count: the new naming protects both.
    let world = World::new().await;
    world.put(&claim_of(POOL, "10.0.0.1", "a"));
    world.put(&claim_of(POOL, "10.0.0.0-29-10.0.0.2", "b"));
    let names = world.add(&Node::new(), "c", Separate).await;
    assert_eq!(names, ["10.0.0.3", "10.0.0.0-29-10.0.0.3"]);
    assert_eq!(world.naming().as_deref(), Some("address-and-pool"));
}

#[tokio::test]
async fn a_node_that_remembers_another_naming_does_not_keep_its_claim() {
    let (world, stale) = (World::new().await, Node::new());
    world.add(&stale, "a", Protected).await;
    world.del(&stale, "a").await;
    // Nothing is left of the pool. Another node makes it again, named by pool.
    world.delete_pool();
    assert_eq!(world.add(&Node::new(), "b", Separate).await, ["10.0.0.0-29-10.0.0.1"]);
    world.server.take_requests();
    let names = world.add(&stale, "c", Separate).await;
    assert_eq!(names, ["10.0.0.0-29-10.0.0.2"]);
    let requests = world.server.take_requests();
    // The first address has an entry. The claim of the second does not count.
    assert_eq!(requests[..4], ["POST 10.0.0.1", "PATCH 10.0.0.0-29", "GET 10.0.0.0-29", "DELETE 10.0.0.1"]);
    assert!(requests.contains(&"DELETE 10.0.0.2".to_owned()), "{requests:?}");
    assert_eq!(world.names(), ["10.0.0.0-29-10.0.0.1", "10.0.0.0-29-10.0.0.2"]);
}

#[tokio::test]
async fn an_annotation_that_somebody_removed_comes_back() {
    let (world, node) = (World::new().await, Node::new());
    world.add(&node, "a", Separate).await;
    world.put_pool(json!({}), json!({}));
    node.forget();
    assert_eq!(world.add(&node, "b", Protected).await, ["10.0.0.2", "10.0.0.0-29-10.0.0.2"]);
    assert_eq!(world.naming().as_deref(), Some("pool"));
}

#[tokio::test]
async fn concurrent_first_requests_of_both_settings_fix_one_naming_and_get_different_addresses() {
    let world = World::new().await;
    let nodes: [Node; 4] = std::array::from_fn(|_| Node::new());
    let (a, b, c, d) = tokio::join!(
        world.add(&nodes[0], "a", Separate),
        world.add(&nodes[1], "b", Protected),
        world.add(&nodes[2], "c", Separate),
        world.add(&nodes[3], "d", Protected),
    );
    let mut addresses = [a, b, c, d].map(|names| names[0].rsplit('-').next().unwrap().to_owned()).to_vec();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 4, "{:?}", world.names());
    assert!(world.naming().is_some());
}

#[tokio::test]
async fn a_pod_keeps_its_address_when_its_network_changes_its_setting() {
    let world = World::with(ClaimNaming::Pool).await;
    let node = Node::new();
    let serve = async |container: &str, setting| {
        let claimant = Claimant { container_id: container.into(), ..claimant("a") };
        world.serve(&node, claimant, pool_request("10.0.0.0/29", setting), None).await.unwrap().remove(0)
    };
    assert_eq!(serve("c1", Separate).await.claim.name.as_str(), "10.0.0.0-29-10.0.0.1");
    let kept = serve("c2", Protected).await;
    assert_eq!((kept.claim.name.as_str(), kept.origin), ("10.0.0.1", Origin::TakenOver));
    assert_eq!(kept.claim.second.unwrap().name.as_str(), "10.0.0.0-29-10.0.0.1");
    let kept = serve("c3", Separate).await;
    assert_eq!((kept.claim.name.as_str(), kept.claim.second), ("10.0.0.0-29-10.0.0.1", None));
}

/// A node that lost its disk does not know that the interface had the address. It finds out, because the answer to its first create was lost.
async fn attach_again(world: &World) -> Claimed {
    world.server.fail_next("POST", "/overlappingrangeipreservations", &[Fault::Status(503)]);
    let next = Claimant { container_id: "a2".into(), ..claimant("a") };
    let pool = pool_request("10.0.0.0/29", Protected);
    world.serve(&Node::new(), next, pool, None).await.unwrap().remove(0)
}

#[tokio::test]
async fn both_names_of_an_earlier_sandbox_are_taken_over() {
    let world = World::with(ClaimNaming::Pool).await;
    world.add(&Node::new(), "a", Protected).await;
    let again = attach_again(&world).await;
    assert_eq!(again.claim.name.as_str(), "10.0.0.1");
    assert_eq!(world.names().len(), 2, "{:?}", world.names());
    for name in world.names() {
        let claim = world.server.get(CLAIMS, "kube-system", &name).unwrap();
        assert_eq!(claim["spec"]["containerid"], "a2", "{name}");
    }
}

#[tokio::test]
async fn a_first_name_that_was_taken_over_goes_if_another_pod_has_the_second() {
    let world = World::with(ClaimNaming::Pool).await;
    world.add(&Node::new(), "a", Protected).await;
    let second = "10.0.0.0-29-10.0.0.1";
    world.server.remove(CLAIMS, "kube-system", second);
    world.put(&claim_of(POOL, second, "b"));
    let again = attach_again(&world).await;
    assert_eq!(again.claim.name.as_str(), "10.0.0.2");
    assert_eq!(world.names(), [second, "10.0.0.0-29-10.0.0.2", "10.0.0.2"]);
}

#[tokio::test]
async fn slices_do_not_change_the_names_of_a_range() {
    let world = World::new().await;
    world.add(&Node::new(), "a", Separate).await;
    let allocations = json!([{"nodeName": "n1", "sliceRange": "10.0.0.0/30"}]);
    let slices =
        json!({"spec": {"range": "10.0.0.0/29", "sliceSize": "/30"}, "status": {"allocations": allocations}});
    world.server.put("nodeslicepools", "kube-system", "net", slices);
    let slice = Some(SliceRequest { pool: "net".to_owned(), node: "n1".to_owned() });
    let sliced = PoolRequest { slice, ..pool_request("10.0.0.0/29", Separate) };
    let claimed = world.serve(&Node::new(), claimant("b"), sliced, None).await.unwrap();
    assert_eq!(claimed[0].claim.name.as_str(), "10.0.0.0-29-10.0.0.2");
    assert_eq!(claimed[0].claim.pool, "n1-10.0.0.0-30");
    assert_eq!(
        world.server.names("ippools"),
        [POOL, "n1-10.0.0.0-30"],
        "the entry is in the object of the slice"
    );
    let slice = world.server.get("ippools", "kube-system", "n1-10.0.0.0-30").unwrap();
    assert_eq!(slice["spec"]["allocations"]["2"]["podref"], "default/b");
}

#[tokio::test]
async fn a_late_deletion_of_an_earlier_call_does_not_delete_a_reused_claim() {
    let (world, node) = (World::new().await, Node::new());
    // A daemon claimed the address, sent a deletion, and was killed. Then the plugin without a daemon reuses the claim.
    let serve = async || {
        let pool = pool_request("10.0.0.0/29", Protected);
        world.serve(&node, claimant("a"), pool, None).await.unwrap().remove(0)
    };
    let before = serve().await.claim;
    let after = serve().await;
    assert_eq!((&after.claim.name, after.origin), (&before.name, Origin::TakenOver));
    let late = world.claims().delete(&before.name, &before.resource_version).await;
    assert!(matches!(late, Err(ApiError::Conflict { .. })), "{late:?}");
    world.claims().delete(&before.name, &after.claim.resource_version).await.unwrap();
}

#[tokio::test]
async fn a_late_call_does_not_take_over_the_claim_of_the_pods_successor() {
    let world = World::with(ClaimNaming::Pool).await;
    let spec =
        ReservationSpec { podref: "default/a".into(), ifname: "net1".into(), containerid: "new".into() };
    let range = "10.0.0.0/29".parse().unwrap();
    let owner = ReservationOwner { pool: POOL, whole: POOL, range, pod_uid: Some("new"), node: None, spec };
    world.put(&Reservation::new("10.0.0.0-29-10.0.0.1", owner));
    world.server.put("pods", "default", "a", json!({"metadata": {"uid": "new"}}));
    let pool = pool_request("10.0.0.0/29", Separate);
    let error = world.serve(&Node::new(), claimant("a"), pool, Some(ip("10.0.0.1"))).await.unwrap_err();
    assert!(error.contains("is gone"), "{error}");
    assert!(world.names().contains(&"10.0.0.0-29-10.0.0.1".to_owned()));
}

/// A pool with four allocations that Whereabouts wrote, of which the second has an address that an overlapping pool holds.
fn put_upstream_pool(world: &World, annotations: Value) {
    let entries = json!({
        "1": {"id": "c1", "podref": "default/a", "ifname": "net1"},
        "2": {"id": "c2", "podref": "default/b", "ifname": "net1"},
        "3": {"id": "c3", "podref": "default/c", "ifname": "net1"},
        "4": {"id": "c4", "podref": "default/d", "ifname": "net1"},
    });
    world.put_pool(annotations, entries);
    world.put(&claim_of("10.0.0.0-28", "10.0.0.2", "other"));
    let bare = json!({"spec": {"podref": "default/c", "ifname": "net1"}});
    world.server.put(CLAIMS, "kube-system", "10.0.0.3", bare);
}

#[tokio::test]
async fn every_allocation_of_whereabouts_gets_claims_that_no_request_can_miss() {
    for (setting, naming) in [(Protected, "address-and-pool"), (Separate, "pool")] {
        let world = World::new().await;
        put_upstream_pool(&world, json!({}));
        let names = world.add(&Node::new(), "e", setting).await;
        assert_eq!(world.naming().as_deref(), Some(naming));
        // After this many conflicts the cursor chooses one of the free addresses at random.
        let free = ["10.0.0.0-29-10.0.0.5", "10.0.0.0-29-10.0.0.6"];
        assert!(free.contains(&names.last().unwrap().as_str()), "{setting:?}: {names:?}");
        for (address, pod) in [("1", "a"), ("2", "b"), ("3", "c"), ("4", "d")] {
            let name = format!("10.0.0.0-29-10.0.0.{address}");
            let claim = world.server.get(CLAIMS, "kube-system", &name).unwrap();
            assert_eq!(claim["spec"]["podref"], format!("default/{pod}"));
        }
        let completed = world.server.get(CLAIMS, "kube-system", "10.0.0.3").unwrap();
        assert_eq!(completed["metadata"]["annotations"]["whereabouts.multus-rs/pool"], POOL);
        assert_eq!(
            world.server.get(CLAIMS, "kube-system", "10.0.0.2").unwrap()["spec"]["podref"],
            "default/other"
        );
    }
}

#[tokio::test]
async fn an_adoption_that_fails_fixes_nothing_and_no_address_is_given() {
    let world = World::new().await;
    put_upstream_pool(&world, json!({}));
    world.server.fail("/10.0.0.3");
    let short = Claims { deadline: Deadline::after(Duration::from_millis(300)), ..world.claims() };
    let pool = Pool::of(&pool_request("10.0.0.0/29", Separate), None).unwrap();
    assert!(naming_of(&short, NamedPool::of(&pool)).await.is_err());
    assert_eq!(world.naming(), None);
}
