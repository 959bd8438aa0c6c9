//! The addresses that a pod requests.
//!
//! They are in `IP=` of `CNI_ARGS`, in `runtimeConfig.ips` and in `args.cni.ips`; multus passes the same address in more than one of them. A
//! requested address inside one of the network's ranges is claimed, so that no other pod can get it. One outside every range is assigned
//! without a claim, as Whereabouts does it.

use std::net::IpAddr;

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
    /// Addresses to claim: at least one for each range, in the order of the ranges.
    pub claims: Vec<Claim>,
    /// Addresses without a claim: configured in `addresses`, or requested outside every range.
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

    /// Decides which requested addresses are claimed and which are assigned without a claim.
    ///
    /// # Errors
    /// [`ConfError::RequestedOutside`] for an address outside every range without a prefix length, [`ConfError::TooManyAddresses`].
    pub fn assign(&self, conf: &Conf) -> Result<Assignment, ConfError> {
        let mut by_range: Vec<Vec<IpAddr>> = vec![Vec::new(); conf.ranges.len()];
        let mut addresses = conf.addresses.clone();
        for requested in &self.addresses {
            let found =
                conf.ranges.iter().zip(&mut by_range).find(|(range, _)| range.is_usable(requested.ip));
            match (found, requested.prefix) {
                (Some((_, in_range)), _) => in_range.push(requested.ip),
                (None, Some(address)) => addresses.push(StaticAddress { address, gateway: None }),
                (None, None) => return Err(outside(requested.ip, conf)),
            }
        }
        for gateway in &self.gateways {
            // Gateways apply to static addresses only; an address from a range has the network's gateway.
            let in_same_net = addresses.iter_mut().filter(|fixed| fixed.address.contains(gateway));
            in_same_net.for_each(|fixed| fixed.gateway = Some(*gateway));
        }
        check_one_per_family(&conf.cni_version, &addresses)?;
        let claims = by_range
            .into_iter()
            .enumerate()
            .flat_map(|(range, in_range)| claims_in(range, &in_range))
            .collect();
        Ok(Assignment { claims, addresses })
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

fn outside(ip: IpAddr, conf: &Conf) -> ConfError {
    let ranges: Vec<String> = conf.ranges.iter().map(|range| range.net.to_string()).collect();
    ConfError::RequestedOutside { ip, ranges: ranges.join(", ") }
}
