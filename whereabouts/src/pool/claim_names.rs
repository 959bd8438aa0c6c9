//! The two names of an address, and why they are safe in a pool that is used both ways.
//!
//! The name of a claim is a lock on its address: the API server lets one caller create it. The name depends on
//! `enable_overlapping_ranges`: true names a claim by its address, **S**; false names it by pool and address, **P**
//! ([`crate::pool::naming`]). If both kinds of requests use one pool (two networks differ, or a user changes the setting), each address has
//! two locks.
//!
//! # No two pods get one address
//!
//! Let *t* be the time in the annotation [`SEPARATE_SINCE`](crate::crd::ip_pool::SEPARATE_SINCE) of the pool. Nobody changes or removes it.
//! (A user who deletes an IPPool with claims removes it: until the leader writes the object again, the proof does not hold.)
//!
//! 1. A request with the setting false writes *t* before it creates its first claim.
//! 2. A request creates P only if its setting is false, it has read *t*, and *t* is at least [`SETTLING`] old. Every other request creates S.
//! 3. A request that has read *t* creates one name and then checks the other. If another owner has a claim there, it releases its own claim.
//! 4. A request that has not read *t* creates S and checks nothing. It read the pool before *t*; a cached read counts for 60 s
//!    (`ADOPTION_LIFETIME`), and a request takes at most 30 s (the limit of an ADD). So it ends before *t* + 90 s, when no request creates P
//!    yet:
//!
//!    ```text
//!    t                 t + 60 s            t + 90 s                    t + 600 s
//!    ├─────────────────┼───────────────────┼───────────────────────────┼──────────► time
//!    annotation        last cached read    last request that           first P
//!    written           without t expires   checks nothing ends
//!    ```
//!
//!    Its S exists before any P of the address, so a request that creates P finds it in step 3.
//! 5. Two requests that both check create S and P. Reads of the API server are linearizable, and each request creates before it checks:
//!
//!    ```text
//!    request 1:   create S ──────── check P
//!    request 2:         create P ──────── check S
//!    ```
//!
//!    The check that comes last is later than both creates, so it finds the other claim. At most one request keeps its claim.
//! 6. A request may die between create and check. Its claim then belongs to no pod yet: a call that takes the claim over checks first.
//!
//! Two requests for one name cannot both succeed, so these are all cases.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use node::names::DnsSubdomain;

use crate::conf::OverlappingRanges;
use crate::crd::ip_pool::SeparateUse;
use crate::crd::reservation::label;
use crate::pool::naming::{self, ClaimScope, NamingError};

/// The age of `separate-since`, in seconds, from which on claims are named by pool. Step 4 of the proof needs 90 s. The rest allows for
/// clocks of nodes that differ, and for a write of the annotation that took long to arrive.
pub const SETTLING: i64 = 600;

/// How long a cached [`SeparateUse`] of a pool counts, in the hint files and in the daemon. Step 4 of the proof relies on it.
pub(crate) const ADOPTION_LIFETIME: Duration = Duration::from_secs(60);

/// Which name of an address a request creates, and which it checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamingScheme {
    /// Create the name by address. Nothing to check.
    Shared,
    /// Create the name by address, then check the name by pool.
    SharedThenPool,
    /// Create the name by pool, then check the name by address.
    PoolThenShared,
}

impl NamingScheme {
    /// The scheme of a request at `now` for a pool with this annotation.
    pub(crate) fn at(overlapping: OverlappingRanges, separate_use: SeparateUse, now: Timestamp) -> Self {
        // Wall clocks of several nodes are compared here, at a granularity of seconds.
        // A time in the future is of a node whose clock is ahead: not settled.
        let is_settled =
            matches!(separate_use, SeparateUse::Since(at) if now.as_second() - at.as_second() >= SETTLING);
        match (overlapping, separate_use) {
            (OverlappingRanges::Protected, SeparateUse::Never) => NamingScheme::Shared,
            (OverlappingRanges::Separate, _) if is_settled => NamingScheme::PoolThenShared,
            (OverlappingRanges::Protected | OverlappingRanges::Separate, _) => NamingScheme::SharedThenPool,
        }
    }
}

/// The names of a pool's claims.
#[derive(Clone, Copy, Debug)]
pub struct ClaimNames<'a> {
    /// The pool.
    pub pool: &'a DnsSubdomain,
    /// Its `network_name`.
    pub network: Option<&'a str>,
    /// Which of the two names is created, and which is checked.
    pub scheme: NamingScheme,
}

impl<'a> ClaimNames<'a> {
    /// The scope of names by address.
    pub(crate) const fn by_address(&self) -> ClaimScope<'a> {
        ClaimScope::Shared { network: self.network }
    }

    /// The scope of names by pool.
    pub(crate) const fn by_pool(&self) -> ClaimScope<'a> {
        ClaimScope::Pool(self.pool)
    }

    /// The scopes of the primary and the alternate name.
    const fn scopes(&self) -> (ClaimScope<'a>, ClaimScope<'a>) {
        match self.scheme {
            NamingScheme::Shared | NamingScheme::SharedThenPool => (self.by_address(), self.by_pool()),
            NamingScheme::PoolThenShared => (self.by_pool(), self.by_address()),
        }
    }

    /// The primary name of an address: the one to create.
    pub(crate) fn primary(&self, ip: IpAddr) -> Result<DnsSubdomain, NamingError> {
        naming::claim(ip, self.scopes().0)
    }

    /// The alternate name of an address: the one to check after the create, if any.
    pub(crate) fn alternate(&self, ip: IpAddr) -> Result<Option<DnsSubdomain>, NamingError> {
        match self.scheme {
            NamingScheme::Shared => Ok(None),
            NamingScheme::SharedThenPool | NamingScheme::PoolThenShared => {
                naming::claim(ip, self.scopes().1).map(Some)
            }
        }
    }

    /// The address of the pool that a claim blocks, if any. `pool` is the pool that the claim states. A claim with the primary name blocks
    /// its address whatever pool it states, because the name cannot be created; one with the alternate name only as a claim of this pool.
    pub(crate) fn blocked_address(&self, claim: &str, pool: Option<&str>) -> Option<IpAddr> {
        let (primary, alternate) = self.scopes();
        // The primary name first: a text may be read as both.
        let by_alternate =
            || naming::claimed_address(claim, alternate).filter(|_| may_belong_to(self.pool.as_str(), pool));
        naming::claimed_address(claim, primary).or_else(by_alternate)
    }
}

/// Whether a claim that states the pool `stated` counts as a claim of `pool`. A claim that states none was made by Whereabouts or by hand,
/// perhaps for another pool that overlaps. It counts: one free address less does less harm than one address for two pods. The adoption of
/// the claim adds its pool.
pub(crate) fn may_belong_to(pool: &str, stated: Option<&str>) -> bool {
    // A claim without the annotation has only the label, whose value is cut.
    stated.is_none_or(|stated| stated == pool || stated == label(pool))
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
    fn the_scheme_depends_on_setting_annotation_and_time() {
        let now = time("2026-11-25T13:00:00Z");
        let since = |text: &str| SeparateUse::Since(time(text));
        let table = [
            (Protected, SeparateUse::Never, NamingScheme::Shared),
            (Protected, since("2026-11-25T12:59:59Z"), NamingScheme::SharedThenPool),
            (Protected, since("2020-01-01T00:00:00Z"), NamingScheme::SharedThenPool),
            (Protected, SeparateUse::Unreadable, NamingScheme::SharedThenPool),
            (Separate, SeparateUse::Never, NamingScheme::SharedThenPool),
            (Separate, SeparateUse::Unreadable, NamingScheme::SharedThenPool),
            // The clock of another node is ahead.
            (Separate, since("2026-11-25T14:00:00Z"), NamingScheme::SharedThenPool),
            (Separate, since("2026-11-25T12:50:01Z"), NamingScheme::SharedThenPool),
            (Separate, since("2026-11-25T12:50:00Z"), NamingScheme::PoolThenShared),
        ];
        for (overlapping, separate_use, expected) in table {
            let scheme = NamingScheme::at(overlapping, separate_use, now);
            assert_eq!(scheme, expected, "{overlapping:?} {separate_use:?}");
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
        for (pool, network, address, by_address, by_pool) in table {
            let pool = DnsSubdomain::new(pool).unwrap();
            let names = |scheme| ClaimNames { pool: &pool, network, scheme };
            let both = |scheme| {
                let names = names(scheme);
                let alternate = names.alternate(ip(address)).unwrap().map(|alternate| alternate.to_string());
                (names.primary(ip(address)).unwrap().to_string(), alternate)
            };
            let (address, texts) = (ip(address), (by_address.to_owned(), by_pool.to_owned()));
            assert_eq!(both(NamingScheme::Shared), (texts.0.clone(), None));
            assert_eq!(both(NamingScheme::SharedThenPool), (texts.0.clone(), Some(texts.1.clone())));
            assert_eq!(both(NamingScheme::PoolThenShared), (texts.1, Some(texts.0)));
            for scheme in [NamingScheme::Shared, NamingScheme::SharedThenPool, NamingScheme::PoolThenShared] {
                for (claim, stated) in
                    [by_address, by_pool].into_iter().flat_map(|c| [(c, Some(pool.as_str())), (c, None)])
                {
                    let blocked = names(scheme).blocked_address(claim, stated);
                    assert_eq!(blocked, Some(address), "{claim} {scheme:?}");
                }
            }
            let by_another_pool = |scheme| names(scheme).blocked_address(by_address, Some("other"));
            assert_eq!(
                by_another_pool(NamingScheme::Shared),
                Some(address),
                "the primary name cannot be created"
            );
            assert_eq!(by_another_pool(NamingScheme::PoolThenShared), None);
        }
    }
}
