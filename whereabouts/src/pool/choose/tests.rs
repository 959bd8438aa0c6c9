use super::{CallerCount, KnownAddresses, NoCandidate, Preferences, next, spread};
use crate::addr::range::RangeSpec;
use std::collections::BTreeSet;
use std::net::IpAddr;

const NONE: &[&str] = &[];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn set<T: AsRef<str>>(texts: &[T]) -> BTreeSet<IpAddr> {
    texts.iter().map(|text| ip(text.as_ref())).collect()
}

fn spec(range: &str, excludes: &[&str]) -> RangeSpec {
    RangeSpec::parse(range, None, None, excludes.iter().map(|e| (*e).to_owned()).collect()).unwrap()
}

fn choose<T: AsRef<str>>(
    range: &str,
    used: &[T],
    conflicts: &[&str],
    preferences: Preferences,
    random: u64,
) -> Result<IpAddr, NoCandidate> {
    let spec = spec(range, &[]);
    let free = spec.allocatable().unwrap();
    next(&spec, &free, KnownAddresses { used: &set(used), conflicts: &set(conflicts) }, preferences, random)
}

fn requested(text: &str) -> Preferences {
    Preferences { requested: Some(ip(text)), ..Preferences::default() }
}

fn previous(text: &str) -> Preferences {
    Preferences { previous: Some(ip(text)), ..Preferences::default() }
}

fn start(text: &str) -> Preferences {
    Preferences { start: Some(ip(text)), ..Preferences::default() }
}

#[test]
fn without_hints_the_lowest_free_address_is_next() {
    assert_eq!(choose("10.0.0.0/24", NONE, &[], Preferences::default(), 9), Ok(ip("10.0.0.1")));
    let used = ["10.0.0.1", "10.0.0.3"];
    assert_eq!(choose("10.0.0.0/24", &used, &[], Preferences::default(), 9), Ok(ip("10.0.0.2")));
    assert_eq!(choose("10.0.0.0/24", &used, &["10.0.0.2"], Preferences::default(), 9), Ok(ip("10.0.0.4")));
}

#[test]
fn a_requested_address_comes_first_even_if_it_is_used() {
    let preferences = Preferences { previous: Some(ip("10.0.0.7")), ..requested("10.0.0.9") };
    assert_eq!(choose("10.0.0.0/24", &["10.0.0.9"], &[], preferences, 0), Ok(ip("10.0.0.9")));
}

#[test]
fn a_requested_address_may_be_outside_the_window_and_excluded() {
    let spec = spec("10.0.0.10-10.0.0.20/24", &["10.0.0.15/32"]);
    let free = spec.allocatable().unwrap();
    let none = BTreeSet::new();
    for address in ["10.0.0.200", "10.0.0.15"] {
        let known = KnownAddresses { used: &none, conflicts: &none };
        assert_eq!(next(&spec, &free, known, requested(address), 0), Ok(ip(address)));
    }
}

#[test]
fn a_requested_address_that_conflicts_or_is_not_usable_is_an_error() {
    let error = choose("10.0.0.0/24", NONE, &["10.0.0.9"], requested("10.0.0.9"), 0).unwrap_err();
    assert_eq!(error, NoCandidate::RequestedTaken { ip: ip("10.0.0.9") });
    for outside in ["10.0.1.9", "10.0.0.0", "10.0.0.255", "fd00::1"] {
        let error = choose("10.0.0.0/24", NONE, &[], requested(outside), 0).unwrap_err();
        assert!(matches!(error, NoCandidate::RequestedOutside { .. }), "{outside}");
    }
}

#[test]
fn the_previous_address_is_tried_next_unless_it_conflicted() {
    let used = ["10.0.0.1", "10.0.0.7"];
    assert_eq!(choose("10.0.0.0/24", &used, &[], previous("10.0.0.7"), 0), Ok(ip("10.0.0.7")));
    assert_eq!(choose("10.0.0.0/24", &used, &["10.0.0.7"], previous("10.0.0.7"), 0), Ok(ip("10.0.0.2")));
    assert_eq!(choose("10.0.0.0/24", &used, &[], previous("10.9.0.7"), 0), Ok(ip("10.0.0.2")));
}

#[test]
fn an_address_that_is_excluded_by_now_stays_with_the_interface_that_has_it() {
    let spec = spec("10.0.0.0/29", &["10.0.0.1"]);
    let known = KnownAddresses { used: &set(&["10.0.0.1"]), conflicts: &BTreeSet::new() };
    let of = |previous: Option<IpAddr>| {
        let preferences = Preferences { previous, ..Preferences::default() };
        next(&spec, &spec.allocatable().unwrap(), known, preferences, 0)
    };
    assert_eq!((of(Some(ip("10.0.0.1"))), of(None)), (Ok(ip("10.0.0.1")), Ok(ip("10.0.0.2"))));
}

#[test]
fn the_search_begins_at_start_and_wraps_around() {
    assert_eq!(choose("10.0.0.0/29", NONE, &[], start("10.0.0.4"), 0), Ok(ip("10.0.0.4")));
    assert_eq!(choose("10.0.0.0/29", &["10.0.0.4"], &["10.0.0.5"], start("10.0.0.4"), 0), Ok(ip("10.0.0.6")));
    assert_eq!(choose("10.0.0.0/29", &["10.0.0.6"], &[], start("10.0.0.6"), 0), Ok(ip("10.0.0.1")));
    assert_eq!(choose("10.0.0.0/29", NONE, &[], start("10.9.0.0"), 0), Ok(ip("10.0.0.1")));
    assert_eq!(choose("10.0.0.0/29", NONE, &[], start("fd00::"), 0), Ok(ip("10.0.0.1")));
}

#[test]
fn a_caller_skips_the_candidates_of_earlier_callers() {
    let ahead = |ahead| {
        let preferences = Preferences { ahead, ..start("10.0.0.2") };
        choose("10.0.0.0/29", &["10.0.0.3"], &[], preferences, 9)
    };
    assert_eq!(ahead(0), Ok(ip("10.0.0.2")));
    assert_eq!(ahead(1), Ok(ip("10.0.0.4")));
    assert_eq!(ahead(99), Ok(ip("10.0.0.2")), "a pool with fewer free addresses begins at start");
}

#[test]
fn the_window_grows_with_conflicts_and_with_callers() {
    let few = |conflicts| spread(0, CallerCount::Few, conflicts);
    assert_eq!([0, 1, 2, 3, 4, 5].map(few), [0, 0, 0, 64, 512, 4096]);
    assert_eq!(few(usize::MAX), 1 << 30);
    let many = |conflicts| spread(0, CallerCount::Many, conflicts);
    assert_eq!([0, 1, 2].map(many), [4096, 32_768, 262_144]);
    assert_eq!(spread(4096, CallerCount::Few, 0), 4096, "the window that other calls needed a moment ago");
    assert_eq!(spread(4096, CallerCount::Many, 1), 32768);
    assert_eq!([1, 3, 4].map(CallerCount::of), [CallerCount::Few, CallerCount::Few, CallerCount::Many]);
}

#[test]
fn a_spread_skips_a_random_number_of_free_addresses() {
    let spread = |spread, random| {
        let preferences = Preferences { spread, ..start("10.0.0.2") };
        choose("10.0.0.0/29", &["10.0.0.3"], &[], preferences, random)
    };
    assert_eq!(spread(0, 9), Ok(ip("10.0.0.2")));
    assert_eq!(spread(2, 1), Ok(ip("10.0.0.4")));
    assert_eq!(spread(2, 5), Ok(ip("10.0.0.5")));
    assert_eq!(spread(99, 99), Ok(ip("10.0.0.6")), "the random number is below the number of free addresses");
}

#[test]
fn the_widest_spread_reaches_every_free_address_and_no_other() {
    let spread = |range, random| {
        choose(
            range,
            &["10.0.0.2"],
            &["10.0.0.3"],
            Preferences { spread: u32::MAX, ..Preferences::default() },
            random,
        )
    };
    let chosen: BTreeSet<IpAddr> = (0..99).map(|random| spread("10.0.0.0/29", random).unwrap()).collect();
    assert_eq!(chosen, set(&["10.0.0.1", "10.0.0.4", "10.0.0.5", "10.0.0.6"]));
    assert_eq!(spread("10.0.0.0/8", (1 << 24) - 4), Ok(ip("10.255.255.254")));
    let low =
        choose("fd00::/64", NONE, &[], Preferences { spread: u32::MAX, ..Preferences::default() }, u64::MAX);
    assert!(crate::addr::ip::offset(low.unwrap(), ip("fd00::")).unwrap() <= 1 << 32);
}

#[test]
fn the_error_of_a_full_pool_has_its_numbers() {
    let spec = spec("192.168.0.0/29", &["192.168.0.0/30", "192.168.0.6"]);
    let free = spec.allocatable().unwrap();
    let (used, conflicts) = (set(&["192.168.0.4", "192.168.9.9"]), set(&["192.168.0.5"]));
    let error =
        next(&spec, &free, KnownAddresses { used: &used, conflicts: &conflicts }, Preferences::default(), 0)
            .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Could not allocate IP in range: ip: 192.168.0.1 / - 192.168.0.6 / range: 192.168.0.0/29 / excludeRanges: \
         [192.168.0.0/30 192.168.0.6]: the pool has 2 addresses, 1 are in use and 1 more were claimed by others during this call; \
         enlarge the range or remove pods"
    );
}

#[test]
fn the_error_of_a_pool_whose_addresses_are_all_excluded_does_not_advise_to_remove_pods() {
    let spec = spec("192.168.0.0/29", &["192.168.0.0/29"]);
    let known = KnownAddresses { used: &BTreeSet::new(), conflicts: &BTreeSet::new() };
    let error =
        next(&spec, &spec.allocatable().unwrap(), known, Preferences::default(), 0).unwrap_err().to_string();
    assert_eq!(
        error,
        "Could not allocate IP in range: ip: 192.168.0.1 / - 192.168.0.6 / range: 192.168.0.0/29 / excludeRanges: \
         [192.168.0.0/29]: the excludes cover every address between the first and the last one (the gateway is excluded too); \
         correct exclude, range_start or range_end"
    );
}

#[test]
fn a_pool_of_used_and_conflicting_addresses_is_exhausted() {
    let conflicts = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
    let used = ["10.0.0.4", "10.0.0.5", "10.0.0.6"];
    let error = choose("10.0.0.0/29", &used, &conflicts, Preferences::default(), 5).unwrap_err();
    assert!(matches!(error, NoCandidate::Exhausted(_)));
}

#[test]
fn callers_without_knowledge_allocate_every_address_once() {
    // Each caller starts without knowledge, and no caller tries an address twice.
    let spec = spec("10.0.0.0/26", &[]);
    let free = spec.allocatable().unwrap();
    let mut claimed = BTreeSet::new();
    for caller in 0_u64..62 {
        let mut conflicts = BTreeSet::new();
        let none = BTreeSet::new();
        let got = loop {
            let random = (caller * 1_000_003 + conflicts.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let known = KnownAddresses { used: &none, conflicts: &conflicts };
            let candidate = next(&spec, &free, known, Preferences::default(), random).unwrap();
            if !claimed.contains(&candidate) {
                break candidate;
            }
            assert!(conflicts.insert(candidate), "{candidate} was tried twice");
        };
        claimed.insert(got);
    }
    assert_eq!(claimed.len(), 62);
}
