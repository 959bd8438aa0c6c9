use std::collections::BTreeSet;

use std::net::IpAddr;

use super::pool::{ADOPTION_LIFETIME, FIRST_LIST_WAIT, FULL_LIFETIME};
use super::state::UNCONFIRMED_LIFETIME;
use super::*;
use crate::conf::OverlappingRanges;
use crate::crd::reservation::{Reservation, ReservationOwner, ReservationSpec};
use crate::node_state::hints::SPREAD_LIFETIME;
use crate::node_state::record::Stage;
use crate::pool::candidates::{CandidateCursor as _, Listing};
use crate::pool::choose::CONFLICTS_BEFORE_LIST;
use crate::pool::held_claim::HeldClaim;
use crate::pool::range_pool::plain as pool;

const NOTHING_LOST: BTreeSet<IpAddr> = BTreeSet::new();

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn cache(range: &str) -> Arc<PoolCache> {
    Arc::new(PoolCache::new(pool(range), None, Metrics::new().0))
}

fn claimant(pod: &str) -> Claimant {
    Claimant {
        podref: format!("default/{pod}"),
        pod_uid: None,
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
        ReservationOwner { pool, range, pod_uid: None, node: None, spec },
    ))
}

fn listed(cache: &PoolCache, names: &[(&str, &str)]) {
    cache.apply(Change::Restarted);
    for (name, pod) in names {
        cache.apply(Change::Put(claim(name, "10.0.0.0-29", pod)));
    }
    cache.apply(Change::Synced);
}

fn next(cache: &Arc<PoolCache>, pod: &str) -> (CacheCursor, IpAddr) {
    let mut seat = CacheCursor::new(cache.clone(), &claimant(pod), None);
    let ip = seat.next(cache.pool(), None, &NOTHING_LOST).unwrap();
    (seat, ip)
}

/// Takes the next address as if its claim had been created.
fn take(cache: &Arc<PoolCache>, pod: &str) -> IpAddr {
    let (mut seat, ip) = next(cache, pod);
    seat.allocated(ip);
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
        stage: Stage::Held,
        claims: Vec::<HeldClaim>::new(),
    }
}

/// One order from its first try to its claim, while others hold `held`: how many tries it takes.
fn order(cache: &Arc<PoolCache>, pod: &str, held: &mut BTreeSet<IpAddr>) -> usize {
    let (mut seat, mut lost) = (CacheCursor::new(cache.clone(), &claimant(pod), None), BTreeSet::new());
    loop {
        let ip = seat.next(cache.pool(), None, &lost).unwrap();
        if held.insert(ip) {
            seat.allocated(ip);
            return lost.len() + 1;
        }
        seat.conflicted(ip);
        assert!(lost.insert(ip), "{ip} was tried twice");
    }
}

#[tokio::test]
async fn orders_served_at_once_try_different_addresses() {
    let cache = cache("10.0.0.0/29");
    let (first, a) = next(&cache, "a");
    let (_second, b) = next(&cache, "b");
    assert_eq!((a, b), (ip("10.0.0.1"), ip("10.0.0.2")));
    drop(first);
    assert_eq!(next(&cache, "c").1, ip("10.0.0.1"), "an order that ends without its claim lets go");
}

#[tokio::test]
async fn what_is_listed_and_watched_is_not_tried() {
    let cache = cache("10.0.0.0/29");
    listed(&cache, &[("10.0.0.1", "x"), ("10.0.0.3", "y")]);
    assert_eq!(cache.used(), Some(2));
    cache.apply(Change::Put(claim("10.0.0.2", "10.0.0.0-29", "z")));
    assert_eq!(take(&cache, "a"), ip("10.0.0.4"));
    cache.apply(Change::Gone(claim("10.0.0.2", "10.0.0.0-29", "z")));
    assert_eq!(take(&cache, "b"), ip("10.0.0.2"), "the lowest free one comes first again");
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
async fn an_interface_is_offered_what_it_has_wherever_it_was_made() {
    let cache = cache("10.0.0.0/29");
    listed(&cache, &[("10.0.0.5", "a")]);
    assert_eq!(next(&cache, "a").1, ip("10.0.0.5"));
    assert_eq!(next(&cache, "b").1, ip("10.0.0.1"));
    cache.apply(Change::Gone(claim("10.0.0.5", "10.0.0.0-29", "a")));
    assert_eq!(next(&cache, "a").1, ip("10.0.0.1"));
}

#[tokio::test(start_paused = true)]
async fn meetings_spread_the_next_orders_for_a_short_while() {
    let cache = cache("10.0.0.0/16");
    listed(&cache, &[]);
    let (mut seat, lost) = next(&cache, "a");
    seat.conflicted(lost);
    assert_eq!(next(&cache, "b").1, ip("10.0.0.2"), "one who comes across another goes on in order");
    seat.conflicted(ip("10.0.0.2"));
    assert_eq!(cache.state().contention.window(), 0);
    seat.conflicted(ip("10.0.0.3"));
    seat.conflicted(ip("10.0.0.4"));
    assert_eq!(cache.state().contention.window(), 128);
    take(&cache, "b");
    assert_eq!(cache.state().contention.window(), 120, "who meets nobody gathers them again");
    tokio::time::advance(SPREAD_LIFETIME).await;
    assert_eq!(cache.state().contention.window(), 0);
    seat.conflicted(ip("10.0.0.5"));
    assert_eq!(cache.state().contention.window(), 0, "old meetings do not count");
}

#[tokio::test]
async fn many_orders_at_once_spread_before_they_meet_anyone() {
    let cache = cache("10.0.0.0/16");
    let orders: Vec<(CacheCursor, IpAddr)> = (0..40).map(|n| next(&cache, &format!("p{n}"))).collect();
    let tried: Vec<IpAddr> = orders.iter().map(|(_, ip)| *ip).collect();
    assert_eq!(tried[..3], ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(ip), "few go in order");
    let highest = tried.iter().max().unwrap();
    assert!(*highest > ip("10.0.0.200") && *highest <= ip("10.0.4.64"), "{tried:?}");
    drop(orders);
    assert_eq!(next(&cache, "later").1, ip("10.0.0.1"));
}

#[tokio::test(start_paused = true)]
async fn one_order_looks_whether_a_pool_is_adopted_for_all() {
    let cache = cache("10.0.0.0/29");
    let looked = std::cell::Cell::new(0);
    let said = std::cell::Cell::new(SeparateUse::Never);
    let look = || async {
        looked.set(looked.get() + 1);
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok::<SeparateUse, ()>(said.get())
    };
    let shared = || cache.adopted(OverlappingRanges::Protected, look());
    let apart = || cache.adopted(OverlappingRanges::Separate, look());
    let (a, b) = tokio::join!(shared(), shared());
    assert_eq!((a, b, looked.get()), (Ok(SeparateUse::Never), Ok(SeparateUse::Never), 1));
    tokio::time::advance(ADOPTION_LIFETIME).await;
    shared().await.unwrap();
    assert_eq!(looked.get(), 2);
    let failed =
        cache.adopted(OverlappingRanges::Protected, async { Err::<SeparateUse, &str>("away") }).await;
    assert_eq!(failed, Ok(SeparateUse::Never), "seen a moment ago");
    let since = SeparateUse::Since("2026-11-25T13:00:00Z".parse().unwrap());
    said.set(since);
    assert_eq!(
        (apart().await, looked.get()),
        (Ok(since), 3),
        "that it is shared does not do for an order for itself"
    );
    assert_eq!((apart().await, shared().await, looked.get()), (Ok(since), Ok(since), 3));
}

#[tokio::test(start_paused = true)]
async fn claims_of_both_names_are_the_pools() {
    let cache = cache("10.0.0.0/29");
    listed(&cache, &[("10.0.0.1", "a"), ("10.0.0.0-29-10.0.0.2", "b")]);
    assert_eq!(take(&cache, "c"), ip("10.0.0.3"));
    let mut seat = CacheCursor::new(cache.clone(), &claimant("b"), None);
    assert_eq!(seat.next(cache.pool(), None, &NOTHING_LOST).unwrap(), ip("10.0.0.2"), "its own");
}

#[tokio::test(start_paused = true)]
async fn a_first_order_waits_for_the_first_list_and_not_for_ever() {
    let waiting = cache("10.0.0.0/29");
    let began = Instant::now();
    waiting.synced().await;
    assert_eq!(began.elapsed(), FIRST_LIST_WAIT);
    listed(&waiting, &[]);
    waiting.synced().await;
    assert_eq!(began.elapsed(), FIRST_LIST_WAIT);
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_and_never_seen_is_tried_again_after_a_while() {
    let cache = cache("10.0.0.0/29");
    listed(&cache, &[]);
    let (mut seat, lost) = next(&cache, "a");
    seat.conflicted(lost);
    cache.expire();
    assert_eq!(cache.used(), Some(1));
    tokio::time::advance(UNCONFIRMED_LIFETIME + Duration::from_secs(1)).await;
    cache.expire();
    assert_eq!(cache.used(), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_win_that_a_slow_list_does_not_have_yet_still_counts() {
    let cache = cache("10.0.0.0/29");
    cache.apply(Change::Restarted);
    let allocated = take(&cache, "a");
    cache.apply(Change::Synced);
    assert_ne!(take(&cache, "b"), allocated);
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_is_believed_for_a_moment_and_until_something_is_freed() {
    let cache = cache("10.0.0.0/30");
    let mut seat = CacheCursor::new(cache.clone(), &claimant("a"), None);
    let owners = [("10.0.0.1", "ns/x"), ("10.0.0.2", "ns/y")].map(|(a, b)| (ip(a), b.to_owned()));
    seat.learn(&Listing { owners: owners.into(), own: None });
    assert!(seat.knows_full());
    assert_eq!(seat.holders(), ["namespace \"ns\": 2"]);
    assert!(seat.next(cache.pool(), None, &NOTHING_LOST).is_err());
    cache.released(&record("y"), ip("10.0.0.2"));
    assert!(!seat.knows_full());
    assert_eq!(seat.next(cache.pool(), None, &NOTHING_LOST), Ok(ip("10.0.0.2")));
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_is_asked_about_again_after_a_moment() {
    let cache = cache("10.0.0.0/30");
    let mut seat = CacheCursor::new(cache.clone(), &claimant("a"), None);
    let owners = [("10.0.0.1", "ns/x"), ("10.0.0.2", "ns/y")].map(|(a, b)| (ip(a), b.to_owned()));
    seat.learn(&Listing { owners: owners.into(), own: None });
    tokio::time::advance(FULL_LIFETIME + Duration::from_millis(1)).await;
    assert!(!seat.knows_full());
}

#[tokio::test(start_paused = true)]
async fn without_news_what_this_node_holds_stays_and_what_others_held_is_not_looked_for() {
    let cache = cache("10.0.0.0/29");
    listed(&cache, &[("10.0.0.1", "x")]);
    cache.pause();
    assert_eq!(cache.used(), None, "nobody knows");
    assert_eq!(take(&cache, "a"), ip("10.0.0.2"), "what was listed still counts");
    let (mut seat, lost) = next(&cache, "b");
    seat.conflicted(lost);
    tokio::time::advance(UNCONFIRMED_LIFETIME + Duration::from_secs(1)).await;
    cache.expire();
    assert_eq!(take(&cache, "b"), ip("10.0.0.4"), "the search goes on where it was");
    assert_eq!(next(&cache, "a").1, ip("10.0.0.2"), "an interface keeps its address");
    cache.released(&record("a"), ip("10.0.0.2"));
    assert_eq!(take(&cache, "c"), ip("10.0.0.2"), "what this node gives back it gives out again");
}

#[tokio::test]
async fn without_news_a_few_tries_lead_past_any_number_of_claims_and_soon_one() {
    let cache = cache("10.0.0.0/12");
    cache.pause();
    let mut held: BTreeSet<IpAddr> =
        (1..=60_000_u128).filter_map(|n| crate::addr::ip::add(ip("10.0.0.0"), n)).collect();
    let tries: Vec<usize> = (0..50).map(|n| order(&cache, &format!("p{n}"), &mut held)).collect();
    assert!(tries.iter().all(|tries| *tries <= CONFLICTS_BEFORE_LIST), "{tries:?}");
    assert!(tries.iter().filter(|tries| **tries <= 2).count() >= 40, "{tries:?}");
}

#[tokio::test(start_paused = true)]
async fn without_news_a_window_that_was_needed_narrows_with_orders_and_ends_with_time() {
    let cache = cache("10.0.0.0/16");
    cache.pause();
    let mut held: BTreeSet<IpAddr> = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(ip).into();
    assert_eq!(order(&cache, "first", &mut held), 4);
    let needed = cache.state().contention.window();
    assert_eq!(needed, 64, "others were met");
    for n in 0..8 {
        order(&cache, &format!("p{n}"), &mut held);
        tokio::time::advance(SPREAD_LIFETIME / 2).await;
    }
    let narrowed = cache.state().contention.window();
    assert!(narrowed > 0 && narrowed < needed, "{narrowed}");
    tokio::time::advance(SPREAD_LIFETIME).await;
    assert_eq!(cache.state().contention.window(), 0);
}

#[tokio::test]
async fn a_list_after_a_pause_is_believed_again() {
    let cache = cache("10.0.0.0/29");
    listed(&cache, &[]);
    cache.pause();
    cache.apply(Change::Restarted);
    cache.apply(Change::Put(claim("10.0.0.1", "10.0.0.0-29", "x")));
    assert_eq!((cache.size(), cache.used()), (1, None));
    cache.apply(Change::Synced);
    assert_eq!(cache.used(), Some(1));
    assert_eq!(take(&cache, "a"), ip("10.0.0.2"));
}

#[tokio::test(start_paused = true)]
async fn an_order_does_not_wait_for_a_list_that_will_not_come() {
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
