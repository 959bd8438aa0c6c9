use std::collections::BTreeSet;

use super::state::UNSEEN;
use super::*;
use crate::choose::LOSSES_BEFORE_LIST;
use crate::hint::SPREAD_FOR;
use crate::objects::{Holding, Reservation, ReservationSpec};
use crate::outlook::{Listing, Outlook as _};
use crate::pool::plain as pool;
use crate::record::{HeldClaim, Stage};

const NOTHING_LOST: BTreeSet<IpAddr> = BTreeSet::new();

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn known(range: &str) -> Arc<PoolKnown> {
    Arc::new(PoolKnown::new(pool(range), None, Metrics::new().0))
}

fn who(pod: &str) -> Who {
    Who {
        podref: format!("default/{pod}"),
        pod_uid: None,
        if_name: "net1".into(),
        container_id: "c".into(),
        node: None,
    }
}

fn claim(name: &str, pool: &str, pod: &str) -> SeenClaim {
    let spec =
        ReservationSpec { podref: format!("default/{pod}"), ifname: "net1".into(), containerid: "c".into() };
    let range = "10.0.0.0/29".parse().unwrap();
    SeenClaim::from(&Reservation::new(name, Holding { pool, range, pod_uid: None, node: None, spec }))
}

fn listed(known: &PoolKnown, names: &[(&str, &str)]) {
    known.apply(Change::Restarted);
    for (name, pod) in names {
        known.apply(Change::Put(claim(name, "10.0.0.0-29", pod)));
    }
    known.apply(Change::Synced);
}

fn next(known: &Arc<PoolKnown>, pod: &str) -> (Seat, IpAddr) {
    let mut seat = known.seat(&who(pod), None);
    let ip = seat.next(known.pool(), None, &NOTHING_LOST).unwrap();
    (seat, ip)
}

/// Takes the next address as if its claim had been created.
fn take(known: &Arc<PoolKnown>, pod: &str) -> IpAddr {
    let (mut seat, ip) = next(known, pod);
    seat.won(ip);
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
fn order(known: &Arc<PoolKnown>, pod: &str, held: &mut BTreeSet<IpAddr>) -> usize {
    let (mut seat, mut lost) = (known.seat(&who(pod), None), BTreeSet::new());
    loop {
        let ip = seat.next(known.pool(), None, &lost).unwrap();
        if held.insert(ip) {
            seat.won(ip);
            return lost.len() + 1;
        }
        seat.lost(ip);
        assert!(lost.insert(ip), "{ip} was tried twice");
    }
}

#[tokio::test]
async fn orders_served_at_once_try_different_addresses() {
    let known = known("10.0.0.0/29");
    let (first, a) = next(&known, "a");
    let (_second, b) = next(&known, "b");
    assert_eq!((a, b), (ip("10.0.0.1"), ip("10.0.0.2")));
    drop(first);
    assert_eq!(next(&known, "c").1, ip("10.0.0.1"), "an order that ends without its claim lets go");
}

#[tokio::test]
async fn what_is_listed_and_watched_is_not_tried() {
    let known = known("10.0.0.0/29");
    listed(&known, &[("10.0.0.1", "x"), ("10.0.0.3", "y")]);
    assert_eq!(known.used(), Some(2));
    known.apply(Change::Put(claim("10.0.0.2", "10.0.0.0-29", "z")));
    assert_eq!(take(&known, "a"), ip("10.0.0.4"));
    known.apply(Change::Gone(claim("10.0.0.2", "10.0.0.0-29", "z")));
    assert_eq!(take(&known, "b"), ip("10.0.0.2"), "the lowest free one comes first again");
}

#[tokio::test]
async fn claims_of_another_pool_with_the_same_label_do_not_count() {
    let known = known("10.0.0.0/29");
    known.apply(Change::Restarted);
    known.apply(Change::Put(claim("10.0.0.1", "another-pool", "x")));
    known.apply(Change::Put(claim("192.168.0.1", "10.0.0.0-29", "y")));
    known.apply(Change::Synced);
    assert_eq!(known.used(), Some(0));
    assert_eq!(take(&known, "a"), ip("10.0.0.1"));
}

#[tokio::test]
async fn an_interface_is_offered_what_it_has_wherever_it_was_made() {
    let known = known("10.0.0.0/29");
    listed(&known, &[("10.0.0.5", "a")]);
    assert_eq!(next(&known, "a").1, ip("10.0.0.5"));
    assert_eq!(next(&known, "b").1, ip("10.0.0.1"));
    known.apply(Change::Gone(claim("10.0.0.5", "10.0.0.0-29", "a")));
    assert_eq!(next(&known, "a").1, ip("10.0.0.1"));
}

#[tokio::test(start_paused = true)]
async fn meetings_spread_the_next_orders_for_a_short_while() {
    let known = known("10.0.0.0/16");
    listed(&known, &[]);
    let (mut seat, lost) = next(&known, "a");
    seat.lost(lost);
    assert_eq!(next(&known, "b").1, ip("10.0.0.2"), "one who comes across another goes on in order");
    seat.lost(ip("10.0.0.2"));
    assert_eq!(known.state().met.window(), 0);
    seat.lost(ip("10.0.0.3"));
    seat.lost(ip("10.0.0.4"));
    assert_eq!(known.state().met.window(), 128);
    take(&known, "b");
    assert_eq!(known.state().met.window(), 120, "who meets nobody gathers them again");
    tokio::time::advance(SPREAD_FOR).await;
    assert_eq!(known.state().met.window(), 0);
    seat.lost(ip("10.0.0.5"));
    assert_eq!(known.state().met.window(), 0, "old meetings do not count");
}

#[tokio::test]
async fn many_orders_at_once_spread_before_they_meet_anyone() {
    let known = known("10.0.0.0/16");
    let orders: Vec<(Seat, IpAddr)> = (0..40).map(|n| next(&known, &format!("p{n}"))).collect();
    let tried: Vec<IpAddr> = orders.iter().map(|(_, ip)| *ip).collect();
    assert_eq!(tried[..3], ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(ip), "few go in order");
    let highest = tried.iter().max().unwrap();
    assert!(*highest > ip("10.0.0.200") && *highest <= ip("10.0.4.64"), "{tried:?}");
    drop(orders);
    assert_eq!(next(&known, "later").1, ip("10.0.0.1"));
}

#[tokio::test(start_paused = true)]
async fn one_order_looks_whether_a_pool_is_adopted_for_all() {
    let known = known("10.0.0.0/29");
    let looked = std::cell::Cell::new(0);
    let said = std::cell::Cell::new(Separation::Never);
    let look = || async {
        looked.set(looked.get() + 1);
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok::<Separation, ()>(said.get())
    };
    let shared = || known.adopted(OverlappingRanges::Protected, look());
    let apart = || known.adopted(OverlappingRanges::Separate, look());
    let (a, b) = tokio::join!(shared(), shared());
    assert_eq!((a, b, looked.get()), (Ok(Separation::Never), Ok(Separation::Never), 1));
    tokio::time::advance(ADOPTED).await;
    shared().await.unwrap();
    assert_eq!(looked.get(), 2);
    let failed = known.adopted(OverlappingRanges::Protected, async { Err::<Separation, &str>("away") }).await;
    assert_eq!(failed, Ok(Separation::Never), "seen a moment ago");
    let since = Separation::Since("2026-11-25T13:00:00Z".parse().unwrap());
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
    let known = known("10.0.0.0/29");
    listed(&known, &[("10.0.0.1", "a"), ("10.0.0.0-29-10.0.0.2", "b")]);
    assert_eq!(take(&known, "c"), ip("10.0.0.3"));
    let mut seat = known.seat(&who("b"), None);
    assert_eq!(seat.next(known.pool(), None, &NOTHING_LOST).unwrap(), ip("10.0.0.2"), "its own");
}

#[tokio::test(start_paused = true)]
async fn a_first_order_waits_for_the_first_list_and_not_for_ever() {
    let waiting = known("10.0.0.0/29");
    let began = Instant::now();
    waiting.synced().await;
    assert_eq!(began.elapsed(), FIRST_LIST);
    listed(&waiting, &[]);
    waiting.synced().await;
    assert_eq!(began.elapsed(), FIRST_LIST);
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_and_never_seen_is_tried_again_after_a_while() {
    let known = known("10.0.0.0/29");
    listed(&known, &[]);
    let (mut seat, lost) = next(&known, "a");
    seat.lost(lost);
    known.expire();
    assert_eq!(known.used(), Some(1));
    tokio::time::advance(UNSEEN + Duration::from_secs(1)).await;
    known.expire();
    assert_eq!(known.used(), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_win_that_a_slow_list_does_not_have_yet_still_counts() {
    let known = known("10.0.0.0/29");
    known.apply(Change::Restarted);
    let won = take(&known, "a");
    known.apply(Change::Synced);
    assert_ne!(take(&known, "b"), won);
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_is_believed_for_a_moment_and_until_something_is_freed() {
    let known = known("10.0.0.0/30");
    let mut seat = known.seat(&who("a"), None);
    let owners = [("10.0.0.1", "ns/x"), ("10.0.0.2", "ns/y")].map(|(a, b)| (ip(a), b.to_owned()));
    seat.learn(&Listing { owners: owners.into(), own: None });
    assert!(seat.is_sure());
    assert_eq!(seat.holders(), ["namespace \"ns\": 2"]);
    assert!(seat.next(known.pool(), None, &NOTHING_LOST).is_err());
    known.freed(&record("y"), ip("10.0.0.2"));
    assert!(!seat.is_sure());
    assert_eq!(seat.next(known.pool(), None, &NOTHING_LOST), Ok(ip("10.0.0.2")));
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_is_asked_about_again_after_a_moment() {
    let known = known("10.0.0.0/30");
    let mut seat = known.seat(&who("a"), None);
    let owners = [("10.0.0.1", "ns/x"), ("10.0.0.2", "ns/y")].map(|(a, b)| (ip(a), b.to_owned()));
    seat.learn(&Listing { owners: owners.into(), own: None });
    tokio::time::advance(FULL + Duration::from_millis(1)).await;
    assert!(!seat.is_sure());
}

#[tokio::test(start_paused = true)]
async fn without_news_what_this_node_holds_stays_and_what_others_held_is_not_looked_for() {
    let known = known("10.0.0.0/29");
    listed(&known, &[("10.0.0.1", "x")]);
    known.pause();
    assert_eq!(known.used(), None, "nobody knows");
    assert_eq!(take(&known, "a"), ip("10.0.0.2"), "what was listed still counts");
    let (mut seat, lost) = next(&known, "b");
    seat.lost(lost);
    tokio::time::advance(UNSEEN + Duration::from_secs(1)).await;
    known.expire();
    assert_eq!(take(&known, "b"), ip("10.0.0.4"), "the search goes on where it was");
    assert_eq!(next(&known, "a").1, ip("10.0.0.2"), "an interface keeps its address");
    known.freed(&record("a"), ip("10.0.0.2"));
    assert_eq!(take(&known, "c"), ip("10.0.0.2"), "what this node gives back it gives out again");
}

#[tokio::test]
async fn without_news_a_few_tries_lead_past_any_number_of_claims_and_soon_one() {
    let known = known("10.0.0.0/12");
    known.pause();
    let mut held: BTreeSet<IpAddr> =
        (1..=60_000_u128).filter_map(|n| crate::ip::add(ip("10.0.0.0"), n)).collect();
    let tries: Vec<usize> = (0..50).map(|n| order(&known, &format!("p{n}"), &mut held)).collect();
    assert!(tries.iter().all(|tries| *tries <= LOSSES_BEFORE_LIST), "{tries:?}");
    assert!(tries.iter().filter(|tries| **tries <= 2).count() >= 40, "{tries:?}");
}

#[tokio::test(start_paused = true)]
async fn without_news_a_window_that_was_needed_narrows_with_orders_and_ends_with_time() {
    let known = known("10.0.0.0/16");
    known.pause();
    let mut held: BTreeSet<IpAddr> = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(ip).into();
    assert_eq!(order(&known, "first", &mut held), 4);
    let needed = known.state().met.window();
    assert_eq!(needed, 64, "others were met");
    for n in 0..8 {
        order(&known, &format!("p{n}"), &mut held);
        tokio::time::advance(SPREAD_FOR / 2).await;
    }
    let narrowed = known.state().met.window();
    assert!(narrowed > 0 && narrowed < needed, "{narrowed}");
    tokio::time::advance(SPREAD_FOR).await;
    assert_eq!(known.state().met.window(), 0);
}

#[tokio::test]
async fn a_list_after_a_pause_is_believed_again() {
    let known = known("10.0.0.0/29");
    listed(&known, &[]);
    known.pause();
    known.apply(Change::Restarted);
    known.apply(Change::Put(claim("10.0.0.1", "10.0.0.0-29", "x")));
    assert_eq!((known.size(), known.used()), (1, None));
    known.apply(Change::Synced);
    assert_eq!(known.used(), Some(1));
    assert_eq!(take(&known, "a"), ip("10.0.0.2"));
}

#[tokio::test(start_paused = true)]
async fn an_order_does_not_wait_for_a_list_that_will_not_come() {
    let known = known("10.0.0.0/29");
    known.apply(Change::Restarted);
    let began = Instant::now();
    let pausing = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        known.pause();
    };
    tokio::join!(known.synced(), pausing);
    assert_eq!(began.elapsed(), Duration::from_millis(50));
    known.synced().await;
    assert_eq!(began.elapsed(), Duration::from_millis(50));
}
