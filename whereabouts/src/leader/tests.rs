mod node_slices;
pub(crate) mod server;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use node::client::Change;
use node::names::DnsLabel;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::adopt::{self, Waiting};
use super::cluster_cache::{ClusterCache, SharedCache};
use super::context::{Context, Timing};
use super::ip_pool_view;
use super::networks::{self, Definition, PoolNamings};
use super::reclaim_rules::TrackedClaims;
use super::views::{Schedule, WritePass};
use super::{reclaim, slices};
use crate::crd::cached::{CachedObject, CachedPool, CachedReservation};
use crate::crd::node_slice_pool::NodeSlicePool;
use crate::crd::reservation::{Reservation, ReservationOwner, ReservationSpec};
use crate::metrics::Metrics;
use server::Server;

const RESERVATIONS: &str = "overlappingrangeipreservations";
const ID: &str = "0123456789abcdef";
const NEXT: &str = "fedcba9876543210";

struct World {
    server: Server,
    context: Context,
    shared: SharedCache,
}

impl World {
    async fn new() -> Self {
        let server = Server::default();
        let (metrics, _) = Metrics::new();
        let namespace = DnsLabel::new("kube-system").unwrap();
        let context = Context::new(server.client().await, namespace, metrics, Duration::from_secs(60));
        let timing = Timing { request: Duration::from_secs(2), ..context.timing };
        World { server, context: context.paced(timing), shared: SharedCache::default() }
    }

    /// The mirrors are told everything.
    fn hear(&self) {
        fn told<T: DeserializeOwned, V>(
            server: &Server,
            kind: &str,
            entry: impl Fn(T) -> V,
            mut apply: impl FnMut(Change<V>),
        ) {
            apply(Change::Restarted);
            let objects = server.all(kind).into_iter().map(|object| serde_json::from_value(object).unwrap());
            objects.for_each(|object| apply(Change::Put(entry(object))));
            apply(Change::Synced);
        }
        let mut cache = self.shared.lock();
        let m: &mut ClusterCache = &mut cache;
        let server = &self.server;
        let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
        let long_name = |object: &Value| {
            format!("{}/{}", object["metadata"]["namespace"].as_str().unwrap(), name(object))
        };
        told(server, RESERVATIONS, |claim: CachedReservation| claim, |c| m.apply_claim(c));
        told(server, "ippools", |pool: CachedPool| pool, |c| m.apply_pool(c));
        let pod = |pod: CachedObject| (format!("{}/{}", pod.namespace, pod.name).into(), pod.identity);
        told(server, "pods", pod, |c| drop(m.pods.apply(c)));
        told(server, "nodes", |node: Value| (name(&node), ()), |c| drop(m.nodes.apply(c)));
        let network = |nad: Value| (long_name(&nad), serde_json::from_value::<Definition>(nad).unwrap());
        told(server, "network-attachment-definitions", network, |c| drop(m.networks.apply(c)));
        let slices = |pool: NodeSlicePool| (pool.metadata.name.clone().unwrap(), pool);
        told(server, "nodeslicepools", slices, |c| drop(m.slice_pools.apply(c)));
    }

    fn claim(&self, name: &str, podref: &str, container: &str) {
        let spec =
            ReservationSpec { podref: podref.into(), ifname: "net1".into(), containerid: container.into() };
        let range = "10.0.0.0/24".parse().unwrap();
        let holding = ReservationOwner { pool: "10.0.0.0-24", range, pod_uid: Some("u1"), node: None, spec };
        self.server.put(
            RESERVATIONS,
            "kube-system",
            name,
            serde_json::to_value(Reservation::new(name, holding)).unwrap(),
        );
    }

    fn pool(&self, name: &str, allocations: Value) {
        let pool = json!({"spec": {"range": "10.0.0.0/24", "allocations": allocations}});
        self.server.put("ippools", "kube-system", name, pool);
    }

    fn pod(&self, name: &str, uid: &str) {
        self.server.put("pods", "a", name, json!({"metadata": {"uid": uid}}));
    }

    fn network(&self, namespace: &str, name: &str, ipam: Value) {
        let config = json!({"cniVersion": "1.0.0", "name": name, "plugins": [{"type": "tuning"}, {"type": "macvlan", "ipam": ipam}]});
        let object =
            json!({"metadata": {"uid": format!("nad-{name}")}, "spec": {"config": config.to_string()}});
        self.server.put("network-attachment-definitions", namespace, name, object);
    }

    /// Writes views until nothing is owed, and returns what is known of the definition of IPPool.
    async fn write_views(&self) -> ip_pool_view::ViaSupport {
        let (via_support, schedule, begin) =
            (ip_pool_view::ViaSupport::Unknown, Schedule::default(), Instant::now());
        let mut round =
            WritePass { context: &self.context, shared: &self.shared, via_support, schedule, begin };
        for _ in 0..10 {
            tokio::time::advance(Duration::from_secs(5)).await;
            round.pass().await;
            self.hear();
        }
        round.via_support
    }

    /// Adopts until nothing is left to do.
    async fn adopt(&self) {
        let mut waiting = Waiting::default();
        for pass in 0..4 {
            self.hear();
            let actions = {
                let cache = self.shared.lock();
                let whereabouts_networks = networks::whereabouts_networks(cache.networks.iter(), |_| None);
                let namings = PoolNamings::of(&whereabouts_networks, &cache);
                let pools: Vec<Arc<str>> = cache.pools().iter().map(|(name, _)| name.clone()).collect();
                let now = Duration::from_secs(pass);
                waiting.actions(&cache, pools, &namings, now, self.context.timing.settle)
            };
            adopt::pass(&self.context, actions).await;
        }
        self.hear();
    }

    /// What is due a grace time after the API server said that a pod is gone.
    async fn lost(&self) -> Vec<reclaim::ReclaimTarget> {
        let grace = self.context.timing.grace;
        let look = |earlier: &TrackedClaims, now| reclaim::look(&self.shared.lock(), earlier, now, grace);
        let first = look(&TrackedClaims::new(), Duration::ZERO);
        assert!(first.unconfirmed.is_empty() && first.lost.is_empty());
        let second = look(&first.candidates, Duration::from_secs(1));
        assert!(second.lost.is_empty());
        let mut candidates = second.candidates;
        reclaim::confirm(&self.context, &mut candidates, second.unconfirmed, || Duration::from_secs(2)).await;
        look(&candidates, Duration::from_secs(2) + grace).lost
    }

    /// The same, and what comes of it.
    async fn reclaim(&self) {
        self.hear();
        let lost = self.lost().await;
        reclaim::pass(&self.context, lost, |pool| Some(format!("net-of-{pool}"))).await;
    }

    async fn plan_slices(&self) -> BTreeSet<(String, String)> {
        self.hear();
        let pending = {
            let cache = self.shared.lock();
            let whereabouts_networks = networks::whereabouts_networks(cache.networks.iter(), |_| None);
            slices::look(&cache, &whereabouts_networks, &self.context.namespace)
        };
        let notices = pending.notices.clone();
        slices::pass(&self.context, pending, &BTreeSet::new()).await;
        notices
    }

    fn entries(&self) -> Value {
        self.server.get("ippools", "kube-system", "10.0.0.0-24").unwrap()["spec"]["allocations"].clone()
    }

    fn claimed(&self, name: &str) -> Option<Reservation> {
        let object = self.server.get(RESERVATIONS, "kube-system", name)?;
        Some(serde_json::from_value(object).unwrap())
    }

    fn slices(&self, pool: &str) -> Vec<(String, String)> {
        let object = self.server.get("nodeslicepools", "kube-system", pool).unwrap();
        let pool: NodeSlicePool = serde_json::from_value(object).unwrap();
        pool.status.allocations.into_iter().map(|slice| (slice.node_name, slice.slice_range)).collect()
    }

    fn events(&self) -> Vec<(String, String)> {
        let text = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
        self.server
            .all("events")
            .iter()
            .map(|event| (text(event, "reason"), text(event, "message")))
            .collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_has_claims_gets_its_object_and_its_entries() {
    let world = World::new().await;
    world.claim("10.0.0.1", "a/b", ID);
    world.claim("10.0.0.7", "a/c", NEXT);
    world.hear();
    assert_eq!(world.write_views().await, ip_pool_view::ViaSupport::Kept);
    let pool = world.server.get("ippools", "kube-system", "10.0.0.0-24").unwrap();
    assert_eq!(pool["spec"]["range"], "10.0.0.0/24");
    assert_eq!(pool["status"], json!({"size": 254, "used": 2, "free": 252}));
    assert_eq!(pool["metadata"]["annotations"]["whereabouts.multus-rs/adopted"], "true");
    let entry =
        |id: &str, podref: &str, via: &str| json!({"id": id, "podref": podref, "ifname": "net1", "via": via});
    let both = json!({"1": entry(ID, "a/b", "claim:89abcdef"), "7": entry(NEXT, "a/c", "claim:76543210")});
    assert_eq!(world.entries(), both);
    world.server.remove(RESERVATIONS, "kube-system", "10.0.0.1");
    world.hear();
    world.write_views().await;
    assert_eq!(world.entries(), json!({"7": both["7"]}));
    let writes = world.server.writes();
    world.hear();
    world.write_views().await;
    assert_eq!(world.server.writes(), writes, "what is as it should be is not written");
}

#[tokio::test(start_paused = true)]
async fn where_the_definition_drops_our_mark_no_entry_of_ours_stays() {
    let world = World::new().await;
    world.server.drop_via();
    world.pool("10.0.0.0-24", json!({"9": {"id": "x", "podref": "a/theirs", "ifname": "net1"}}));
    world.claim("10.0.0.1", "a/b", ID);
    world.claim("10.0.0.9", "a/theirs", "x");
    world.hear();
    assert_eq!(world.write_views().await, ip_pool_view::ViaSupport::Dropped);
    assert_eq!(world.entries(), json!({"9": {"id": "x", "podref": "a/theirs", "ifname": "net1"}}));
}

#[tokio::test(start_paused = true)]
async fn what_whereabouts_wrote_gets_claims_and_then_shows_as_ours() {
    let world = World::new().await;
    world.network("a", "n", json!({"type": "whereabouts", "range": "10.0.0.0/24"}));
    let theirs = json!({"podref": "a/b", "ifname": "net1"});
    world.server.put(RESERVATIONS, "kube-system", "10.0.0.2", json!({"spec": theirs}));
    world.pool(
        "10.0.0.0-24",
        json!({"1": {"id": ID, "podref": "a/lost", "ifname": "net1"}, "2": {"id": NEXT, "podref": "a/b", "ifname": "net1"}}),
    );
    world.adopt().await;
    let (made, completed) = (world.claimed("10.0.0.1").unwrap(), world.claimed("10.0.0.2").unwrap());
    assert_eq!((made.spec.podref.as_str(), made.container(), made.pod_uid()), ("a/lost", ID, None));
    assert_eq!((completed.container(), completed.pool()), (NEXT, Some("10.0.0.0-24")));
    world.write_views().await;
    assert_eq!(world.entries()["1"]["via"], "claim:89abcdef");
    let pool = world.server.get("ippools", "kube-system", "10.0.0.0-24").unwrap();
    assert_eq!(pool["metadata"]["annotations"]["whereabouts.multus-rs/adopted"], "true");
}

#[tokio::test(start_paused = true)]
async fn adopted_claims_are_named_in_their_networks_scope() {
    let world = World::new().await;
    let ipam = |more: Value| {
        let mut ipam = json!({"type": "whereabouts", "range": "10.0.0.0/24"});
        ipam.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ipam
    };
    world.network("a", "named", ipam(json!({"network_name": "blue"})));
    let apart = |name: &str| ipam(json!({"network_name": name, "enable_overlapping_ranges": false}));
    world.network("a", "apart", apart("red"));
    world.network("a", "settled", apart("settled"));
    world.network("a", "mixed", ipam(json!({"network_name": "settled-too"})));
    world.network("a", "mixed-too", apart("settled-too"));
    let entry = json!({"5": {"id": ID, "podref": "a/b", "ifname": "net1"}});
    for pool in ["blue-10.0.0.0-24", "red-10.0.0.0-24", "gone-10.0.0.0-24", "n1-10.0.0.0-24"] {
        world.pool(pool, entry.clone());
    }
    for pool in ["settled-10.0.0.0-24", "settled-too-10.0.0.0-24"] {
        let since = json!({"annotations": {"whereabouts.multus-rs/separate-since": "2020-01-01T00:00:00Z"}});
        let spec = json!({"range": "10.0.0.0/24", "allocations": entry.clone()});
        world.server.put("ippools", "kube-system", pool, json!({"metadata": since, "spec": spec}));
    }
    world.server.put("nodes", "", "n1", json!({}));
    world.adopt().await;
    let mut names: Vec<String> = world.server.names(RESERVATIONS);
    names.sort();
    // What is a node's slice, or a network's pool, of no known network, nobody can tell: it waits.
    let expected = [
        "blue-10.0.0.5",
        "gone-10.0.0.5",
        // As orders for it alone take the shared name until that is settled.
        "red-10.0.0.5",
        "settled-10.0.0.0-24-10.0.0.5",
        "settled-too-10.0.0.5",
    ];
    assert_eq!(names, expected);
}

#[tokio::test(start_paused = true)]
async fn an_entry_whose_shared_name_is_another_pools_gets_a_claim_of_its_own() {
    let world = World::new().await;
    world.network("a", "n", json!({"type": "whereabouts", "range": "10.0.0.0/24"}));
    let spec = ReservationSpec { podref: "a/other".into(), ifname: "net1".into(), containerid: ID.into() };
    let range = "10.0.0.0/28".parse().unwrap();
    let other = Reservation::new(
        "10.0.0.5",
        ReservationOwner { pool: "10.0.0.0-28", range, pod_uid: None, node: None, spec },
    );
    world.server.put(RESERVATIONS, "kube-system", "10.0.0.5", serde_json::to_value(other).unwrap());
    world.pool("10.0.0.0-24", json!({"5": {"id": NEXT, "podref": "a/b", "ifname": "net1"}}));
    world.adopt().await;
    assert_eq!(world.claimed("10.0.0.5").unwrap().spec.podref, "a/other");
    assert_eq!(world.claimed("10.0.0.0-24-10.0.0.5").unwrap().spec.podref, "a/b");
    let pool = world.server.get("ippools", "kube-system", "10.0.0.0-24").unwrap();
    let since = &pool["metadata"]["annotations"]["whereabouts.multus-rs/separate-since"];
    assert!(since.is_string(), "else nobody would look at that claim: {pool}");
    world.write_views().await;
    assert_eq!(world.entries()["5"]["podref"], "a/b");
}

#[tokio::test(start_paused = true)]
async fn a_pool_with_claims_named_after_it_says_that_it_is_used_separately() {
    let world = World::new().await;
    world.claim("10.0.0.0-24-10.0.0.5", "a/b", ID);
    let since = || {
        let pool = world.server.get("ippools", "kube-system", "10.0.0.0-24").unwrap();
        pool["metadata"]["annotations"]["whereabouts.multus-rs/separate-since"].clone()
    };
    world.hear();
    world.write_views().await;
    assert!(since().is_string(), "in an object that is made");
    world.pool("10.0.0.0-24", json!({}));
    assert!(since().is_null());
    world.hear();
    world.write_views().await;
    let first = since();
    assert!(first.is_string(), "in one that does not say so");
    world.claim("10.0.0.0-24-10.0.0.6", "a/c", ID);
    world.hear();
    world.write_views().await;
    assert_eq!(since(), first, "once");
}

#[tokio::test(start_paused = true)]
async fn a_claim_follows_the_container_that_whereabouts_refreshed() {
    let world = World::new().await;
    world.claim("10.0.0.1", "a/b", ID);
    world.hear();
    world.write_views().await;
    let mut entries = world.entries();
    entries["1"]["id"] = json!(NEXT);
    world.pool("10.0.0.0-24", entries);
    world.hear();
    world.write_views().await;
    assert_eq!(world.entries()["1"]["id"], NEXT, "a view does not write over what is not known yet");
    world.adopt().await;
    let claim = world.claimed("10.0.0.1").unwrap();
    assert_eq!((claim.container(), claim.pod_uid()), (NEXT, None), "nobody told the new pod's UID");
    world.write_views().await;
    assert_eq!(world.entries()["1"]["via"], "claim:76543210");
}

#[tokio::test(start_paused = true)]
async fn the_claims_of_a_gone_pod_are_deleted_and_its_owner_is_told() {
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
async fn an_entry_that_whereabouts_wrote_goes_with_its_claim() {
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
async fn nothing_is_released_of_a_pod_that_the_mirror_has_not_heard_of() {
    let world = World::new().await;
    world.claim("10.0.0.1", "a/b", ID);
    world.claim("10.0.0.2", "a/gone", ID);
    world.hear();
    // Then it appears, and the mirrors are late.
    let lost = world.lost().await;
    assert_eq!(lost.len(), 2);
    world.pod("b", "u1");
    reclaim::pass(&world.context, lost, |_| None).await;
    assert_eq!(world.server.names(RESERVATIONS), ["10.0.0.1"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_about_one_pod_and_nothing_is_released() {
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
    world.hear();
    let lost = world.lost().await;
    world.claim("10.0.0.1", "a/b", NEXT);
    reclaim::pass(&world.context, lost, |_| None).await;
    assert_eq!(world.claimed("10.0.0.1").unwrap().container(), NEXT);
    assert_eq!(world.events(), [], "there is nothing to tell");
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_whereabouts_uses_again_is_not_due() {
    let world = World::new().await;
    world.pod("b", "u2");
    world.claim("10.0.0.1", "a/b", ID);
    world.pool("10.0.0.0-24", json!({"1": {"id": NEXT, "podref": "a/b", "ifname": "net1"}}));
    world.reclaim().await;
    assert_eq!(world.server.names(RESERVATIONS), ["10.0.0.1"]);
}

#[tokio::test(start_paused = true)]
async fn mirrors_that_are_not_complete_release_nothing() {
    let world = World::new().await;
    world.claim("10.0.0.1", "a/gone", ID);
    let claim = world.claimed("10.0.0.1").unwrap();
    let mut cache = ClusterCache::default();
    cache.apply_claim(Change::Restarted);
    cache.apply_claim(Change::Put(CachedReservation::from(&claim)));
    cache.apply_claim(Change::Synced);
    let grace = Duration::from_secs(60);
    let look = reclaim::look(&cache, &TrackedClaims::new(), grace, grace);
    assert!(look.candidates.is_empty() && look.lost.is_empty());
}

#[test]
fn a_pool_is_written_when_it_is_due_and_not_before() {
    let ms = Duration::from_millis;
    let mut schedule = Schedule::default();
    schedule.changed(["p".into()], ms(1_000));
    schedule.changed(["p".into()], ms(1_090));
    assert_eq!((schedule.next(), schedule.take_due(ms(1_099))), (Some(ms(1_100)), vec![]));
    assert_eq!(schedule.take_due(ms(1_100)), [Arc::from("p")]);
    assert_eq!((schedule.next(), schedule.take_due(ms(9_000))), (None, vec![]), "then it is clean");
}
