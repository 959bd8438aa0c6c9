//! The two names of an address, and why no address of a pool is given twice.
//!
//! The name of a claim is a lock on its address: the API server lets one caller create it. An address has two names ([`crate::pool::naming`]):
//! **S**, the address, which all pools share, and **P**, pool and address. `enable_overlapping_ranges: true` asks for S, so that overlapping
//! pools exclude each other; `false` asks for P. Networks of one pool may differ in it, so the pool decides, not the request:
//!
//! | [`ClaimNaming`] of the pool | setting true takes | setting false takes |
//! |---|---|---|
//! | [`ClaimNaming::Address`] | S | S (stricter than asked) |
//! | [`ClaimNaming::Pool`] | S, then P | P |
//! | [`ClaimNaming::Both`] | S, then P | S, then P (stricter than asked) |
//!
//! In each row any two requests have a name in common, so they cannot both succeed. What remains is that all requests read the same row.
//! No clock decides that.
//!
//! # All claims that count are of one row
//!
//! The naming is an annotation of the IPPool ([`CLAIM_NAMES`](crate::crd::ip_pool::CLAIM_NAMES)). Users may delete an IPPool while pods run,
//! a view that loses nothing; and a node may remember what it read before. The rules:
//!
//! 1. The naming is *fixed* by a patch of an object that exists without one. The patch carries the resourceVersion, so one caller wins. After
//!    that caller read the object, and before it sends the patch, it lists the claims of the pool by label. If a holder of S has not P too, the
//!    naming must take S; if one has P, it must take P ([`Evidence::naming`]). Only without claims the request's own setting decides.
//! 2. A request creates its claims by the naming that it knows, which may be old. Then it reads the object again. The claims *count* if the
//!    object has the naming by which they were made; else the request releases them and begins again.
//! 3. A request may skip the read in 2 while the node still holds a claim of the pool that counts under the same naming: the node's *pin*. A
//!    DEL drops the pin before it deletes the claim, and the request looks at the pin after its own create.
//!
//! Let claim *c* count under one life of the object, and let another life, with another naming, be fixed while *c* exists. Rule 2 read the
//! first life after *c* was created, so *c* is older than the end of that life, older than the object of the new life, and older than the
//! list in rule 1. The list shows *c*, so the new naming takes *c*'s name too, and no later request gets its address. A claim that rule 3 lets
//! count is covered by the pin: the pin existed from its own count until after the claim was created, so every naming fixed in between takes
//! the names that the pin's naming takes; and every list after that shows the claim itself.
//!
//! The model checker visits every order of these steps (`tests/model/naming`). What it cannot show: somebody who deletes the claim of a running
//! pod by hand drops a pin without the node. So the node reads the object again after [`NAMING_LIFETIME`] at the latest.
//!
//! # Whereabouts on other nodes
//!
//! While nodes are changed over, and between two changes, Whereabouts gives addresses of the same pool. With `enable_overlapping_ranges: true` it
//! creates S too. With `false` all that it looks at is the entries of the IPPool. So where P counts, or a network asks for `false`, the lock on an
//! address has two parts ([`PoolLock::ClaimAndEntry`]):
//!
//! 4. A request that created its claims writes the entry too, by a patch that applies only if there is none (`claims::pool_entry`).
//!    If there is one of another pod, it releases its claims and tries another address.
//! 5. A DEL deletes the claim first and the entry after it. The leader never removes or replaces an entry of a pod that exists.
//!
//! Whereabouts writes its entry with the resourceVersion that it read, so of both only one succeeds, in whichever order they come.
//!
//! A node's slice is a pool of its own, with an IPPool of its own. But its addresses are those of the whole range, also while slices are
//! switched on or off. So P and the naming are those of the pool of the whole range.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use node::names::DnsSubdomain;

use crate::conf::OverlappingRanges;
use crate::crd::ip_pool::ClaimNaming;
use crate::crd::reservation::label;
use crate::pool::naming::{self, ClaimScope, NamingError};

/// How long a node uses a pool's naming without a read of the object.
pub(crate) const NAMING_LIFETIME: Duration = Duration::from_secs(60);

/// The names that a request takes for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NamesToTake {
    Address,
    Pool,
    /// In this order everywhere: of two requests, the one that has the first name wins.
    AddressThenPool,
}

impl NamesToTake {
    const fn of(naming: ClaimNaming, overlapping: OverlappingRanges) -> Self {
        match (naming, overlapping) {
            (ClaimNaming::Address, _) => NamesToTake::Address,
            (ClaimNaming::Pool, OverlappingRanges::Separate) => NamesToTake::Pool,
            (ClaimNaming::Pool, OverlappingRanges::Protected) | (ClaimNaming::Both, _) => {
                NamesToTake::AddressThenPool
            }
        }
    }
}

/// Whether a pool with this naming protects an address against other pools although the network does not ask for it.
pub const fn is_stricter_than(naming: ClaimNaming, overlapping: OverlappingRanges) -> bool {
    matches!((naming, overlapping), (ClaimNaming::Address | ClaimNaming::Both, OverlappingRanges::Separate))
}

/// What shows that an address is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolLock {
    /// Its claim. Whereabouts looks at it too. The leader writes the entry, a moment later.
    Claim,
    /// Its claim, and its entry in the pool's object: all that Whereabouts looks at.
    ClaimAndEntry,
}

impl PoolLock {
    /// Of a pool with this naming, if no network says more. `None`: the naming is not fixed yet.
    pub(crate) const fn of(naming: Option<ClaimNaming>) -> Self {
        match naming {
            Some(ClaimNaming::Address) => PoolLock::Claim,
            Some(ClaimNaming::Pool | ClaimNaming::Both) | None => PoolLock::ClaimAndEntry,
        }
    }
}

/// The names of one address that a request takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressNames {
    /// The name to create first.
    pub first: DnsSubdomain,
    /// The name to create after it, if there are two.
    pub second: Option<DnsSubdomain>,
}

/// The names of a pool's claims.
#[derive(Clone, Copy, Debug)]
pub struct ClaimNames<'a> {
    /// The pool.
    pub pool: &'a DnsSubdomain,
    /// The pool of the whole range: another one only for a node's slice.
    pub whole: &'a DnsSubdomain,
    /// Its `network_name`.
    pub network: Option<&'a str>,
    /// How its claims are named.
    pub naming: ClaimNaming,
    /// What the network asks for.
    pub overlapping: OverlappingRanges,
}

impl<'a> ClaimNames<'a> {
    /// The scope of names by address.
    pub(crate) const fn by_address(&self) -> ClaimScope<'a> {
        ClaimScope::Shared { network: self.network }
    }

    /// The scope of names by pool.
    pub(crate) const fn by_pool(&self) -> ClaimScope<'a> {
        ClaimScope::Pool(self.whole)
    }

    /// What shows that an address is taken.
    pub(crate) const fn lock(&self) -> PoolLock {
        match self.overlapping {
            OverlappingRanges::Separate => PoolLock::ClaimAndEntry,
            OverlappingRanges::Protected => PoolLock::of(Some(self.naming)),
        }
    }

    /// The names to take for an address.
    ///
    /// # Errors
    /// [`NamingError`] for a `network_name` that is not valid in a name.
    pub fn of(&self, ip: IpAddr) -> Result<AddressNames, NamingError> {
        let (first, second) = match NamesToTake::of(self.naming, self.overlapping) {
            NamesToTake::Address => (self.by_address(), None),
            NamesToTake::Pool => (self.by_pool(), None),
            NamesToTake::AddressThenPool => (self.by_address(), Some(self.by_pool())),
        };
        let second = second.map(|scope| naming::claim(ip, scope)).transpose()?;
        Ok(AddressNames { first: naming::claim(ip, first)?, second })
    }

    /// The address of the pool that a claim blocks, if any. `pool` is the pool that the claim states. A claim with a name to take blocks its
    /// address whatever pool it states, because the name cannot be created; one with the other name only as a claim of this pool.
    pub(crate) fn blocked_address(&self, claim: &str, pool: Option<&str>) -> Option<IpAddr> {
        let is_own = may_belong_to(self.pool.as_str(), pool);
        let (address, by_pool) = match NamesToTake::of(self.naming, self.overlapping) {
            NamesToTake::Address => (true, is_own),
            NamesToTake::Pool => (is_own, true),
            NamesToTake::AddressThenPool => (true, true),
        };
        // The longer name first: a text may be read as both.
        let by_pool = by_pool.then(|| naming::claimed_address(claim, self.by_pool())).flatten();
        by_pool.or_else(|| address.then(|| naming::claimed_address(claim, self.by_address())).flatten())
    }
}

/// The claims of a pool when its naming is to be fixed, by the kind of their names: who holds each address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence<Holder> {
    /// The claims named by address.
    pub by_address: BTreeMap<IpAddr, Holder>,
    /// The claims named by pool.
    pub by_pool: BTreeMap<IpAddr, Holder>,
}

impl<Holder: PartialEq> Evidence<Holder> {
    /// The naming that protects every address of the list. Without claims it is what the request asks for.
    pub fn naming(&self, overlapping: OverlappingRanges) -> ClaimNaming {
        // Two holders: one of the claims does not count, and nobody can say which.
        let has_both_names = |(ip, holder): (&IpAddr, &Holder)| self.by_pool.get(ip) == Some(holder);
        let needs_address = !self.by_address.iter().all(has_both_names);
        match (needs_address, !self.by_pool.is_empty(), overlapping) {
            (true, true, _) => ClaimNaming::Both,
            (true, false, _) | (false, false, OverlappingRanges::Protected) => ClaimNaming::Address,
            (false, true, _) | (false, false, OverlappingRanges::Separate) => ClaimNaming::Pool,
        }
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

    const NAMINGS: [ClaimNaming; 3] = [ClaimNaming::Address, ClaimNaming::Pool, ClaimNaming::Both];

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn texts(names: &AddressNames) -> Vec<String> {
        [Some(&names.first), names.second.as_ref()].into_iter().flatten().map(ToString::to_string).collect()
    }

    #[test]
    fn any_two_requests_of_a_pool_have_a_name_in_common() {
        let pool = DnsSubdomain::new("10.0.0.0-8").unwrap();
        let of = |naming, overlapping| {
            let names = ClaimNames { pool: &pool, whole: &pool, network: None, naming, overlapping };
            texts(&names.of(ip("10.0.0.5")).unwrap())
        };
        for naming in NAMINGS {
            let (one, other) = (of(naming, Protected), of(naming, Separate));
            assert!(one.iter().any(|name| other.contains(name)), "{naming:?}: {one:?} {other:?}");
            assert_eq!(one[0], "10.0.0.5", "overlapping pools exclude each other if the network asks for it");
            let is_shared = other.contains(&"10.0.0.5".to_owned());
            assert_eq!(is_stricter_than(naming, Separate), is_shared, "{naming:?}");
            assert!(!is_stricter_than(naming, Protected));
        }
    }

    /// A claim of an older version has only a label, and a label has at most 63 characters.
    #[test]
    fn a_claim_belongs_to_the_pool_that_it_states_whole_or_cut() {
        let long = format!("{}-10.0.0.0-8", "network".repeat(10));
        for (stated, belongs) in [
            (None, true),
            (Some(long.as_str()), true),
            (Some(label(&long).as_str()), true),
            (Some("network-10.0.0.0-8"), false),
        ] {
            assert_eq!(may_belong_to(&long, stated), belongs, "{stated:?}");
        }
    }

    #[test]
    fn both_names_follow_network_slice_and_family() {
        let table = [
            ("10.0.0.0-8", "10.0.0.0-8", None, "10.0.0.5", "10.0.0.5", "10.0.0.0-8-10.0.0.5"),
            ("fd00---64", "fd00---64", None, "fd00::1", "fd00--1", "fd00---64-fd00--1"),
            ("a-10.0.0.0-8", "a-10.0.0.0-8", Some("a"), "10.0.0.5", "a-10.0.0.5", "a-10.0.0.0-8-10.0.0.5"),
            // A slice: the name is the same as without slices.
            (
                "a-n1-10.0.0.0-26",
                "a-10.0.0.0-8",
                Some("a"),
                "10.0.0.5",
                "a-10.0.0.5",
                "a-10.0.0.0-8-10.0.0.5",
            ),
            ("a-fd00---64", "a-fd00---64", Some("a"), "fd00::", "a-fd00--0", "a-fd00---64-fd00--0"),
        ];
        for (pool, whole, network, address, by_address, by_pool) in table {
            let (pool, whole) = (DnsSubdomain::new(pool).unwrap(), DnsSubdomain::new(whole).unwrap());
            let names =
                |naming, overlapping| ClaimNames { pool: &pool, whole: &whole, network, naming, overlapping };
            let of = |naming, overlapping| texts(&names(naming, overlapping).of(ip(address)).unwrap());
            assert_eq!(of(ClaimNaming::Address, Separate), [by_address]);
            assert_eq!(of(ClaimNaming::Pool, Separate), [by_pool]);
            assert_eq!(of(ClaimNaming::Pool, Protected), [by_address, by_pool]);
            assert_eq!(of(ClaimNaming::Both, Separate), [by_address, by_pool]);
            for naming in NAMINGS {
                for overlapping in [Protected, Separate] {
                    let names = names(naming, overlapping);
                    for claim in [by_address, by_pool] {
                        for stated in [Some(pool.as_str()), None] {
                            assert_eq!(
                                names.blocked_address(claim, stated),
                                Some(ip(address)),
                                "{claim} {naming:?}"
                            );
                        }
                        let taken = of(naming, overlapping).contains(&claim.to_owned());
                        let blocked = names.blocked_address(claim, Some("other"));
                        assert_eq!(
                            blocked.is_some(),
                            taken,
                            "{claim} {naming:?}: a name to take cannot be created"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_naming_that_is_fixed_again_protects_every_claim_that_is_left() {
        use ClaimNaming::{Address, Both, Pool};
        let held =
            |claims: &[(&str, char)]| claims.iter().map(|(text, holder)| (ip(text), *holder)).collect();
        let table: [(&[_], &[_], _); 6] = [
            (&[], &[], [Address, Pool]),
            (&[("10.0.0.1", 'a')], &[], [Address; 2]),
            (&[], &[("10.0.0.1", 'a')], [Pool; 2]),
            (&[("10.0.0.1", 'a')], &[("10.0.0.1", 'a'), ("10.0.0.2", 'b')], [Pool; 2]),
            (&[("10.0.0.1", 'a'), ("10.0.0.2", 'b')], &[("10.0.0.1", 'a')], [Both; 2]),
            // One of the two claims of the address does not count.
            (&[("10.0.0.1", 'a')], &[("10.0.0.1", 'b')], [Both; 2]),
        ];
        for (by_address, by_pool, expected) in table {
            let evidence = Evidence { by_address: held(by_address), by_pool: held(by_pool) };
            let namings = [Protected, Separate].map(|setting| evidence.naming(setting));
            assert_eq!(namings, expected, "{by_address:?} {by_pool:?}");
        }
    }
}
