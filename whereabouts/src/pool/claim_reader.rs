//! Which address a claim is for, read from its name and the name of its pool.

use std::net::IpAddr;

use ipnet::IpNet;

use super::naming::{ClaimScope, claimed_address};
use crate::addr::ip;

/// How the claims of a pool may be named. Names are not escaped: of several readings the one with the longest prefix that the pool's own
/// name allows counts.
#[derive(Clone, Debug)]
pub struct ClaimNameReader<'a> {
    range: IpNet,
    /// The longest first.
    prefixes: Vec<Option<&'a str>>,
}

impl<'a> ClaimNameReader<'a> {
    /// Of the pool of this name and range.
    pub fn of(pool: &'a str, range: &IpNet) -> Self {
        let range_text = format!("{}-{}", ip::text(range.network()).replace(':', "-"), range.prefix_len());
        // "network-node", "network", "node" or nothing.
        let front = pool.strip_suffix(&range_text).unwrap_or_default();
        let ends = front.char_indices().rev().filter(|(_, c)| *c == '-').map(|(at, _)| at);
        let networks = ends.filter_map(|at| front.get(..at)).map(Some).chain([None]);
        ClaimNameReader { range: *range, prefixes: [Some(pool)].into_iter().chain(networks).collect() }
    }

    /// The address that a claim is for, `None` if it is none of the pool.
    pub fn address(&self, claim: &str) -> Option<IpAddr> {
        let reading =
            |network: &Option<&str>| claimed_address(claim, ClaimScope::Shared { network: *network });
        self.prefixes.iter().filter_map(reading).find(|ip| self.range.contains(ip))
    }

    /// Whether a claim is named after the pool itself.
    pub fn is_apart(&self, claim: &str) -> bool {
        let pool = self.prefixes.first().copied().flatten();
        let ip = claimed_address(claim, ClaimScope::Shared { network: pool });
        ip.is_some_and(|ip| self.range.contains(&ip))
    }
}
