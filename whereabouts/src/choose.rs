//! Which address to claim next: a function of what is known. Whether it is free, the create of its claim decides.
//!
//! In this order, leaving out what was lost already (its claim exists and is another's):
//!
//! 1. the address that was asked for;
//! 2. the one that this pod's interface had before;
//! 3. the lowest free one at or above the hint, going round; without a hint the lowest free one;
//! 4. after [`LOSSES_BEFORE_RANDOM`] losses any of the lowest [`RANDOM_WINDOW`] free ones: many callers with the
//!    same view would meet again and again at the lowest.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use crate::range::{Allocatable, RangeSpec};

/// So many times the lowest free address is tried.
pub const LOSSES_BEFORE_RANDOM: usize = 3;

/// Random choice is among so many free addresses: enough for thousands of callers at once, and the pool stays
/// dense, far below the offset (2^63) that an IPPool's keys can hold.
pub const RANDOM_WINDOW: u128 = 1 << 16;

/// An address that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// This one or none.
    Must(IpAddr),
    /// This one if it can be had, else any.
    Prefer(IpAddr),
}

/// What is known about the pool at the moment.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Addresses that are used as far as is known; may be out of date, or empty.
    pub used: &'a BTreeSet<IpAddr>,
    /// Addresses whose claim was tried in this call and turned out to be another's.
    pub lost: &'a BTreeSet<IpAddr>,
}

/// What would be nice.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hints {
    /// What the pod asks for.
    pub wish: Option<Wish>,
    /// What the same interface of the same pod has or had in this pool.
    pub previous: Option<IpAddr>,
    /// Where to begin looking.
    pub start: Option<IpAddr>,
}

/// There is nothing to claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCandidate {
    /// Every address is used or excluded. The beginning of the text is Whereabouts'.
    #[error("{0}")]
    Exhausted(Box<Exhausted>),
    /// The address that must be it is another pod's.
    #[error("{ip} was asked for, but is in use by another pod; ask for another address or remove that pod")]
    WishTaken {
        /// The address.
        ip: IpAddr,
    },
    /// The address that must be it does not belong to the range.
    #[error(
        "{ip} was asked for, but is no usable address of {range}; ask for one inside the network's range"
    )]
    WishOutside {
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
    view: View<'_>,
    hints: Hints,
    random: u64,
) -> Result<IpAddr, NoCandidate> {
    match hints.wish {
        Some(Wish::Must(ip)) => return must(spec, view, ip),
        Some(Wish::Prefer(ip)) if spec.is_usable(ip) && !view.lost.contains(&ip) => return Ok(ip),
        Some(Wish::Prefer(_)) | None => {}
    }
    // Not looked up in the view, where the pod itself may be the user.
    if let Some(ip) = hints.previous.filter(|ip| spec.is_usable(*ip) && !view.lost.contains(ip)) {
        return Ok(ip);
    }
    let taken = match view.lost.is_empty() {
        true => Cow::Borrowed(view.used),
        false => Cow::Owned(view.used | view.lost),
    };
    let found = if view.lost.len() >= LOSSES_BEFORE_RANDOM {
        any_free(free, &taken, random)
    } else {
        hints.start.map_or_else(|| free.first_free(&taken), |start| free.first_free_from(&taken, start))
    };
    found.ok_or_else(|| NoCandidate::Exhausted(Box::new(exhausted(free, view))))
}

fn must(spec: &RangeSpec, view: View<'_>, ip: IpAddr) -> Result<IpAddr, NoCandidate> {
    if !spec.is_usable(ip) {
        return Err(NoCandidate::WishOutside { ip, range: spec.net.to_string() });
    }
    if view.lost.contains(&ip) {
        return Err(NoCandidate::WishTaken { ip });
    }
    Ok(ip)
}

fn any_free(free: &Allocatable, taken: &BTreeSet<IpAddr>, random: u64) -> Option<IpAddr> {
    let left = free.size().saturating_sub(free.count_used(taken) as u128);
    // `checked_rem` is `None` when nothing is left.
    let n = u128::from(random).checked_rem(left.min(RANDOM_WINDOW))?;
    free.free_at(taken, n)
}

fn exhausted(free: &Allocatable, view: View<'_>) -> Exhausted {
    let only_lost: BTreeSet<IpAddr> = view.lost.difference(view.used).copied().collect();
    Exhausted {
        first: free.first(),
        last: free.last(),
        range: free.net().to_string(),
        excludes: free.excludes().to_vec(),
        size: free.size(),
        used: free.count_used(view.used),
        lost: free.count_used(&only_lost),
    }
}

#[cfg(test)]
mod tests {
    use super::{Hints, LOSSES_BEFORE_RANDOM, NoCandidate, RANDOM_WINDOW, View, Wish, next};
    use crate::range::RangeSpec;
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
        hints: Hints,
        random: u64,
    ) -> Result<IpAddr, NoCandidate> {
        let spec = spec(range, &[]);
        let free = spec.allocatable().unwrap();
        next(&spec, &free, View { used: &set(used), lost: &set(lost) }, hints, random)
    }

    fn wish(wish: Wish) -> Hints {
        Hints { wish: Some(wish), ..Hints::default() }
    }

    fn previous(text: &str) -> Hints {
        Hints { previous: Some(ip(text)), ..Hints::default() }
    }

    fn start(text: &str) -> Hints {
        Hints { start: Some(ip(text)), ..Hints::default() }
    }

    #[test]
    fn without_hints_the_lowest_free_address_is_next() {
        assert_eq!(choose("10.0.0.0/24", NONE, &[], Hints::default(), 9), Ok(ip("10.0.0.1")));
        let used = ["10.0.0.1", "10.0.0.3"];
        assert_eq!(choose("10.0.0.0/24", &used, &[], Hints::default(), 9), Ok(ip("10.0.0.2")));
        assert_eq!(choose("10.0.0.0/24", &used, &["10.0.0.2"], Hints::default(), 9), Ok(ip("10.0.0.4")));
    }

    #[test]
    fn a_wish_comes_first_even_if_the_view_says_it_is_used() {
        let hints = Hints { previous: Some(ip("10.0.0.7")), ..wish(Wish::Prefer(ip("10.0.0.9"))) };
        assert_eq!(choose("10.0.0.0/24", &["10.0.0.9"], &[], hints, 0), Ok(ip("10.0.0.9")));
    }

    #[test]
    fn a_wish_may_lie_outside_the_window_and_in_an_exclude() {
        let spec = spec("10.0.0.10-10.0.0.20/24", &["10.0.0.15/32"]);
        let free = spec.allocatable().unwrap();
        let none = BTreeSet::new();
        for address in ["10.0.0.200", "10.0.0.15"] {
            let view = View { used: &none, lost: &none };
            assert_eq!(next(&spec, &free, view, wish(Wish::Must(ip(address))), 0), Ok(ip(address)));
        }
    }

    #[test]
    fn a_wish_that_must_be_fails_where_a_preference_goes_on() {
        let must = wish(Wish::Must(ip("10.0.0.9")));
        let taken = choose("10.0.0.0/24", NONE, &["10.0.0.9"], must, 0).unwrap_err();
        assert_eq!(taken, NoCandidate::WishTaken { ip: ip("10.0.0.9") });
        let prefer = wish(Wish::Prefer(ip("10.0.0.9")));
        assert_eq!(choose("10.0.0.0/24", NONE, &["10.0.0.9"], prefer, 0), Ok(ip("10.0.0.1")));
        for outside in ["10.0.1.9", "10.0.0.0", "10.0.0.255", "fd00::1"] {
            let error = choose("10.0.0.0/24", NONE, &[], wish(Wish::Must(ip(outside))), 0).unwrap_err();
            assert!(matches!(error, NoCandidate::WishOutside { .. }), "{outside}");
            assert_eq!(
                choose("10.0.0.0/24", NONE, &[], wish(Wish::Prefer(ip(outside))), 0),
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
    fn after_three_losses_the_choice_is_random_among_the_free() {
        let lost = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
        assert_eq!(lost.len(), LOSSES_BEFORE_RANDOM);
        let used = ["10.0.0.5"];
        let chosen: BTreeSet<IpAddr> = (0..10)
            .map(|random| choose("10.0.0.0/28", &used, &lost, Hints::default(), random).unwrap())
            .collect();
        let free = ["4", "6", "7", "8", "9", "10", "11", "12", "13", "14"].map(|n| format!("10.0.0.{n}"));
        assert_eq!(chosen, set(&free));
        let two = choose("10.0.0.0/28", &used, &lost[..2], Hints::default(), 7);
        assert_eq!(two, Ok(ip("10.0.0.3")));
    }

    #[test]
    fn random_choice_stays_low_in_a_huge_range() {
        let lost = ["fd00::1", "fd00::2", "fd00::3"];
        let top = choose("fd00::/64", NONE, &lost, Hints::default(), u64::MAX).unwrap();
        assert_eq!(top, ip("fd00::1:3"));
        assert_eq!(crate::ip::offset(top, ip("fd00::")), Some(RANDOM_WINDOW + 3));
    }

    #[test]
    fn a_full_pool_says_what_it_holds() {
        let spec = spec("192.168.0.0/29", &["192.168.0.0/30", "192.168.0.6"]);
        let free = spec.allocatable().unwrap();
        let (used, lost) = (set(&["192.168.0.4", "192.168.9.9"]), set(&["192.168.0.5"]));
        let error = next(&spec, &free, View { used: &used, lost: &lost }, Hints::default(), 0).unwrap_err();
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
        let error = choose("10.0.0.0/29", &used, &lost, Hints::default(), 5).unwrap_err();
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
                let view = View { used: &none, lost: &lost };
                let candidate = next(&spec, &free, view, Hints::default(), random).unwrap();
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
