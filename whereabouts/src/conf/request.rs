//! The addresses that a pod requests.
//!
//! They are in `IP=` of `CNI_ARGS`, in `runtimeConfig.ips` and in `args.cni.ips`; multus passes the same address in more than one of them.
//! Every requested address is claimed, so that no other pod can get it, also one outside the network's ranges: Whereabouts assigns that one
//! without a record, to several pods if they request it. An address that no host can have is refused: the gateway, a network or broadcast
//! address, a loopback, multicast or unspecified address.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::{ConfError, JsonFile, wrong_type};
use super::resolved::{Conf, check_one_per_family};
use super::settings::StaticAddress;
use crate::addr::ip;

/// The keys of `CNI_ARGS` for addresses.
#[derive(Debug, Clone, Copy, Default)]
pub struct IpArgs<'a> {
    /// `IP`: addresses, with or without prefix length, separated by commas.
    pub ip: Option<&'a str>,
    /// `GATEWAY`: addresses, separated by commas.
    pub gateway: Option<&'a str>,
}

/// A requested address, with its prefix length if it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Requested {
    ip: IpAddr,
    prefix: Option<IpNet>,
}

/// All requested addresses of one interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requests {
    addresses: Vec<Requested>,
    gateways: Vec<IpAddr>,
}

/// One address to claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The index into [`Conf::ranges`].
    pub range: usize,
    /// The requested address; no other address will do. `None` for any.
    pub requested: Option<IpAddr>,
}

/// The addresses of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Addresses to claim: at least one for each range, in the order of the ranges, then those of `outside`.
    pub claims: Vec<Claim>,
    /// Requested addresses outside every range. The claim of each has the index of a pool of its own, after those of the ranges.
    pub outside: Vec<StaticAddress>,
    /// Addresses without a claim: those configured in `addresses`, which every pod of the network gets.
    pub addresses: Vec<StaticAddress>,
}

impl Requests {
    /// Collects the requested addresses, each once.
    ///
    /// # Errors
    /// [`ConfError::RequestedAddress`], [`ConfError::RequestedGateway`], [`ConfError::Json`].
    pub fn gather(
        args: IpArgs<'_>,
        runtime_config: &Map<String, Value>,
        args_cni: &Map<String, Value>,
    ) -> Result<Self, ConfError> {
        let mut requests = Self::default();
        for text in split_list(args.ip) {
            requests.add(parse_with_or_without_prefix(text)?);
        }
        for (object, name) in [(runtime_config, "runtimeConfig.ips"), (args_cni, "args.cni.ips")] {
            for text in ips_of(object, name)? {
                requests.add(parse_with_or_without_prefix(text)?);
            }
        }
        for text in split_list(args.gateway) {
            let gateway = ip::parse_strict(text);
            requests.gateways.push(gateway.ok_or_else(|| ConfError::RequestedGateway(text.to_owned()))?);
        }
        Ok(requests)
    }

    /// Decides from which pool each requested address is claimed.
    ///
    /// # Errors
    /// [`ConfError::RequestedOutside`] for an address outside every range without a prefix length, [`ConfError::RequestedUnusable`],
    /// [`ConfError::TooManyAddresses`].
    pub fn assign(&self, conf: &Conf) -> Result<Assignment, ConfError> {
        let mut by_range: Vec<Vec<IpAddr>> = vec![Vec::new(); conf.ranges.len()];
        let (mut outside, mut addresses) = (Vec::new(), conf.addresses.clone());
        for requested in &self.addresses {
            check_usable(requested, conf)?;
            let found =
                conf.ranges.iter().zip(&mut by_range).find(|(range, _)| range.is_usable(requested.ip));
            match (found, requested.prefix) {
                (Some((_, in_range)), _) => in_range.push(requested.ip),
                (None, Some(address)) => outside.push(StaticAddress { address, gateway: None }),
                (None, None) => return Err(not_in_a_range(requested.ip, conf)),
            }
        }
        for gateway in &self.gateways {
            // An address from a range has the network's gateway.
            let others = outside.iter_mut().chain(&mut addresses);
            let in_same_net = others.filter(|fixed| fixed.address.contains(gateway));
            in_same_net.for_each(|fixed| fixed.gateway = Some(*gateway));
        }
        let besides: Vec<StaticAddress> = outside.iter().chain(&addresses).cloned().collect();
        check_one_per_family(&conf.cni_version, &besides)?;
        let ranges = by_range.len();
        let in_ranges =
            by_range.into_iter().enumerate().flat_map(|(range, in_range)| claims_in(range, &in_range));
        let others = outside
            .iter()
            .enumerate()
            .map(|(at, address)| Claim { range: ranges + at, requested: Some(address.address.addr()) });
        let claims = in_ranges.chain(others).collect();
        Ok(Assignment { claims, outside, addresses })
    }

    fn add(&mut self, new: Requested) {
        // The same address may come with a prefix length in one place and without in another.
        match self.addresses.iter_mut().find(|known| known.ip == new.ip) {
            Some(known) => known.prefix = known.prefix.or(new.prefix),
            None => self.addresses.push(new),
        }
    }
}

fn claims_in(range: usize, requested: &[IpAddr]) -> Vec<Claim> {
    if requested.is_empty() {
        return vec![Claim { range, requested: None }];
    }
    requested.iter().map(|requested| Claim { range, requested: Some(*requested) }).collect()
}

/// The elements of a list that is separated by commas.
fn split_list(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.filter(|text| !text.is_empty()).into_iter().flat_map(|text| text.split(','))
}

/// The strings in key `ips` of an object; `name` names the key in messages.
fn ips_of<'a>(object: &'a Map<String, Value>, name: &str) -> Result<Vec<&'a str>, ConfError> {
    // These objects are not folded: the key must be lower case, and null is possible.
    let items = match object.get("ips") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(wrong_type(JsonFile::Network, name, "a list of strings")),
    };
    let all: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
    all.ok_or_else(|| wrong_type(JsonFile::Network, name, "a list of strings"))
}

fn parse_with_or_without_prefix(text: &str) -> Result<Requested, ConfError> {
    match (ip::parse_cidr_strict(text), ip::parse_strict(text)) {
        (Ok(net), _) => Ok(Requested { ip: net.addr(), prefix: Some(net) }),
        (Err(_), Some(ip)) => Ok(Requested { ip, prefix: None }),
        (Err(source), None) => Err(ConfError::RequestedAddress { text: text.to_owned(), source }),
    }
}

/// Refuses an address that no host can have in its subnet: the requested prefix, or else the range that contains it.
fn check_usable(requested: &Requested, conf: &Conf) -> Result<(), ConfError> {
    let ip = requested.ip;
    let range = conf.ranges.iter().map(|range| range.net).find(|net| net.contains(&ip));
    let subnet = range.or(requested.prefix.map(|prefix| prefix.trunc()));
    // A subnet of one or two addresses has neither a network nor a broadcast address (RFC 3021, RFC 6164).
    let subnet = subnet.filter(|net| net.max_prefix_len() - net.prefix_len() > 1);
    let is_broadcast = |net: IpNet| ip.is_ipv4() && ip == net.broadcast();
    let reason = if conf.gateway == Some(ip) {
        "it is the network's gateway"
    } else if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() {
        "it is an unspecified, loopback or multicast address"
    } else if subnet.is_some_and(|net| ip == net.network()) {
        "it is the network address of its subnet"
    } else if subnet.is_some_and(is_broadcast) || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        "it is a broadcast address"
    } else {
        return Ok(());
    };
    Err(ConfError::RequestedUnusable { ip, reason })
}

fn not_in_a_range(ip: IpAddr, conf: &Conf) -> ConfError {
    let ranges: Vec<String> = conf.ranges.iter().map(|range| range.net.to_string()).collect();
    ConfError::RequestedOutside { ip, ranges: ranges.join(", ") }
}
