//! Which address to claim next: a function of what is known. Whether it is free, the create of its claim decides.
//!
//! In this order, leaving out what was lost already (its claim exists and is another's):
//!
//! 1. the address that was asked for;
//! 2. the one that this pod's interface had before;
//! 3. the lowest free one at or above the hint, going round; without a hint the lowest free one;
//! 4. where many look for one at the same time, any free one of a window above the hint. See [`spread`].

use crate::conf::request::RequestedAddress;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use crate::addr::range::{Allocatable, RangeSpec};

/// After so many losses who has no list asks for one: the pool is full, or nearly.
pub const CONFLICTS_BEFORE_LIST: usize = 10;

/// The window of who is one of many: wide enough for some hundreds on a few dozen nodes, who then hardly meet.
const MANY_CALLERS_SPREAD: u32 = 1 << 10;

/// The widest window: of any pool that is not nearly full it has free addresses, and an IPPool's keys (offsets below 2^63) can hold them.
const WIDEST: u32 = 1 << 30;

/// Who else looks for an address of the pool, on this node and at this moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConcurrentCallers {
    /// So many came before, and try the first candidates.
    pub ahead: u32,
    /// Whether there are so many that they are unlikely to be all: on other nodes it is the same.
    pub size: CallerCount,
}

/// See [`ConcurrentCallers`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CallerCount {
    /// A few.
    #[default]
    Few,
    /// More.
    Many,
}

impl CallerCount {
    /// Of so many at the same time.
    pub const fn of(together: usize) -> Self {
        if together > 3 { CallerCount::Many } else { CallerCount::Few }
    }
}

/// What is known about the pool at the moment.
#[derive(Debug, Clone, Copy)]
pub struct KnownAddresses<'a> {
    /// Addresses that are used as far as is known; may be out of date, or empty.
    pub used: &'a BTreeSet<IpAddr>,
    /// Addresses whose claim was tried in this call and turned out to be another's.
    pub lost: &'a BTreeSet<IpAddr>,
}

/// What would be nice.
#[derive(Debug, Clone, Copy, Default)]
pub struct Preferences {
    /// What the pod asks for.
    pub requested: Option<RequestedAddress>,
    /// What the same interface of the same pod has or had in this pool.
    pub previous: Option<IpAddr>,
    /// Where to begin looking.
    pub start: Option<IpAddr>,
    /// How many free addresses to pass over in any case: who came before tries them.
    pub ahead: u32,
    /// How many free addresses at most to pass over, by chance: others are known to look at the same place.
    pub spread: u32,
}

/// There is nothing to claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCandidate {
    /// Every address is used or excluded. The beginning of the text is Whereabouts'.
    #[error("{0}")]
    Exhausted(Box<Exhausted>),
    /// The address that must be it is another pod's.
    #[error("{ip} was asked for, but is in use by another pod; ask for another address or remove that pod")]
    RequestedTaken {
        /// The address.
        ip: IpAddr,
    },
    /// The address that must be it does not belong to the range.
    #[error(
        "{ip} was asked for, but is no usable address of {range}; ask for one inside the network's range"
    )]
    RequestedOutside {
        /// The address.
        ip: IpAddr,
        /// The range.
        range: String,
    },
}

/// A pool without a free address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exhausted {
    /// First address of the window.
    pub first: IpAddr,
    /// Last address of the window.
    pub last: IpAddr,
    /// The range.
    pub range: String,
    /// The excludes as configured.
    pub excludes: Vec<String>,
    /// How many addresses the pool may give out.
    pub size: u128,
    /// How many of them are used, as far as is known.
    pub used: usize,
    /// How many were tried in this call and lost.
    pub lost: usize,
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, range, excludes, size, used, lost } = self;
        write!(
            f,
            "Could not allocate IP in range: ip: {first} / - {last} / range: {range} / excludeRanges: [{}]: the pool has \
             {size} addresses, {used} are in use and {lost} more were found taken; enlarge the range or remove pods",
            excludes.join(" ")
        )
    }
}

/// The next address to claim. `random` is any number, spread over its whole width.
///
/// # Errors
/// [`NoCandidate`].
pub fn next(
    spec: &RangeSpec,
    free: &Allocatable,
    view: KnownAddresses<'_>,
    hints: Preferences,
    random: u64,
) -> Result<IpAddr, NoCandidate> {
    match hints.requested {
        Some(RequestedAddress::Required(ip)) => return must(spec, view, ip),
        Some(RequestedAddress::Preferred(ip)) if spec.is_usable(ip) && !view.lost.contains(&ip) => {
            return Ok(ip);
        }
        Some(RequestedAddress::Preferred(_)) | None => {}
    }
    // Not looked up in the view, where the pod itself may be the user.
    if let Some(ip) = hints.previous.filter(|ip| spec.is_usable(*ip) && !view.lost.contains(ip)) {
        return Ok(ip);
    }
    let skip = u64::from(hints.ahead) + random % window(free, view, hints.spread);
    let found = nth_free(free, view, hints.start, skip).or_else(|| nth_free(free, view, hints.start, 0));
    found.ok_or_else(|| NoCandidate::Exhausted(Box::new(exhausted(free, view))))
}

/// Among how many free addresses chance decides: not more than the pool has left.
fn window(free: &Allocatable, view: KnownAddresses<'_>, spread: u32) -> u64 {
    /// To count what is used takes a step each.
    const COUNTED: u128 = 1 << 12;
    let wide = u64::from(spread) + 1;
    if spread == 0 {
        return wide;
    }
    let used = if free.size() > COUNTED { view.used.len() } else { free.count_used(view.used) };
    let cleanup = free.size().saturating_sub(used as u128);
    u64::try_from(cleanup).unwrap_or(wide).clamp(1, wide)
}

/// How many free addresses at most to pass over after so many losses in one call, where callers met `lately` enough to need a window of
/// that size. The first losses may be older claims in a row: the pool stays dense while few ask. Then the window grows with each, so that
/// a few tries lead past any number of claims, and many callers with the same view do not meet again and again.
pub fn spread(lately: u32, size: CallerCount, conflicts: usize) -> u32 {
    let callers = match size {
        CallerCount::Few => 0,
        CallerCount::Many => MANY_CALLERS_SPREAD,
    };
    let alone = if conflicts < 3 { 0 } else { grown(64, conflicts - 3) };
    alone.max(grown(lately.max(callers), conflicts))
}

fn grown(window: u32, conflicts: usize) -> u32 {
    let shift = 3 * conflicts.min(10);
    u32::try_from(u64::from(window) << shift).unwrap_or(WIDEST).min(WIDEST)
}

/// The free address after `skip` others, from `start` on and then from the beginning. The lost ones are few and found one by one, so
/// that the used ones, which may be many, need not be copied.
fn nth_free(
    free: &Allocatable,
    view: KnownAddresses<'_>,
    start: Option<IpAddr>,
    skip: u64,
) -> Option<IpAddr> {
    let above = start.and_then(|start| free.nth_free_from(view.used, skip.into(), start));
    let mut found = above.or_else(|| free.free_at(view.used, skip.into()))?;
    let first = found;
    while view.lost.contains(&found) {
        let next = crate::addr::ip::add(found, 1).and_then(|next| free.nth_free_from(view.used, 0, next));
        found = next.or_else(|| free.first_free(view.used)).filter(|next| *next != first)?;
    }
    Some(found)
}

fn must(spec: &RangeSpec, view: KnownAddresses<'_>, ip: IpAddr) -> Result<IpAddr, NoCandidate> {
    if !spec.is_usable(ip) {
        return Err(NoCandidate::RequestedOutside { ip, range: spec.net.to_string() });
    }
    if view.lost.contains(&ip) {
        return Err(NoCandidate::RequestedTaken { ip });
    }
    Ok(ip)
}

fn only_lost(view: KnownAddresses<'_>) -> BTreeSet<IpAddr> {
    view.lost.iter().filter(|ip| !view.used.contains(ip)).copied().collect()
}

fn exhausted(free: &Allocatable, view: KnownAddresses<'_>) -> Exhausted {
    Exhausted {
        first: free.first(),
        last: free.last(),
        range: free.net().to_string(),
        excludes: free.excludes().to_vec(),
        size: free.size(),
        used: free.count_used(view.used),
        lost: free.count_used(&only_lost(view)),
    }
}

#[cfg(test)]
mod tests {
    use super::{CallerCount, KnownAddresses, NoCandidate, Preferences, RequestedAddress, next, spread};
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
        lost: &[&str],
        hints: Preferences,
        random: u64,
    ) -> Result<IpAddr, NoCandidate> {
        let spec = spec(range, &[]);
        let free = spec.allocatable().unwrap();
        next(&spec, &free, KnownAddresses { used: &set(used), lost: &set(lost) }, hints, random)
    }

    fn requested(requested: RequestedAddress) -> Preferences {
        Preferences { requested: Some(requested), ..Preferences::default() }
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
        assert_eq!(
            choose("10.0.0.0/24", &used, &["10.0.0.2"], Preferences::default(), 9),
            Ok(ip("10.0.0.4"))
        );
    }

    #[test]
    fn a_wish_comes_first_even_if_the_view_says_it_is_used() {
        let hints = Preferences {
            previous: Some(ip("10.0.0.7")),
            ..requested(RequestedAddress::Preferred(ip("10.0.0.9")))
        };
        assert_eq!(choose("10.0.0.0/24", &["10.0.0.9"], &[], hints, 0), Ok(ip("10.0.0.9")));
    }

    #[test]
    fn a_wish_may_lie_outside_the_window_and_in_an_exclude() {
        let spec = spec("10.0.0.10-10.0.0.20/24", &["10.0.0.15/32"]);
        let free = spec.allocatable().unwrap();
        let none = BTreeSet::new();
        for address in ["10.0.0.200", "10.0.0.15"] {
            let view = KnownAddresses { used: &none, lost: &none };
            assert_eq!(
                next(&spec, &free, view, requested(RequestedAddress::Required(ip(address))), 0),
                Ok(ip(address))
            );
        }
    }

    #[test]
    fn a_wish_that_must_be_fails_where_a_preference_goes_on() {
        let must = requested(RequestedAddress::Required(ip("10.0.0.9")));
        let taken = choose("10.0.0.0/24", NONE, &["10.0.0.9"], must, 0).unwrap_err();
        assert_eq!(taken, NoCandidate::RequestedTaken { ip: ip("10.0.0.9") });
        let prefer = requested(RequestedAddress::Preferred(ip("10.0.0.9")));
        assert_eq!(choose("10.0.0.0/24", NONE, &["10.0.0.9"], prefer, 0), Ok(ip("10.0.0.1")));
        for outside in ["10.0.1.9", "10.0.0.0", "10.0.0.255", "fd00::1"] {
            let error =
                choose("10.0.0.0/24", NONE, &[], requested(RequestedAddress::Required(ip(outside))), 0)
                    .unwrap_err();
            assert!(matches!(error, NoCandidate::RequestedOutside { .. }), "{outside}");
            assert_eq!(
                choose("10.0.0.0/24", NONE, &[], requested(RequestedAddress::Preferred(ip(outside))), 0),
                Ok(ip("10.0.0.1"))
            );
        }
    }

    #[test]
    fn the_same_interface_gets_its_address_again() {
        let used = ["10.0.0.1", "10.0.0.7"];
        assert_eq!(choose("10.0.0.0/24", &used, &[], previous("10.0.0.7"), 0), Ok(ip("10.0.0.7")));
        assert_eq!(choose("10.0.0.0/24", &used, &["10.0.0.7"], previous("10.0.0.7"), 0), Ok(ip("10.0.0.2")));
        assert_eq!(choose("10.0.0.0/24", &used, &[], previous("10.9.0.7"), 0), Ok(ip("10.0.0.2")));
    }

    #[test]
    fn the_search_begins_at_the_hint_and_goes_round() {
        assert_eq!(choose("10.0.0.0/29", NONE, &[], start("10.0.0.4"), 0), Ok(ip("10.0.0.4")));
        assert_eq!(
            choose("10.0.0.0/29", &["10.0.0.4"], &["10.0.0.5"], start("10.0.0.4"), 0),
            Ok(ip("10.0.0.6"))
        );
        assert_eq!(choose("10.0.0.0/29", &["10.0.0.6"], &[], start("10.0.0.6"), 0), Ok(ip("10.0.0.1")));
        assert_eq!(choose("10.0.0.0/29", NONE, &[], start("10.9.0.0"), 0), Ok(ip("10.0.0.1")));
        assert_eq!(choose("10.0.0.0/29", NONE, &[], start("fd00::"), 0), Ok(ip("10.0.0.1")));
    }

    #[test]
    fn who_comes_after_others_passes_over_what_they_try() {
        let ahead = |ahead| {
            let hints = Preferences { ahead, ..start("10.0.0.2") };
            choose("10.0.0.0/29", &["10.0.0.3"], &[], hints, 9)
        };
        assert_eq!(ahead(0), Ok(ip("10.0.0.2")));
        assert_eq!(ahead(1), Ok(ip("10.0.0.4")));
        assert_eq!(ahead(99), Ok(ip("10.0.0.2")), "where there are not so many it begins with the first");
    }

    #[test]
    fn the_window_grows_with_losses_and_with_the_crowd() {
        let few = |conflicts| spread(0, CallerCount::Few, conflicts);
        assert_eq!([0, 1, 2, 3, 4, 5].map(few), [0, 0, 0, 64, 512, 4096]);
        assert_eq!(few(usize::MAX), 1 << 30);
        let many = |conflicts| spread(0, CallerCount::Many, conflicts);
        assert_eq!([0, 1, 2].map(many), [1024, 8192, 65536]);
        assert_eq!(spread(4096, CallerCount::Few, 0), 4096, "others were met a moment ago");
        assert_eq!(spread(4096, CallerCount::Many, 1), 32768);
        assert_eq!([1, 3, 4].map(CallerCount::of), [CallerCount::Few, CallerCount::Few, CallerCount::Many]);
    }

    #[test]
    fn a_spread_passes_over_as_many_free_addresses_as_chance_says() {
        let spread = |spread, random| {
            let hints = Preferences { spread, ..start("10.0.0.2") };
            choose("10.0.0.0/29", &["10.0.0.3"], &[], hints, random)
        };
        assert_eq!(spread(0, 9), Ok(ip("10.0.0.2")));
        assert_eq!(spread(2, 1), Ok(ip("10.0.0.4")));
        assert_eq!(spread(2, 5), Ok(ip("10.0.0.5")));
        assert_eq!(spread(99, 99), Ok(ip("10.0.0.6")), "chance is among what a small pool has left");
    }

    #[test]
    fn the_widest_spread_reaches_all_that_is_left_and_nothing_else() {
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
        let low = choose(
            "fd00::/64",
            NONE,
            &[],
            Preferences { spread: u32::MAX, ..Preferences::default() },
            u64::MAX,
        );
        assert!(crate::addr::ip::offset(low.unwrap(), ip("fd00::")).unwrap() <= 1 << 32);
    }

    #[test]
    fn a_full_pool_says_what_it_holds() {
        let spec = spec("192.168.0.0/29", &["192.168.0.0/30", "192.168.0.6"]);
        let free = spec.allocatable().unwrap();
        let (used, lost) = (set(&["192.168.0.4", "192.168.9.9"]), set(&["192.168.0.5"]));
        let error =
            next(&spec, &free, KnownAddresses { used: &used, lost: &lost }, Preferences::default(), 0)
                .unwrap_err();
        assert_eq!(
            error.to_string(),
            "Could not allocate IP in range: ip: 192.168.0.1 / - 192.168.0.6 / range: 192.168.0.0/29 / excludeRanges: \
             [192.168.0.0/30 192.168.0.6]: the pool has 2 addresses, 1 are in use and 1 more were found taken; \
             enlarge the range or remove pods"
        );
    }

    #[test]
    fn a_full_pool_is_exhausted_after_losses_too() {
        let lost = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
        let used = ["10.0.0.4", "10.0.0.5", "10.0.0.6"];
        let error = choose("10.0.0.0/29", &used, &lost, Preferences::default(), 5).unwrap_err();
        assert!(matches!(error, NoCandidate::Exhausted(_)));
    }

    #[test]
    fn callers_that_all_lose_find_every_address_once() {
        // Everyone claims what is truly free, each with an empty view: nobody gets an address twice.
        let spec = spec("10.0.0.0/26", &[]);
        let free = spec.allocatable().unwrap();
        let mut claimed = BTreeSet::new();
        for caller in 0_u64..62 {
            let mut lost = BTreeSet::new();
            let none = BTreeSet::new();
            let got = loop {
                let random = (caller * 1_000_003 + lost.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let view = KnownAddresses { used: &none, lost: &lost };
                let candidate = next(&spec, &free, view, Preferences::default(), random).unwrap();
                if !claimed.contains(&candidate) {
                    break candidate;
                }
                assert!(lost.insert(candidate), "{candidate} was tried twice");
            };
            claimed.insert(got);
        }
        assert_eq!(claimed.len(), 62);
    }
}
