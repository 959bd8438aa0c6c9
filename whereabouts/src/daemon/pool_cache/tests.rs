use std::collections::BTreeSet;

use std::net::IpAddr;

use super::pool::{FIRST_LIST_WAIT, FULL_LIFETIME, NAMING_LIFETIME};
use super::state::UNCONFIRMED_LIFETIME;
use super::*;
use crate::crd::reservation::{Reservation, ReservationOwner, ReservationSpec};
use crate::node_state::hints::SPREAD_LIFETIME;
use crate::node_state::record::Stage;
use crate::pool::candidates::{CandidateCursor as _, Listing};
use crate::pool::choose::CONFLICTS_BEFORE_LIST;
use crate::pool::held_claim::HeldClaim;
use crate::pool::range_pool::plain as pool;

const NO_CONFLICTS: BTreeSet<IpAddr> = BTreeSet::new();

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn cache(range: &str) -> Arc<PoolCache> {
    Arc::new(PoolCache::new(pool(range), None, Metrics::new().0))
}

fn claimant(pod: &str) -> Claimant {
    Claimant {
        podref: format!("default/{pod}"),
        pod_uid: Some(format!("uid-{pod}")),
        if_name: "net1".into(),
        container_id: "c".into(),
        node: None,
    }
}

fn claim(name: &str, pool: &str, pod: &str) -> CachedReservation {
    let spec =
        ReservationSpec { podref: format!("default/{pod}"), ifname: "net1".into(), containerid: "c".into() };
    let range = "10.0.0.0/29".parse().unwrap();
    CachedReservation::from(&Reservation::new(
        name,
        ReservationOwner { pool, whole: pool, range, pod_uid: None, node: None, spec },
    ))
}

fn list(cache: &PoolCache, names: &[(&str, &str)]) {
    cache.apply(Change::Restarted);
    for (name, pod) in names {
        cache.apply(Change::Put(claim(name, "10.0.0.0-29", pod)));
    }
    cache.apply(Change::Synced);
}

fn next(cache: &Arc<PoolCache>, pod: &str) -> (CacheCursor, IpAddr) {
    let mut cursor = CacheCursor::new(cache.clone(), &claimant(pod), None);
    let ip = cursor.next(cache.pool(), None, &NO_CONFLICTS).unwrap();
    (cursor, ip)
}

/// Takes the next address as if its claim had been created.
fn take(cache: &Arc<PoolCache>, pod: &str) -> IpAddr {
    let (mut cursor, ip) = next(cache, pod);
    cursor.allocated(ip);
    ip
}

fn record(pod: &str) -> Record {
    Record {
        container_id: "c".into(),
        if_name: "net1".into(),
        podref: format!("default/{pod}"),
        network: String::new(),
        kubeconfig: None,
        namespace: None,
        pod_uid: None,
        stage: Stage::Held,
        claims: Vec::<HeldClaim>::new(),
    }
}

/// Allocates one address while other nodes hold `held`, and returns the number of tries.
fn tries(cache: &Arc<PoolCache>, pod: &str, held: &mut BTreeSet<IpAddr>) -> usize {
    let (mut cursor, mut conflicts) =
        (CacheCursor::new(cache.clone(), &claimant(pod), None), BTreeSet::new());
    loop {
        let ip = cursor.next(cache.pool(), None, &conflicts).unwrap();
        if held.insert(ip) {
            cursor.allocated(ip);
            return conflicts.len() + 1;
        }
        cursor.conflicted(ip);
        assert!(conflicts.insert(ip), "{ip} was tried twice");
    }
}

#[tokio::test]
async fn concurrent_requests_try_different_addresses() {
    let cache = cache("10.0.0.0/29");
    let (first, a) = next(&cache, "a");
    let (_second, b) = next(&cache, "b");
    assert_eq!((a, b), (ip("10.0.0.1"), ip("10.0.0.2")));
    drop(first);
    assert_eq!(
        next(&cache, "c").1,
        ip("10.0.0.1"),
        "a request that ends without a claim releases its candidate"
    );
}

#[tokio::test]
async fn listed_and_watched_claims_are_not_tried() {
    let cache = cache("10.0.0.0/29");
    list(&cache, &[("10.0.0.1", "x"), ("10.0.0.3", "y")]);
    assert_eq!(cache.used(), Some(2));
    cache.apply(Change::Put(claim("10.0.0.2", "10.0.0.0-29", "z")));
    assert_eq!(take(&cache, "a"), ip("10.0.0.4"));
    cache.apply(Change::Gone(claim("10.0.0.2", "10.0.0.0-29", "z")));
    assert_eq!(take(&cache, "b"), ip("10.0.0.2"), "the search goes back to the lowest free address");
}

#[tokio::test]
async fn claims_of_another_pool_with_the_same_label_do_not_count() {
    let cache = cache("10.0.0.0/29");
    cache.apply(Change::Restarted);
    cache.apply(Change::Put(claim("10.0.0.1", "another-pool", "x")));
    cache.apply(Change::Put(claim("192.168.0.1", "10.0.0.0-29", "y")));
    cache.apply(Change::Synced);
    assert_eq!(cache.used(), Some(0));
    assert_eq!(take(&cache, "a"), ip("10.0.0.1"));
}

#[tokio::test]
async fn an_interface_gets_the_address_that_any_node_allocated_to_it() {
    let cache = cache("10.0.0.0/29");
    list(&cache, &[("10.0.0.5", "a")]);
    assert_eq!(next(&cache, "a").1, ip("10.0.0.5"));
    assert_eq!(next(&cache, "b").1, ip("10.0.0.1"));
    cache.apply(Change::Gone(claim("10.0.0.5", "10.0.0.0-29", "a")));
    assert_eq!(next(&cache, "a").1, ip("10.0.0.1"));
}

#[tokio::test(start_paused = true)]
async fn conflicts_widen_the_window_for_a_short_time() {
    let cache = cache("10.0.0.0/16");
    list(&cache, &[]);
    let (mut cursor, conflict) = next(&cache, "a");
    cursor.conflicted(conflict);
    assert_eq!(next(&cache, "b").1, ip("10.0.0.2"), "after one conflict the search goes on in order");
    cursor.conflicted(ip("10.0.0.2"));
    assert_eq!(cache.state().contention.window(), 0);
    cursor.conflicted(ip("10.0.0.3"));
    cursor.conflicted(ip("10.0.0.4"));
    assert_eq!(cache.state().contention.window(), 128);
    take(&cache, "b");
    assert_eq!(cache.state().contention.window(), 120, "an allocation without a conflict narrows the window");
    tokio::time::advance(SPREAD_LIFETIME).await;
    assert_eq!(cache.state().contention.window(), 0);
    cursor.conflicted(ip("10.0.0.5"));
    assert_eq!(cache.state().contention.window(), 0, "old conflicts do not count");
}

#[tokio::test]
async fn many_concurrent_requests_use_a_window_before_any_conflict() {
    let cache = cache("10.0.0.0/16");
    let requests: Vec<(CacheCursor, IpAddr)> = (0..40).map(|n| next(&cache, &format!("p{n}"))).collect();
    let tried: Vec<IpAddr> = requests.iter().map(|(_, ip)| *ip).collect();
    assert_eq!(tried[..3], ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(ip), "the first requests go in order");
    let highest = tried.iter().max().unwrap();
    assert!(*highest > ip("10.0.0.200") && *highest <= ip("10.0.16.64"), "{tried:?}");
    drop(requests);
    assert_eq!(next(&cache, "later").1, ip("10.0.0.1"));
}

#[tokio::test(start_paused = true)]
async fn concurrent_requests_read_the_naming_once() {
    let cache = cache("10.0.0.0/29");
    let reads = std::cell::Cell::new(0);
    let read = || async {
        reads.set(reads.get() + 1);
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok::<ClaimNaming, ()>(ClaimNaming::Pool)
    };
    let (a, b) = tokio::join!(cache.naming(read()), cache.naming(read()));
    assert_eq!((a, b, reads.get()), (Ok(ClaimNaming::Pool), Ok(ClaimNaming::Pool), 1));
    tokio::time::advance(NAMING_LIFETIME).await;
    cache.naming(read()).await.unwrap();
    assert_eq!(reads.get(), 2);
    cache.forget_naming();
    let failed = cache.naming(async { Err::<ClaimNaming, &str>("away") }).await;
    assert_eq!(failed, Err("away"), "nothing is guessed");
}

#[tokio::test]
async fn a_pin_is_removed_before_its_claim_is_released_and_when_somebody_else_deletes_it() {
    let cache = cache("10.0.0.0/29");
    let held = |name: &str| HeldClaim {
        name: node::names::DnsSubdomain::new(name).unwrap(),
        resource_version: "1".into(),
        second: None,
        entry: None,
        pool: "10.0.0.0-29".into(),
        address: "10.0.0.1/29".parse().unwrap(),
    };
    let pinned = |naming| {
        cache.set_pin("c1", naming, &held("10.0.0.1"));
        cache.has_pin(naming)
    };
    assert!(!cache.has_pin(ClaimNaming::Address));
    assert!(pinned(ClaimNaming::Address) && !cache.has_pin(ClaimNaming::Pool));
    cache.remove_pins(&Record { container_id: "other".into(), ..record("a") });
    assert!(cache.has_pin(ClaimNaming::Address));
    cache.remove_pins(&Record { container_id: "c1".into(), ..record("a") });
    assert!(!cache.has_pin(ClaimNaming::Address), "a record that does not list its claims yet");
    assert!(pinned(ClaimNaming::Pool));
    // The pod's old sandbox, whose claim the new one took over.
    cache.remove_pins(&Record { container_id: "c0".into(), claims: vec![held("10.0.0.1")], ..record("a") });
    assert!(!cache.has_pin(ClaimNaming::Pool));
    assert!(pinned(ClaimNaming::Pool));
    cache.apply(Change::Gone(claim("10.0.0.1", "10.0.0.0-29", "a")));
    assert!(!cache.has_pin(ClaimNaming::Pool));
}

#[tokio::test(start_paused = true)]
async fn claims_under_either_name_belong_to_the_pool() {
    let cache = cache("10.0.0.0/29");
    list(&cache, &[("10.0.0.1", "a"), ("10.0.0.0-29-10.0.0.2", "b")]);
    assert_eq!(take(&cache, "c"), ip("10.0.0.3"));
    let mut cursor = CacheCursor::new(cache.clone(), &claimant("b"), None);
    assert_eq!(cursor.next(cache.pool(), None, &NO_CONFLICTS).unwrap(), ip("10.0.0.2"), "its own address");
}

#[tokio::test]
async fn the_watch_shows_whether_an_interface_holds_an_address() {
    let cache = cache("10.0.0.0/29");
    let of = |pod: &str, address: &str| cache.evidence(&record(pod), ip(address));
    assert_eq!(of("a", "10.0.0.1"), Evidence::Unknown, "the list is not complete");
    list(&cache, &[("10.0.0.1", "a"), ("10.0.0.2", "b")]);
    assert_eq!(of("a", "10.0.0.1"), Evidence::Held);
    assert_eq!(of("a", "10.0.0.2"), Evidence::Unknown, "another interface, or a second address of this one");
    assert_eq!(of("a", "10.0.0.3"), Evidence::Missing);
    cache.pause();
    assert_eq!(of("a", "10.0.0.1"), Evidence::Unknown);
}

#[tokio::test(start_paused = true)]
async fn the_first_request_waits_for_the_first_list_for_a_limited_time() {
    let waiting = cache("10.0.0.0/29");
    let began = Instant::now();
    waiting.synced().await;
    assert_eq!(began.elapsed(), FIRST_LIST_WAIT);
    list(&waiting, &[]);
    waiting.synced().await;
    assert_eq!(began.elapsed(), FIRST_LIST_WAIT);
}

#[tokio::test(start_paused = true)]
async fn an_unconfirmed_conflict_expires() {
    let cache = cache("10.0.0.0/29");
    list(&cache, &[]);
    let (mut cursor, conflict) = next(&cache, "a");
    cursor.conflicted(conflict);
    cache.expire();
    assert_eq!(cache.used(), Some(1));
    tokio::time::advance(UNCONFIRMED_LIFETIME + Duration::from_secs(1)).await;
    cache.expire();
    assert_eq!(cache.used(), Some(0));
}

#[tokio::test(start_paused = true)]
async fn an_allocation_that_a_slow_list_lacks_stays() {
    let cache = cache("10.0.0.0/29");
    cache.apply(Change::Restarted);
    let allocated = take(&cache, "a");
    cache.apply(Change::Synced);
    assert_ne!(take(&cache, "b"), allocated);
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_counts_as_full_until_an_address_is_released() {
    let cache = cache("10.0.0.0/30");
    let mut cursor = CacheCursor::new(cache.clone(), &claimant("a"), None);
    let owners = [("10.0.0.1", "ns/x"), ("10.0.0.2", "ns/y")].map(|(a, b)| (ip(a), b.to_owned()));
    cursor.learn(&Listing { owners: owners.into(), own: None });
    assert!(cursor.knows_full());
    assert_eq!(cursor.holders(), ["pod ns/x (10.0.0.1)", "pod ns/y (10.0.0.2)"]);
    assert!(cursor.next(cache.pool(), None, &NO_CONFLICTS).is_err());
    cache.released(&record("y"), ip("10.0.0.2"));
    assert!(!cursor.knows_full());
    assert_eq!(cursor.next(cache.pool(), None, &NO_CONFLICTS), Ok(ip("10.0.0.2")));
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_counts_as_full_for_a_limited_time() {
    let cache = cache("10.0.0.0/30");
    let mut cursor = CacheCursor::new(cache.clone(), &claimant("a"), None);
    let owners = [("10.0.0.1", "ns/x"), ("10.0.0.2", "ns/y")].map(|(a, b)| (ip(a), b.to_owned()));
    cursor.learn(&Listing { owners: owners.into(), own: None });
    tokio::time::advance(FULL_LIFETIME + Duration::from_millis(1)).await;
    assert!(!cursor.knows_full());
}

#[tokio::test(start_paused = true)]
async fn while_paused_own_addresses_stay_and_the_search_does_not_go_back_to_others() {
    let cache = cache("10.0.0.0/29");
    list(&cache, &[("10.0.0.1", "x")]);
    cache.pause();
    assert_eq!(cache.used(), None, "a paused cache is incomplete");
    assert_eq!(take(&cache, "a"), ip("10.0.0.2"), "the listed claims still count");
    let (mut cursor, conflict) = next(&cache, "b");
    cursor.conflicted(conflict);
    tokio::time::advance(UNCONFIRMED_LIFETIME + Duration::from_secs(1)).await;
    cache.expire();
    assert_eq!(take(&cache, "b"), ip("10.0.0.4"), "the search goes on from its last address");
    assert_eq!(next(&cache, "a").1, ip("10.0.0.2"), "an interface keeps its address");
    cache.released(&record("a"), ip("10.0.0.2"));
    assert_eq!(take(&cache, "c"), ip("10.0.0.2"), "an address that this node releases is allocated again");
}

#[tokio::test]
async fn while_paused_a_few_tries_find_a_free_address_and_later_requests_need_fewer() {
    let cache = cache("10.0.0.0/12");
    cache.pause();
    let mut held: BTreeSet<IpAddr> =
        (1..=60_000_u128).filter_map(|n| crate::addr::ip::add(ip("10.0.0.0"), n)).collect();
    let counts: Vec<usize> = (0..50).map(|n| tries(&cache, &format!("p{n}"), &mut held)).collect();
    assert!(counts.iter().all(|count| *count <= CONFLICTS_BEFORE_LIST), "{counts:?}");
    assert!(counts.iter().filter(|count| **count <= 2).count() >= 40, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn while_paused_a_window_narrows_with_requests_and_expires_with_time() {
    let cache = cache("10.0.0.0/16");
    cache.pause();
    let mut held: BTreeSet<IpAddr> = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(ip).into();
    assert_eq!(tries(&cache, "first", &mut held), 4);
    let needed = cache.state().contention.window();
    assert_eq!(needed, 64, "the size of the window that the search used");
    for n in 0..8 {
        tries(&cache, &format!("p{n}"), &mut held);
        tokio::time::advance(SPREAD_LIFETIME / 2).await;
    }
    let narrowed = cache.state().contention.window();
    assert!(narrowed > 0 && narrowed < needed, "{narrowed}");
    tokio::time::advance(SPREAD_LIFETIME).await;
    assert_eq!(cache.state().contention.window(), 0);
}

#[tokio::test]
async fn a_list_after_a_pause_syncs_the_cache() {
    let cache = cache("10.0.0.0/29");
    list(&cache, &[]);
    cache.pause();
    cache.apply(Change::Restarted);
    cache.apply(Change::Put(claim("10.0.0.1", "10.0.0.0-29", "x")));
    assert_eq!((cache.size(), cache.used()), (1, None));
    cache.apply(Change::Synced);
    assert_eq!(cache.used(), Some(1));
    assert_eq!(take(&cache, "a"), ip("10.0.0.2"));
}

#[tokio::test(start_paused = true)]
async fn a_request_does_not_wait_for_a_list_that_will_not_come() {
    let cache = cache("10.0.0.0/29");
    cache.apply(Change::Restarted);
    let began = Instant::now();
    let pausing = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        cache.pause();
    };
    tokio::join!(cache.synced(), pausing);
    assert_eq!(began.elapsed(), Duration::from_millis(50));
    cache.synced().await;
    assert_eq!(began.elapsed(), Duration::from_millis(50));
}
