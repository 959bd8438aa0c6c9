mod entries;
mod network_checks;
mod node_slices;
mod reclaims;
pub(crate) mod server;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use nad::NetworkAttachmentDefinition;
use node::client::Change;
use node::names::DnsLabel;
use prometheus_client::registry::Registry;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::adopt::{self, PendingAdoptions};
use super::cluster_cache::{ClusterCache, SharedCache};
use super::context::{Context, Timing};
use super::ip_pool_view::ViaSupport;
use super::networks::{self, PoolNamings};
use super::notices::Notice;
use super::reclaim_rules::TrackedClaims;
use super::views::ViewWriter;
use super::{network_check, overlap_notices, reclaim, slices};
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
    registry: Registry,
}

impl World {
    async fn new() -> Self {
        let server = Server::default();
        let (metrics, registry) = Metrics::new();
        let namespace = DnsLabel::new("kube-system").unwrap();
        let context = Context::new(server.client().await, namespace, metrics, Duration::from_secs(60));
        let timing = Timing { request: Duration::from_secs(2), ..context.timing };
        World { server, context: context.with_timing(timing), shared: SharedCache::default(), registry }
    }

    /// Lists everything into the cache.
    fn sync(&self) {
        fn list<T: DeserializeOwned, V>(
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
        let cache: &mut ClusterCache = &mut cache;
        let server = &self.server;
        let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
        list(server, RESERVATIONS, |claim: CachedReservation| claim, |c| cache.apply_claim(c));
        list(server, "ippools", |pool: CachedPool| pool, |c| cache.apply_pool(c));
        let pod = |pod: CachedObject| (format!("{}/{}", pod.namespace, pod.name).into(), pod.identity);
        list(server, "pods", pod, |c| drop(cache.pods.apply(c)));
        list(server, "nodes", |node: Value| (name(&node), ()), |c| drop(cache.nodes.apply(c)));
        let network = |nad: NetworkAttachmentDefinition| nad;
        list(server, "network-attachment-definitions", network, |c| cache.apply_network(c));
        list(server, "nodeslicepools", |pool: NodeSlicePool| pool, |c| cache.apply_slice_pool(c));
    }

    fn claim(&self, name: &str, podref: &str, container: &str) {
        let spec =
            ReservationSpec { podref: podref.into(), ifname: "net1".into(), containerid: container.into() };
        let range = "10.0.0.0/24".parse().unwrap();
        let owner = ReservationOwner {
            pool: "10.0.0.0-24",
            whole: "10.0.0.0-24",
            range,
            pod_uid: Some("u1"),
            node: None,
            spec,
        };
        self.server.put(
            RESERVATIONS,
            "kube-system",
            name,
            serde_json::to_value(Reservation::new(name, owner)).unwrap(),
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

    /// Writes views until no pool needs a write. Returns whether the IPPool definition keeps `via`.
    async fn write_views(&self) -> ViaSupport {
        let mut writer = ViewWriter::new(&self.context, &self.shared);
        self.write_views_with(&mut writer).await;
        writer.via_support
    }

    async fn write_views_past_the_grace_time(&self) {
        let mut writer = ViewWriter::new(&self.context, &self.shared);
        self.write_views_with(&mut writer).await;
        self.write_views_with(&mut writer).await;
    }

    /// Writes the views for 50 s.
    async fn write_views_with(&self, writer: &mut ViewWriter<'_>) {
        for _ in 0..10 {
            tokio::time::advance(Duration::from_secs(5)).await;
            writer.pass().await;
            self.sync();
        }
    }

    /// Adopts until no allocation needs an action.
    async fn adopt(&self) {
        let mut pending = PendingAdoptions::default();
        for second in 0..4 {
            self.adopt_at(second, &mut pending).await;
        }
        self.sync();
    }

    /// The pass of adoption at this second.
    async fn adopt_at(&self, second: u64, pending: &mut PendingAdoptions) {
        self.sync();
        let actions = {
            let cache = self.shared.lock();
            let networks = networks::parse_networks(cache.networks.iter(), |_| None);
            let namings = PoolNamings::of(&networks, &cache);
            let pools: Vec<Arc<str>> = cache.pools().iter().map(|(name, _)| name.clone()).collect();
            let now = Duration::from_secs(second);
            pending.actions(&cache, pools, &namings, now, self.context.timing.settle)
        };
        adopt::pass(&self.context, actions).await;
    }

    /// The targets after two observations, the API server's answer, and the grace time.
    async fn reclaim_targets(&self) -> Vec<reclaim::ReclaimTarget> {
        let grace = self.context.timing.grace;
        let decide = |earlier: &TrackedClaims, now| reclaim::decide(&self.shared.lock(), earlier, now, grace);
        let first = decide(&TrackedClaims::new(), Duration::ZERO);
        assert!(first.unconfirmed.is_empty() && first.targets.is_empty());
        let second = decide(&first.candidates, Duration::from_secs(1));
        assert!(second.targets.is_empty());
        let mut candidates = second.candidates;
        reclaim::confirm(&self.context, &mut candidates, second.unconfirmed, || Duration::from_secs(2)).await;
        decide(&candidates, Duration::from_secs(2) + grace).targets
    }

    /// Runs a pass of reclaim with all its observations.
    async fn reclaim(&self) {
        self.sync();
        let targets = self.reclaim_targets().await;
        reclaim::pass(&self.context, targets, |pool| Some(format!("net-of-{pool}"))).await;
    }

    async fn plan_slices(&self) -> BTreeSet<Notice> {
        self.sync();
        let decision = {
            let cache = self.shared.lock();
            let networks = networks::parse_networks(cache.networks.iter(), |_| None);
            slices::decide(&cache, &networks, &self.context.namespace)
        };
        let notices = decision.notices.clone();
        slices::pass(&self.context, decision, &BTreeSet::new()).await;
        notices
    }

    /// Checks the networks once, and returns what is reported then.
    async fn check_networks(&self, reported: &BTreeSet<Notice>) -> BTreeSet<Notice> {
        self.sync();
        let notices = {
            let cache = self.shared.lock();
            network_check::notices(&cache, &networks::read_networks(cache.networks.iter(), |_| None))
        };
        network_check::pass(&self.context, notices, reported).await
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

    fn assert_metric(&self, line: &str) {
        let shown = node::daemon::metrics_text(&self.registry);
        assert!(shown.contains(line), "{line} is not in\n{shown}");
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
async fn a_pool_with_claims_gets_an_object_with_entries() {
    let world = World::new().await;
    world.claim("10.0.0.1", "a/b", ID);
    world.claim("10.0.0.7", "a/c", NEXT);
    world.sync();
    assert_eq!(world.write_views().await, ViaSupport::Kept);
    let pool = world.server.get("ippools", "kube-system", "10.0.0.0-24").unwrap();
    assert_eq!(pool["spec"]["range"], "10.0.0.0/24");
    assert_eq!(pool["status"], json!({"size": 254, "used": 2, "free": 252}));
    assert!(pool["metadata"]["annotations"].is_null(), "the next request fixes how the claims are named");
    let entry =
        |id: &str, podref: &str, via: &str| json!({"id": id, "podref": podref, "ifname": "net1", "via": via});
    let both = json!({"1": entry(ID, "a/b", "claim:89abcdef"), "7": entry(NEXT, "a/c", "claim:76543210")});
    assert_eq!(world.entries(), both);
    world.server.remove(RESERVATIONS, "kube-system", "10.0.0.1");
    world.sync();
    world.write_views_past_the_grace_time().await;
    assert_eq!(world.entries(), json!({"7": both["7"]}));
    let writes = world.server.writes();
    world.sync();
    world.write_views().await;
    assert_eq!(world.server.writes(), writes, "an object that is current is not written");
}

#[tokio::test(start_paused = true)]
async fn size_and_free_are_those_of_the_windows_and_excludes_of_the_pools_networks() {
    let world = World::new().await;
    let whereabouts = |more: Value| {
        let mut ipam = json!({"type": "whereabouts", "range": "10.0.0.0/24"});
        ipam.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ipam
    };
    let one = json!({"range_start": "10.0.0.7", "range_end": "10.0.0.7"});
    world.network("a", "one", whereabouts(one));
    world.claim("10.0.0.7", "a/b", ID);
    // Requested, outside of the window.
    world.claim("10.0.0.99", "a/c", NEXT);
    world.sync();
    let mut writer = ViewWriter::new(&world.context, &world.shared);
    world.write_views_with(&mut writer).await;
    let status = || world.server.get("ippools", "kube-system", "10.0.0.0-24").unwrap()["status"].clone();
    assert_eq!(status(), json!({"size": 1, "used": 2, "free": 0}));
    for line in [
        "pool_size{pool=\"10.0.0.0-24\"} 1",
        "pool_used{pool=\"10.0.0.0-24\"} 2",
        "pool_free{pool=\"10.0.0.0-24\"} 0",
    ] {
        world.assert_metric(line);
    }
    let ten = json!({"range_start": "10.0.0.1", "range_end": "10.0.0.10", "exclude": ["10.0.0.2"], "gateway": "10.0.0.1"});
    world.network("b", "ten", whereabouts(ten));
    world.sync();
    world.write_views_with(&mut writer).await;
    assert_eq!(
        status(),
        json!({"size": 8, "used": 2, "free": 7}),
        "a network that changes changes the counts"
    );
    ["a", "b"].iter().zip(["one", "ten"]).for_each(|(ns, name)| {
        world.server.remove("network-attachment-definitions", ns, name);
    });
    world.sync();
    world.write_views_with(&mut writer).await;
    assert_eq!(status(), json!({"size": 254, "used": 2, "free": 252}), "no network: the whole range");
}

#[tokio::test(start_paused = true)]
async fn size_and_free_of_a_slice_are_those_of_its_part_of_the_window() {
    let world = World::new().await;
    let ipam = json!({"type": "whereabouts", "range": "10.0.0.0/24", "node_slice_size": "/26", "exclude": ["10.0.0.10"]});
    world.network("kube-system", "net-a", ipam);
    world.server.put("nodes", "", "n1", json!({}));
    world.plan_slices().await;
    let spec = ReservationSpec { podref: "a/b".into(), ifname: "net1".into(), containerid: ID.into() };
    let range = "10.0.0.0/26".parse().unwrap();
    let owner = ReservationOwner {
        pool: "n1-10.0.0.0-26",
        whole: "10.0.0.0-24",
        range,
        pod_uid: None,
        node: None,
        spec,
    };
    let claim = serde_json::to_value(Reservation::new("10.0.0.1", owner)).unwrap();
    world.server.put(RESERVATIONS, "kube-system", "10.0.0.1", claim);
    world.sync();
    world.write_views().await;
    let pool = world.server.get("ippools", "kube-system", "n1-10.0.0.0-26").unwrap();
    assert_eq!(pool["status"], json!({"size": 61, "used": 1, "free": 60}));
}

#[tokio::test(start_paused = true)]
async fn a_view_write_that_conflicts_is_counted() {
    let world = World::new().await;
    world.pool("10.0.0.0-24", json!({}));
    world.claim("10.0.0.1", "a/b", ID);
    world.sync();
    // Another writer changes the object, and the cache does not have the change yet.
    world.pool("10.0.0.0-24", json!({"9": {"id": NEXT, "podref": "a/c", "ifname": "net1"}}));
    let mut writer = ViewWriter::new(&world.context, &world.shared);
    // The first pass collects changes, the second one writes.
    for _ in 0..2 {
        tokio::time::advance(Duration::from_secs(5)).await;
        writer.pass().await;
    }
    world.assert_metric("whereabouts_view_writes_total{outcome=\"conflict\"} 1");
}

#[tokio::test(start_paused = true)]
async fn allocations_of_whereabouts_get_claims_and_then_entries_with_via() {
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
    assert_eq!(pool["metadata"]["annotations"]["whereabouts.multus-rs/claim-names"], "address");
}

#[tokio::test(start_paused = true)]
async fn an_adoption_that_fails_is_counted_and_repeated() {
    let world = World::new().await;
    world.network("a", "n", json!({"type": "whereabouts", "range": "10.0.0.0/24"}));
    world.pool("10.0.0.0-24", json!({"1": {"id": ID, "podref": "a/b", "ifname": "net1"}}));
    world.server.fail("/overlappingrangeipreservations");
    world.adopt().await;
    // adopt() runs passes at 0, 1, 2 and 3 s, and the allocation settles after 2 s.
    world.assert_metric("whereabouts_adoptions_total{outcome=\"failed\"} 2");
}

#[tokio::test(start_paused = true)]
async fn adopted_claims_are_named_as_their_network_configures() {
    let world = World::new().await;
    let ipam = |more: Value| {
        let mut ipam = json!({"type": "whereabouts", "range": "10.0.0.0/24"});
        ipam.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ipam
    };
    world.network("a", "named", ipam(json!({"network_name": "blue"})));
    let separate = |name: &str| ipam(json!({"network_name": name, "enable_overlapping_ranges": false}));
    world.network("a", "separate", separate("red"));
    world.network("a", "mixed", ipam(json!({"network_name": "both-ways"})));
    world.network("a", "mixed-too", separate("both-ways"));
    let entry = json!({"5": {"id": ID, "podref": "a/b", "ifname": "net1"}});
    for pool in ["blue", "red", "both-ways", "gone", "n1"].map(|name| format!("{name}-10.0.0.0-24")) {
        world.pool(&pool, entry.clone());
    }
    // The naming of this pool was fixed before.
    let fixed = json!({"annotations": {"whereabouts.multus-rs/claim-names": "pool"}});
    let spec = json!({"range": "10.0.0.0/24", "allocations": entry});
    world.server.put("ippools", "kube-system", "fixed-10.0.0.0-24", json!({"metadata": fixed, "spec": spec}));
    world.server.put("nodes", "", "n1", json!({}));
    world.adopt().await;
    let mut names: Vec<String> = world.server.names(RESERVATIONS);
    names.sort();
    // No network has "n1-10.0.0.0-24", and a node is called n1: it may be a slice, so its allocation waits.
    let expected = [
        "blue-10.0.0.5",
        "both-ways-10.0.0.5",
        "fixed-10.0.0.0-24-10.0.0.5",
        "gone-10.0.0.5",
        "red-10.0.0.0-24-10.0.0.5",
    ];
    assert_eq!(names, expected);
    let naming = |pool: &str| {
        let pool = world.server.get("ippools", "kube-system", pool).unwrap();
        pool["metadata"]["annotations"]["whereabouts.multus-rs/claim-names"].as_str().unwrap().to_owned()
    };
    let namings = ["blue-10.0.0.0-24", "red-10.0.0.0-24", "both-ways-10.0.0.0-24"].map(naming);
    assert_eq!(namings, ["address", "pool", "address"]);
}

#[tokio::test(start_paused = true)]
async fn an_allocation_whose_shared_name_another_pool_has_gets_a_claim_named_after_its_pool() {
    let world = World::new().await;
    world.network("a", "n", json!({"type": "whereabouts", "range": "10.0.0.0/24"}));
    let spec = ReservationSpec { podref: "a/other".into(), ifname: "net1".into(), containerid: ID.into() };
    let range = "10.0.0.0/28".parse().unwrap();
    let other = Reservation::new(
        "10.0.0.5",
        ReservationOwner {
            pool: "10.0.0.0-28",
            whole: "10.0.0.0-28",
            range,
            pod_uid: None,
            node: None,
            spec,
        },
    );
    world.server.put(RESERVATIONS, "kube-system", "10.0.0.5", serde_json::to_value(other).unwrap());
    world.pool("10.0.0.0-24", json!({"5": {"id": NEXT, "podref": "a/b", "ifname": "net1"}}));
    world.adopt().await;
    assert_eq!(world.claimed("10.0.0.5").unwrap().spec.podref, "a/other");
    assert_eq!(world.claimed("10.0.0.0-24-10.0.0.5").unwrap().spec.podref, "a/b");
    let pool = world.server.get("ippools", "kube-system", "10.0.0.0-24").unwrap();
    let naming = &pool["metadata"]["annotations"]["whereabouts.multus-rs/claim-names"];
    assert_eq!(naming, "address-and-pool", "all others must take the name by pool too");
    world.write_views().await;
    assert_eq!(world.entries()["5"]["podref"], "a/b");
}

#[tokio::test(start_paused = true)]
async fn a_network_with_the_setting_false_in_a_pool_named_by_address_gets_a_notice() {
    let world = World::new().await;
    for (name, setting) in [("lax", false), ("strict", true)] {
        let ipam =
            json!({"type": "whereabouts", "range": "10.0.0.0/24", "enable_overlapping_ranges": setting});
        world.network("a", name, ipam);
    }
    for (naming, expected) in [("address", 1), ("address-and-pool", 1), ("pool", 0)] {
        let annotations = json!({"whereabouts.multus-rs/claim-names": naming});
        let pool = json!({"metadata": {"annotations": annotations}, "spec": {"range": "10.0.0.0/24"}});
        world.server.put("ippools", "kube-system", "10.0.0.0-24", pool);
        world.sync();
        let cache = world.shared.lock();
        let networks = networks::parse_networks(cache.networks.iter(), |_| None);
        let notices = overlap_notices::notices(&cache, &networks);
        assert_eq!(notices.len(), expected, "{naming}: {notices:?}");
        assert!(
            notices.iter().all(|notice| notice.network == "a/lax" && notice.text.contains("10.0.0.0-24"))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_gets_the_container_that_whereabouts_wrote() {
    let world = World::new().await;
    world.claim("10.0.0.1", "a/b", ID);
    world.sync();
    world.write_views().await;
    let mut entries = world.entries();
    entries["1"]["id"] = json!(NEXT);
    world.pool("10.0.0.0-24", entries);
    world.sync();
    world.write_views().await;
    assert_eq!(
        world.entries()["1"]["id"],
        NEXT,
        "a view does not overwrite an allocation that is not adopted yet"
    );
    world.adopt().await;
    let claim = world.claimed("10.0.0.1").unwrap();
    assert_eq!((claim.container(), claim.pod_uid()), (NEXT, None), "the UID of the new pod is unknown");
    world.write_views().await;
    assert_eq!(world.entries()["1"]["via"], "claim:76543210");
}
