//! The other name of an address, in pools that are used both ways.
//!
//! A claim is named after its address where ranges may overlap, and after pool and address where each range stands for itself
//! ([`crate::pool::naming`]). The create of the name is the lock; so a pool that is ordered from in both ways, because two networks differ or
//! somebody toggles `enable_overlapping_ranges`, has two locks for each address. That no two pods hold one each:
//!
//! 1. An order for itself sees to it, before its first claim, that the pool's object says since when such orders are there
//!    ([`SeparateUse`]).
//! 2. As long as that is younger than [`SETTLING`], it takes the shared name, as all others do: it is stricter than it was asked to be.
//! 3. Whoever has read that the pool says so takes its name, and then looks at the other one. Who finds another's claim there gives its
//!    own back.
//!
//! Both take and then look, and a read sees everything written before it: of two orders that take one name each, the one that looks last
//! finds the other's claim. An order that has not read what the pool says does not look; but as long as there can be such a one, nobody
//! takes the name that it does not look at. A claim that is there and was not looked at (its order died) is nobody's address yet; who
//! takes it over looks.

use crate::crd::ip_pool::SeparateUse;
use std::net::IpAddr;

use k8s_openapi::jiff::Timestamp;
use node::names::DnsSubdomain;

use crate::conf::OverlappingRanges;
use crate::crd::reservation::label;
use crate::pool::naming;
use crate::pool::naming::{ClaimScope, NamingError};

/// For so long, in seconds, after a pool was first used separately its claims keep the shared names. An order that did not yet read so
/// ends within 90 s (what is read of a pool counts for 60 s, an order takes 30 s at most). The rest is for clocks of nodes that differ,
/// and for a time that was long under way when it was written.
pub const SETTLING: i64 = 600;

/// How a pool's claims are named and what is looked at, for one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamingScheme {
    /// After the address. There is no other name.
    Shared,
    /// After the address; then the name after the pool is looked at.
    SharedThenPool,
    /// After the pool; then the name after the address is looked at.
    PoolThenShared,
}

/// Which way to go at `now`.
pub fn way(overlapping: OverlappingRanges, separation: SeparateUse, now: Timestamp) -> NamingScheme {
    let settled =
        matches!(separation, SeparateUse::Since(at) if now.as_second() - at.as_second() >= SETTLING);
    match (overlapping, separation) {
        (OverlappingRanges::Protected, SeparateUse::Never) => NamingScheme::Shared,
        (OverlappingRanges::Separate, _) if settled => NamingScheme::PoolThenShared,
        (OverlappingRanges::Protected | OverlappingRanges::Separate, _) => NamingScheme::SharedThenPool,
    }
}

/// What the claims of a pool are called.
#[derive(Clone, Copy, Debug)]
pub struct ClaimNames<'a> {
    /// The pool.
    pub pool: &'a DnsSubdomain,
    /// Its `network_name`.
    pub network: Option<&'a str>,
    /// The way to go.
    pub way: NamingScheme,
}

impl<'a> ClaimNames<'a> {
    /// Named after the address, whatever pool it is of.
    pub const fn shared(&self) -> ClaimScope<'a> {
        ClaimScope::Shared { network: self.network }
    }

    /// Named after the pool too.
    pub const fn apart(&self) -> ClaimScope<'a> {
        ClaimScope::Pool(self.pool)
    }

    /// The name to take.
    pub fn claim(&self, ip: IpAddr) -> Result<DnsSubdomain, NamingError> {
        match self.way {
            NamingScheme::Shared | NamingScheme::SharedThenPool => naming::claim(ip, self.shared()),
            NamingScheme::PoolThenShared => naming::claim(ip, self.apart()),
        }
    }

    /// The name to look at then.
    pub fn alternate(&self, ip: IpAddr) -> Result<Option<DnsSubdomain>, NamingError> {
        match self.way {
            NamingScheme::Shared => Ok(None),
            NamingScheme::SharedThenPool => naming::claim(ip, self.apart()).map(Some),
            NamingScheme::PoolThenShared => naming::claim(ip, self.shared()).map(Some),
        }
    }

    /// The address that a claim withholds from the pool, if any. `says` is the pool that it says it is of: under the name that orders take
    /// a claim is in the way whatever it says, under the other name only as one of the pool.
    pub fn blocked_address(&self, claim: &str, says: Option<&str>) -> Option<IpAddr> {
        let (taken, other) = match self.way {
            NamingScheme::Shared | NamingScheme::SharedThenPool => (self.shared(), self.apart()),
            NamingScheme::PoolThenShared => (self.apart(), self.shared()),
        };
        let other = || naming::claimed_address(claim, other).filter(|_| is_of(self.pool.as_str(), says));
        naming::claimed_address(claim, taken).or_else(other)
    }
}

/// Whether a claim that says to be of the pool `says` counts as one of `pool`. One that says nothing was made by Whereabouts, or by hand:
/// perhaps for another pool that overlaps, but nobody can tell, and Whereabouts may be about to use it in this one. So it counts: an
/// address that stays free costs less than one that two have, and an adopted one says whose it is.
pub fn is_of(pool: &str, says: Option<&str>) -> bool {
    // What is read of the label alone is cut.
    says.is_none_or(|says| says == pool || says == label(pool))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::OverlappingRanges::{Protected, Separate};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn which_name_is_taken_and_looked_at_depends_on_order_pool_and_time() {
        let now = time("2026-11-25T13:00:00Z");
        let since = |text: &str| SeparateUse::Since(time(text));
        let table = [
            (Protected, SeparateUse::Never, NamingScheme::Shared),
            (Protected, since("2026-11-25T12:59:59Z"), NamingScheme::SharedThenPool),
            (Protected, since("2020-01-01T00:00:00Z"), NamingScheme::SharedThenPool),
            (Protected, SeparateUse::Unreadable, NamingScheme::SharedThenPool),
            (Separate, SeparateUse::Never, NamingScheme::SharedThenPool),
            (Separate, SeparateUse::Unreadable, NamingScheme::SharedThenPool),
            // Of a node whose clock goes before.
            (Separate, since("2026-11-25T14:00:00Z"), NamingScheme::SharedThenPool),
            (Separate, since("2026-11-25T12:50:01Z"), NamingScheme::SharedThenPool),
            (Separate, since("2026-11-25T12:50:00Z"), NamingScheme::PoolThenShared),
        ];
        for (overlapping, separation, expected) in table {
            assert_eq!(way(overlapping, separation, now), expected, "{overlapping:?} {separation:?}");
        }
    }

    #[test]
    fn both_names_follow_network_slice_and_family() {
        let table = [
            ("10.0.0.0-8", None, "10.0.0.5", "10.0.0.5", "10.0.0.0-8-10.0.0.5"),
            ("fd00---64", None, "fd00::1", "fd00--1", "fd00---64-fd00--1"),
            ("a-10.0.0.0-8", Some("a"), "10.0.0.5", "a-10.0.0.5", "a-10.0.0.0-8-10.0.0.5"),
            ("a-n1-10.0.0.0-26", Some("a"), "10.0.0.5", "a-10.0.0.5", "a-n1-10.0.0.0-26-10.0.0.5"),
            ("a-fd00---64", Some("a"), "fd00::", "a-fd00--0", "a-fd00---64-fd00--0"),
        ];
        for (pool, network, address, shared, apart) in table {
            let pool = DnsSubdomain::new(pool).unwrap();
            let of = |way| {
                let names = ClaimNames { pool: &pool, network, way };
                let alternate = names.alternate(ip(address)).unwrap().map(|alternate| alternate.to_string());
                (names.claim(ip(address)).unwrap().to_string(), alternate)
            };
            assert_eq!(of(NamingScheme::Shared), (shared.to_owned(), None));
            assert_eq!(of(NamingScheme::SharedThenPool), (shared.to_owned(), Some(apart.to_owned())));
            assert_eq!(of(NamingScheme::PoolThenShared), (apart.to_owned(), Some(shared.to_owned())));
            for way in [NamingScheme::Shared, NamingScheme::SharedThenPool, NamingScheme::PoolThenShared] {
                let names = ClaimNames { pool: &pool, network, way };
                for claim in [shared, apart] {
                    assert_eq!(
                        names.blocked_address(claim, Some(pool.as_str())),
                        Some(ip(address)),
                        "{claim} {way:?}"
                    );
                    assert_eq!(names.blocked_address(claim, None), Some(ip(address)), "{claim} {way:?}");
                }
            }
            let shared_of_another =
                |way| ClaimNames { pool: &pool, network, way }.blocked_address(shared, Some("other"));
            assert_eq!(
                shared_of_another(NamingScheme::Shared),
                Some(ip(address)),
                "the name is taken all the same"
            );
            assert_eq!(shared_of_another(NamingScheme::PoolThenShared), None);
        }
    }
}
