//! The names of pools and claims. The forms are Whereabouts': each implementation finds the other's objects.
//!
//! | object | form | example |
//! |---|---|---|
//! | pool | the range | `10.0.0.0-8`, `2001-db8---32` |
//! | pool of a node's slice | node, slice | `n1-10.0.0.0-26` |
//! | claim | the address | `10.0.0.5`, `fd00--0`, `fd00--1` |
//! | claim, with `enable_overlapping_ranges: false` | pool of the whole range, address | `10.0.0.0-8-10.0.0.5` |
//!
//! Which form the claims of a pool have: [`crate::pool::claim_names`].
//!
//! With a `network_name`, every name begins with it and a "-". ":" becomes "-". The API server rejects a name that begins with "-" (so
//! Whereabouts fails for `::1`); such a name gets a zero in front (`0--1`), which reads back as the same address.
//!
//! The parts are not escaped: network `a-fd00` with `1::2` and network `a` with `fd00:1::2` have the same name. Then only one of the two
//! addresses can be allocated, but no address twice. The pool label, not the name, tells which pool a claim belongs to.

use std::net::IpAddr;

use ipnet::IpNet;
use node::names::{DnsSubdomain, NameError};

use crate::addr::ip;

/// The parts do not make a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot name the {object}: {source}; change network_name (or the node's name) to lower-case letters, digits, \"-\" and \".\""
)]
pub struct NamingError {
    /// "pool" or "claim".
    pub object: &'static str,
    /// What is wrong with the name.
    pub source: NameError,
}

/// The addresses among which an address is unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimScope<'a> {
    /// Those of all pools with the same `network_name` (`enable_overlapping_ranges: true`).
    Shared {
        /// The `network_name`.
        network: Option<&'a str>,
    },
    /// Those of this pool (`enable_overlapping_ranges: false`).
    Pool(&'a DnsSubdomain),
}

impl<'a> ClaimScope<'a> {
    /// The beginning of a claim's name, before the address.
    fn prefix(self) -> Option<&'a str> {
        match self {
            ClaimScope::Shared { network } => network,
            ClaimScope::Pool(pool) => Some(pool.as_str()),
        }
    }
}

/// The name of the pool for a range.
///
/// # Errors
/// [`NamingError`] for a `network` that is not valid in a name.
pub fn pool(net: &IpNet, network: Option<&str>) -> Result<DnsSubdomain, NamingError> {
    named("pool", [network, None], &range_text(net))
}

/// The name of the pool for a node's slice of a range.
///
/// # Errors
/// [`NamingError`] for a `network` or `node` that is not valid in a name.
pub fn slice_pool(slice: &IpNet, network: Option<&str>, node: &str) -> Result<DnsSubdomain, NamingError> {
    named("pool", [network, Some(node)], &range_text(slice))
}

/// The name of the claim (`OverlappingRangeIPReservation`) for an address.
///
/// # Errors
/// [`NamingError`] for a `network_name` that is not valid in a name.
pub fn claim(ip: IpAddr, scope: ClaimScope<'_>) -> Result<DnsSubdomain, NamingError> {
    named("claim", [scope.prefix(), None], &address_text(ip))
}

/// The address of a claim, read from its name; `None` if the name is not in this scope.
pub fn claimed_address(name: &str, scope: ClaimScope<'_>) -> Option<IpAddr> {
    let text = match scope.prefix() {
        Some(prefix) => name.strip_prefix(prefix)?.strip_prefix('-')?,
        None => name,
    };
    // An IPv4 address contains no "-". In an IPv6 address every "-" stands for ":".
    ip::parse_strict(text).or_else(|| ip::parse_strict(&text.replace('-', ":")))
}

/// The beginning of a pool's name, before the range: network and node, one of them, or nothing. `None` if the pool is not of this range.
pub(crate) fn pool_prefix<'a>(pool: &'a str, range: &IpNet) -> Option<&'a str> {
    if self::pool(range, None).is_ok_and(|name| name.as_str() == pool) {
        return Some("");
    }
    pool.strip_suffix(&range_text(range))?.strip_suffix('-')
}

/// A range in the form of names.
pub(super) fn range_text(net: &IpNet) -> String {
    let net = net.trunc();
    format!("{}-{}", dashed(&ip::text(net.addr())), net.prefix_len())
}

/// An address in the form of names. A name must not end with "-", so Whereabouts writes `fd00--0` for `fd00::`.
fn address_text(ip: IpAddr) -> String {
    let text = ip::text(ip);
    let complete = if text.ends_with(':') { format!("{text}0") } else { text };
    dashed(&complete)
}

fn dashed(text: &str) -> String {
    text.replace(':', "-")
}

fn named(object: &'static str, prefixes: [Option<&str>; 2], text: &str) -> Result<DnsSubdomain, NamingError> {
    let mut name: String = prefixes.into_iter().flatten().flat_map(|prefix| [prefix, "-"]).collect();
    // "::1": see the module.
    if name.is_empty() && text.starts_with('-') {
        name.push('0');
    }
    name.push_str(text);
    DnsSubdomain::new(name).map_err(|source| NamingError { object, source })
}

#[cfg(test)]
mod tests {
    use super::{ClaimScope, claim, claimed_address, pool, slice_pool};
    use node::names::DnsSubdomain;
    use std::net::IpAddr;

    const PLAIN: ClaimScope<'static> = ClaimScope::Shared { network: None };
    const NAMED: ClaimScope<'static> = ClaimScope::Shared { network: Some("net-a") };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn pools_are_named_by_network_node_and_range() {
        let net = "10.0.0.0/8".parse().unwrap();
        assert_eq!(pool(&net, None).unwrap().as_str(), "10.0.0.0-8");
        assert_eq!(pool(&net, Some("test")).unwrap().as_str(), "test-10.0.0.0-8");
        assert_eq!(slice_pool(&net, None, "testnode").unwrap().as_str(), "testnode-10.0.0.0-8");
        let both = slice_pool(&net, Some("testnetwork"), "testnode").unwrap();
        assert_eq!(both.as_str(), "testnetwork-testnode-10.0.0.0-8");
    }

    #[test]
    fn ipv6_pools_have_dashes_for_colons() {
        let table = [
            ("2001:db8::/32", "2001-db8---32"),
            ("2001:db8:480:603d:304:403::/96", "2001-db8-480-603d-304-403---96"),
            ("fd00:0:0:10:0:0:3:6/64", "fd00-0-0-10---64"),
            ("::/64", "0---64"),
            ("192.168.1.44/28", "192.168.1.32-28"),
        ];
        for (net, name) in table {
            assert_eq!(pool(&net.parse().unwrap(), None).unwrap().as_str(), name);
        }
    }

    #[test]
    fn claims_are_named_by_address_and_read_back() {
        let table = [
            ("10.0.0.5", PLAIN, "10.0.0.5"),
            ("fd00::", PLAIN, "fd00--0"),
            ("fd00::1", PLAIN, "fd00--1"),
            ("fd00:0:0:10::3:1", PLAIN, "fd00--10-0-0-3-1"),
            ("::1", PLAIN, "0--1"),
            ("::", PLAIN, "0--0"),
            ("10.0.0.5", NAMED, "net-a-10.0.0.5"),
            ("fd00::", NAMED, "net-a-fd00--0"),
            ("::1", NAMED, "net-a---1"),
            ("::", NAMED, "net-a---0"),
        ];
        for (address, scope, name) in table {
            assert_eq!(claim(ip(address), scope).unwrap().as_str(), name, "{address}");
            assert_eq!(claimed_address(name, scope), Some(ip(address)), "{name}");
        }
    }

    #[test]
    fn mapped_addresses_are_named_as_ipv4() {
        assert_eq!(claim(ip("::ffff:10.0.0.5"), PLAIN).unwrap().as_str(), "10.0.0.5");
    }

    #[test]
    fn equal_addresses_of_separate_pools_have_different_names() {
        let (one, two): (DnsSubdomain, DnsSubdomain) = (
            pool(&"10.0.0.0/8".parse().unwrap(), None).unwrap(),
            pool(&"10.0.0.0/24".parse().unwrap(), None).unwrap(),
        );
        let names = [&one, &two].map(|pool| claim(ip("10.0.0.5"), ClaimScope::Pool(pool)).unwrap());
        assert_eq!(names[0].as_str(), "10.0.0.0-8-10.0.0.5");
        assert_ne!(names[0], names[1]);
        assert_eq!(claimed_address(names[0].as_str(), ClaimScope::Pool(&one)), Some(ip("10.0.0.5")));
        assert_eq!(claimed_address(names[0].as_str(), ClaimScope::Pool(&two)), None);
        assert_eq!(claimed_address(names[0].as_str(), PLAIN), None);
    }

    #[test]
    fn names_of_other_networks_have_no_address() {
        assert_eq!(claimed_address("net-a-10.0.0.5", PLAIN), None);
        assert_eq!(claimed_address("10.0.0.5", NAMED), None);
        assert_eq!(claimed_address("net-b-10.0.0.5", NAMED), None);
        assert_eq!(claimed_address("net-a10.0.0.5", NAMED), None);
        assert_eq!(claimed_address("net-a-b-10.0.0.5", NAMED), None);
        assert_eq!(claimed_address("", PLAIN), None);
    }

    #[test]
    fn an_invalid_network_name_is_an_error_with_a_remedy() {
        for bad in ["My_Net", "../x", "-a", "a b"] {
            let error = pool(&"10.0.0.0/8".parse().unwrap(), Some(bad)).unwrap_err().to_string();
            assert!(error.starts_with("cannot name the pool: "), "{error}");
            assert!(error.contains("change network_name"), "{error}");
        }
        assert!(claim(ip("10.0.0.5"), ClaimScope::Shared { network: Some("UP") }).is_err());
    }
}
