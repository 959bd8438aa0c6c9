use super::*;
use crate::pool::range_pool::plain as pool;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const ALONE: ConcurrentCallers = ConcurrentCallers { ahead: 0, size: CallerCount::Few };

/// A node: the hints of its calls, and pseudo-random numbers.
#[derive(Default)]
struct Node {
    hints: PoolHints,
    random: u64,
}

/// A call in progress.
struct Call {
    search: Search,
    start: Option<IpAddr>,
    conflicts: BTreeSet<IpAddr>,
}

impl Node {
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ (self.random >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ (mixed >> 29)
    }

    fn call(&self) -> Call {
        Call { search: Search::new(self.hints), start: self.hints.start, conflicts: BTreeSet::new() }
    }

    /// One try. Returns whether it allocated the address.
    fn attempt(
        &mut self,
        call: &mut Call,
        pool: &Pool,
        callers: ConcurrentCallers,
        held: &mut BTreeSet<IpAddr>,
    ) -> bool {
        let random = self.random();
        let candidate = call.search.next(pool, None, &call.conflicts, callers, random).unwrap();
        if !held.insert(candidate) {
            assert!(call.conflicts.insert(candidate), "{candidate} was tried twice");
            return false;
        }
        for hint in call.search.allocated(pool, candidate) {
            match hint {
                Hint::Next(next) => {
                    self.hints.start = raised(self.hints.start, call.start, next).or(self.hints.start);
                }
                Hint::Spread(spread) => self.hints.spread = spread,
            }
        }
        true
    }

    /// The number of tries of a call without concurrent callers.
    fn tries(&mut self, pool: &Pool, held: &mut BTreeSet<IpAddr>) -> usize {
        let mut call = self.call();
        (1..).find(|_| self.attempt(&mut call, pool, ALONE, held)).unwrap()
    }
}

fn dense(count: u32) -> BTreeSet<IpAddr> {
    (1..=count).map(|n| crate::addr::ip::add(ip("10.0.0.0"), n.into()).unwrap()).collect()
}

#[test]
fn calls_of_one_node_allocate_in_order_at_the_first_try() {
    let (pool, mut node, mut held) = (pool("10.0.0.0/24"), Node::default(), BTreeSet::new());
    let tries: Vec<usize> = (0..50).map(|_| node.tries(&pool, &mut held)).collect();
    assert_eq!(tries, [1; 50]);
    assert_eq!(held, dense(50));
}

#[test]
fn a_few_claims_in_a_row_are_skipped_in_order() {
    let (pool, mut node, mut held) = (pool("10.0.0.0/24"), Node::default(), dense(2));
    assert_eq!(node.tries(&pool, &mut held), 3);
    assert_eq!(held, dense(3));
    assert_eq!(node.hints, PoolHints { start: Some(ip("10.0.0.4")), ..PoolHints::default() });
}

#[test]
fn any_number_of_claims_is_skipped_in_ten_tries_and_later_calls_need_one_or_two() {
    for count in [100, 1_000, 8_000, 60_000] {
        let (pool, mut node, mut held) = (pool("10.0.0.0/12"), Node::default(), dense(count));
        let tries: Vec<usize> = (0..50).map(|_| node.tries(&pool, &mut held)).collect();
        assert!(tries.iter().all(|tries| *tries <= CONFLICTS_BEFORE_LIST), "{count} held: {tries:?}");
        let at_most_two = tries.iter().filter(|tries| **tries <= 2).count();
        assert!(at_most_two >= 40, "{count} held: {tries:?}");
    }
}

#[test]
fn two_hundred_concurrent_calls_on_twenty_nodes_need_less_than_two_tries_each() {
    let (pool, mut held) = (pool("10.0.0.0/16"), BTreeSet::new());
    let mut nodes: Vec<Node> = (0..20).map(|n| Node { random: n, ..Node::default() }).collect();
    let mut calls: Vec<(usize, u32, Call)> =
        (0..200).map(|n| (n % 20, n as u32 / 20, nodes[n % 20].call())).collect();
    let mut tries = 0;
    while !calls.is_empty() {
        tries += calls.len();
        calls.retain_mut(|(node, ahead, call)| {
            let callers = ConcurrentCallers { ahead: *ahead, size: CallerCount::Many };
            !nodes[*node].attempt(call, &pool, callers, &mut held)
        });
    }
    assert_eq!(held.len(), 200);
    assert!(tries < 400, "{tries} tries");
}

#[test]
fn a_small_pool_is_filled_to_the_last_address() {
    let (pool, mut held) = (pool("10.0.0.0/24"), BTreeSet::new());
    let mut nodes: Vec<Node> = (0..20).map(|n| Node { random: n, ..Node::default() }).collect();
    for n in 0..254 {
        let node = &mut nodes[n % 20];
        let mut call = node.call();
        while !node.attempt(&mut call, &pool, ALONE, &mut held) {
            if Search::wants_list(call.conflicts.len()) {
                let owners = held.iter().map(|ip| (*ip, String::new())).collect();
                call.start = call.search.learn(&pool, &Listing { owners, own: None });
            }
        }
    }
    assert_eq!(held, dense(254));
}

#[test]
fn after_a_list_the_lowest_free_address_is_next_and_the_hint_is_written() {
    let pool = pool("10.0.0.0/24");
    let hints = PoolHints { start: Some(ip("10.0.0.200")), ..PoolHints::default() };
    let mut search = Search::new(hints);
    let conflicts: BTreeSet<IpAddr> = (200..210).map(|n| ip(&format!("10.0.0.{n}"))).collect();
    search.next(&pool, None, &conflicts, ALONE, 5).unwrap();
    let mut owners: std::collections::BTreeMap<IpAddr, String> =
        conflicts.iter().map(|ip| (*ip, String::new())).collect();
    owners.insert(ip("10.0.0.1"), "a/b".into());
    assert_eq!(search.learn(&pool, &Listing { owners, own: None }), Some(ip("10.0.0.2")));
    assert_eq!(search.next(&pool, None, &conflicts, ALONE, 5), Ok(ip("10.0.0.2")));
    assert_eq!(search.allocated(&pool, ip("10.0.0.2")), [Hint::Next(ip("10.0.0.3"))]);
}

#[test]
fn the_previous_address_comes_first_and_writes_no_hint() {
    let pool = pool("10.0.0.0/24");
    let mut search = Search::new(PoolHints { previous: Some(ip("10.0.0.9")), ..PoolHints::default() });
    assert!(search.may_be_callers(ip("10.0.0.9")));
    assert_eq!(search.next(&pool, None, &BTreeSet::new(), ALONE, 5), Ok(ip("10.0.0.9")));
    assert_eq!(search.allocated(&pool, ip("10.0.0.9")), []);
}

#[test]
fn a_start_hint_is_raised_unless_it_changed_meanwhile() {
    let (start, next) = (Some(ip("10.0.0.5")), ip("10.0.0.6"));
    assert_eq!(raised(None, start, next), Some(next));
    assert_eq!(raised(start, start, next), Some(next));
    assert_eq!(raised(Some(ip("10.0.0.9")), start, next), None, "another call raised it further");
    assert_eq!(raised(Some(ip("10.0.0.3")), start, next), None, "an address was released");
    assert_eq!(raised(Some(ip("10.0.0.3")), None, next), None);
}

/// A burst: ten pods on each of twenty nodes, whose calls know nothing but that they are many on their node.
#[test]
fn callers_on_many_nodes_that_start_at_the_same_moment_rarely_meet() {
    let (pool, mut held) = (pool("10.0.0.0/16"), BTreeSet::new());
    let many = ConcurrentCallers { ahead: 0, size: CallerCount::Many };
    let mut conflicts = 0;
    let mut calls: Vec<(Node, Call)> = Vec::new();
    for number in 0..200 {
        let node = Node { random: number << 32, ..Node::default() };
        let call = node.call();
        calls.push((node, call));
    }
    while !calls.is_empty() {
        calls.retain_mut(|(node, call)| !node.attempt(call, &pool, many, &mut held));
        conflicts += calls.len();
    }
    assert!(held.len() == 200 && conflicts <= 20, "{conflicts} conflicts");
}
