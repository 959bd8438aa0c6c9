//! Reads the address of a claim from its name, given the name of its pool.

use std::net::IpAddr;

use ipnet::IpNet;

use super::naming::{self, ClaimScope, claimed_address, range_text};

/// Reads the names of a pool's claims.
///
/// A claim's name may begin with the pool of the whole range or with the `network_name`, which is the beginning of the pool's name. For a
/// node's slice the whole range is not known here, so each larger range counts. Parts of names are not escaped, so several prefixes may fit;
/// one by pool counts before one by network.
#[derive(Clone, Debug)]
pub struct ClaimNameReader<'a> {
    range: IpNet,
    /// `network_name`s, the longest first.
    networks: Vec<Option<&'a str>>,
    /// The names of the pools of the range and of each larger one.
    pools: Vec<String>,
}

impl<'a> ClaimNameReader<'a> {
    /// For the pool of this name and range.
    pub fn of(pool: &'a str, range: &IpNet) -> Self {
        // "network-node-", "network-", "node-" or nothing. Both parts may contain "-", so any beginning may be the network.
        let prefix = pool.strip_suffix(&range_text(range)).unwrap_or_default();
        let ends = prefix.char_indices().rev().filter(|(_, c)| *c == '-').map(|(index, _)| index);
        let networks: Vec<_> = ends.filter_map(|end| prefix.get(..end)).map(Some).chain([None]).collect();
        let larger = (0..=range.prefix_len()).rev().filter_map(|len| IpNet::new(range.addr(), len).ok());
        let names = larger
            .flat_map(|net| networks.iter().filter_map(move |network| naming::pool(&net, *network).ok()));
        let pools = names.map(|name| name.to_string()).collect();
        ClaimNameReader { range: *range, networks, pools }
    }

    /// The address of a claim, or `None` if the claim is not in the pool.
    pub fn address(&self, claim: &str) -> Option<IpAddr> {
        let pools = self.pools.iter().map(|pool| Some(pool.as_str()));
        pools.chain(self.networks.iter().copied()).find_map(|prefix| self.address_after(prefix, claim))
    }

    /// The address of a claim whose name begins with this prefix, if it is in the range.
    fn address_after(&self, prefix: Option<&str>, claim: &str) -> Option<IpAddr> {
        claimed_address(claim, ClaimScope::Shared { network: prefix }).filter(|ip| self.range.contains(ip))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::ClaimNameReader;

    #[test]
    fn the_address_of_a_claim_is_read_from_its_name() {
        let table = [
            // claim, pool, range, address
            ("10.0.0.5", "10.0.0.0-8", "10.0.0.0/8", Some("10.0.0.5")),
            ("10.0.0.0-8-10.0.0.5", "10.0.0.0-8", "10.0.0.0/8", Some("10.0.0.5")),
            ("net-a-10.0.0.5", "net-a-10.0.0.0-8", "10.0.0.0/8", Some("10.0.0.5")),
            ("net-a-10.0.0.0-8-10.0.0.5", "net-a-10.0.0.0-8", "10.0.0.0/8", Some("10.0.0.5")),
            // Slices: the node is part of the pool's name only, and claims by pool are named by the whole range.
            ("10.0.0.0-8-10.0.0.5", "node-1-10.0.0.0-26", "10.0.0.0/26", Some("10.0.0.5")),
            ("net-a-10.0.0.0-8-10.0.0.5", "net-a-node-1-10.0.0.0-26", "10.0.0.0/26", Some("10.0.0.5")),
            ("fd00---8-fd00--1", "node-1-fd00---64", "fd00::/64", Some("fd00::1")),
            ("10.0.0.5", "node-1-10.0.0.0-26", "10.0.0.0/26", Some("10.0.0.5")),
            ("net-a-10.0.0.5", "net-a-node-1-10.0.0.0-26", "10.0.0.0/26", Some("10.0.0.5")),
            ("fd00--1", "fd00---8", "fd00::/8", Some("fd00::1")),
            ("net-a-fd00--0", "net-a-fd00---8", "fd00::/8", Some("fd00::")),
            ("a-fd00--1", "a-fd00---8", "fd00::/8", Some("fd00::1")),
            ("0--1", "0---64", "::/64", Some("::1")),
            ("net-a---1", "net-a----64", "::/64", Some("::1")),
            // Of another pool or network, or not a claim's name.
            ("10.1.0.5", "10.0.0.0-24", "10.0.0.0/24", None),
            ("net-b-10.0.0.5", "net-a-10.0.0.0-8", "10.0.0.0/8", None),
            ("banana", "10.0.0.0-8", "10.0.0.0/8", None),
            ("", "10.0.0.0-8", "10.0.0.0/8", None),
        ];
        for (name, pool, range, expected) in table {
            let expected = expected.map(|text| text.parse::<IpAddr>().unwrap());
            assert_eq!(
                ClaimNameReader::of(pool, &range.parse().unwrap()).address(name),
                expected,
                "{name} in {pool}"
            );
        }
    }
}
