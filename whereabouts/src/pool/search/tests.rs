use super::*;
use crate::pool::range_pool::plain as pool;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const ALONE: ConcurrentCallers = ConcurrentCallers { ahead: 0, size: CallerCount::Few };

/// A node: what its calls noted, and numbers that look random.
#[derive(Default)]
struct Node {
    notes: PoolHints,
    random: u64,
}

/// A call that has not ended: its search, and what it lost.
struct Call {
    search: Search,
    start: Option<IpAddr>,
    lost: BTreeSet<IpAddr>,
}

impl Node {
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ (self.random >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ (mixed >> 29)
    }

    fn call(&self) -> Call {
        Call { search: Search::new(self.notes), start: self.notes.start, lost: BTreeSet::new() }
    }

    /// One try: whether the address is got.
    fn attempt(
        &mut self,
        call: &mut Call,
        pool: &Pool,
        callers: ConcurrentCallers,
        held: &mut BTreeSet<IpAddr>,
    ) -> bool {
        let random = self.random();
        let candidate = call.search.next(pool, None, &call.lost, callers, random).unwrap();
        if !held.insert(candidate) {
            assert!(call.lost.insert(candidate), "{candidate} was tried twice");
            return false;
        }
        for note in call.search.allocated(pool, candidate) {
            match note {
                Hint::Next(next) => {
                    self.notes.start = raised(self.notes.start, call.start, next).or(self.notes.start);
                }
                Hint::Spread(spread) => self.notes.spread = spread,
            }
        }
        true
    }

    /// How many tries a call takes that is alone.
    fn tries(&mut self, pool: &Pool, held: &mut BTreeSet<IpAddr>) -> usize {
        let mut call = self.call();
        (1..).find(|_| self.attempt(&mut call, pool, ALONE, held)).unwrap()
    }
}

fn dense(count: u32) -> BTreeSet<IpAddr> {
    (1..=count).map(|n| crate::addr::ip::add(ip("10.0.0.0"), n.into()).unwrap()).collect()
}

#[test]
fn calls_of_one_node_get_one_address_after_the_other_at_the_first_try() {
    let (pool, mut node, mut held) = (pool("10.0.0.0/24"), Node::default(), BTreeSet::new());
    let tries: Vec<usize> = (0..50).map(|_| node.tries(&pool, &mut held)).collect();
    assert_eq!(tries, [1; 50]);
    assert_eq!(held, dense(50));
}

#[test]
fn claims_of_others_in_a_row_are_passed_in_order_while_they_are_few() {
    let (pool, mut node, mut held) = (pool("10.0.0.0/24"), Node::default(), dense(2));
    assert_eq!(node.tries(&pool, &mut held), 3);
    assert_eq!(held, dense(3));
    assert_eq!(node.notes, PoolHints { start: Some(ip("10.0.0.4")), ..PoolHints::default() });
}

#[test]
fn any_number_of_claims_is_passed_in_a_few_tries_and_soon_in_one() {
    for count in [100, 1_000, 8_000, 60_000] {
        let (pool, mut node, mut held) = (pool("10.0.0.0/12"), Node::default(), dense(count));
        let tries: Vec<usize> = (0..50).map(|_| node.tries(&pool, &mut held)).collect();
        assert!(tries.iter().all(|tries| *tries <= CONFLICTS_BEFORE_LIST), "{count} held: {tries:?}");
        let at_once = tries.iter().filter(|tries| **tries <= 2).count();
        assert!(at_once >= 40, "{count} held: {tries:?}");
    }
}

#[test]
fn two_hundred_on_twenty_nodes_at_once_need_less_than_two_tries_each() {
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
            if Search::wants_list(call.lost.len()) {
                let owners = held.iter().map(|ip| (*ip, String::new())).collect();
                call.start = call.search.learn(&pool, &Listing { owners, own: None });
            }
        }
    }
    assert_eq!(held, dense(254));
}

#[test]
fn after_a_list_the_lowest_free_address_is_next_and_noted() {
    let pool = pool("10.0.0.0/24");
    let notes = PoolHints { start: Some(ip("10.0.0.200")), ..PoolHints::default() };
    let mut search = Search::new(notes);
    let lost: BTreeSet<IpAddr> = (200..210).map(|n| ip(&format!("10.0.0.{n}"))).collect();
    search.next(&pool, None, &lost, ALONE, 5).unwrap();
    let mut owners: std::collections::BTreeMap<IpAddr, String> =
        lost.iter().map(|ip| (*ip, String::new())).collect();
    owners.insert(ip("10.0.0.1"), "a/b".into());
    assert_eq!(search.learn(&pool, &Listing { owners, own: None }), Some(ip("10.0.0.2")));
    assert_eq!(search.next(&pool, None, &lost, ALONE, 5), Ok(ip("10.0.0.2")));
    assert_eq!(search.allocated(&pool, ip("10.0.0.2")), [Hint::Next(ip("10.0.0.3"))]);
}

#[test]
fn what_the_interface_had_before_comes_first_and_teaches_nothing() {
    let pool = pool("10.0.0.0/24");
    let mut search = Search::new(PoolHints { previous: Some(ip("10.0.0.9")), ..PoolHints::default() });
    assert!(search.may_be_callers(ip("10.0.0.9")));
    assert_eq!(search.next(&pool, None, &BTreeSet::new(), ALONE, 5), Ok(ip("10.0.0.9")));
    assert_eq!(search.allocated(&pool, ip("10.0.0.9")), []);
}

#[test]
fn a_note_is_raised_unless_it_was_moved_meanwhile() {
    let (start, next) = (Some(ip("10.0.0.5")), ip("10.0.0.6"));
    assert_eq!(raised(None, start, next), Some(next));
    assert_eq!(raised(start, start, next), Some(next));
    assert_eq!(raised(Some(ip("10.0.0.9")), start, next), None, "another call went on from there");
    assert_eq!(raised(Some(ip("10.0.0.3")), start, next), None, "an address was freed");
    assert_eq!(raised(Some(ip("10.0.0.3")), None, next), None);
}
