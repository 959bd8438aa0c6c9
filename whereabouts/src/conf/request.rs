//! Addresses that a pod asks for, and what comes of them.
//!
//! They come as `IP=` in `CNI_ARGS`, in `runtimeConfig.ips` and in `args.cni.ips`; multus passes the same ones in more
//! than one place. An address inside one of the network's ranges is claimed there, in place of one that the pool would
//! choose, so that no other pod has it. One outside every range is given as it stands, as the original does.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::{ConfError, Place, wrong_type};
use super::resolved::{Conf, check_one_per_family};
use super::settings::StaticAddress;
use crate::addr::ip;

/// What `CNI_ARGS` says about addresses.
#[derive(Debug, Clone, Copy, Default)]
pub struct IpArgs<'a> {
    /// `IP`: addresses, with or without prefix length, separated by commas.
    pub ip: Option<&'a str>,
    /// `GATEWAY`: addresses, separated by commas.
    pub gateway: Option<&'a str>,
}

/// An address asked for; with a prefix length if it came with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Requested {
    ip: IpAddr,
    prefix: Option<IpNet>,
}

/// All that a pod asks for on one interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requests {
    addresses: Vec<Requested>,
    gateways: Vec<IpAddr>,
}

/// An address that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestedAddress {
    /// This one or none.
    Required(IpAddr),
    /// This one if it can be had, else any.
    Preferred(IpAddr),
}

/// One address to be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Which of [`Conf::ranges`].
    pub range: usize,
    /// The address it must be, or `None` for any.
    pub requested: Option<RequestedAddress>,
}

/// What an interface gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// From pools: at least one for each range, in the order of the ranges.
    pub claims: Vec<Claim>,
    /// As configured or asked for, without a pool.
    pub addresses: Vec<StaticAddress>,
}

impl Requests {
    /// Gathers what is asked for; each address once.
    ///
    /// # Errors
    /// [`ConfError::RequestedAddress`], [`ConfError::RequestedGateway`], [`ConfError::Json`].
    pub fn gather(
        args: IpArgs<'_>,
        runtime_config: &Map<String, Value>,
        args_cni: &Map<String, Value>,
    ) -> Result<Self, ConfError> {
        let mut requests = Self::default();
        for text in listed(args.ip) {
            requests.add(parse_with_or_without_prefix(text)?);
        }
        for (object, name) in [(runtime_config, "runtimeConfig.ips"), (args_cni, "args.cni.ips")] {
            for text in texts(object, name)? {
                requests.add(parse_with_or_without_prefix(text)?);
            }
        }
        for text in listed(args.gateway) {
            let gateway = ip::parse_strict(text);
            requests.gateways.push(gateway.ok_or_else(|| ConfError::RequestedGateway(text.to_owned()))?);
        }
        Ok(requests)
    }

    /// Decides which are claimed and which are given as they stand.
    ///
    /// # Errors
    /// [`ConfError::RequestedOutside`] for an address outside every range that has no prefix length;
    /// [`ConfError::TooManyAddresses`].
    pub fn assign(&self, conf: &Conf) -> Result<Assignment, ConfError> {
        let mut wishes: Vec<Vec<RequestedAddress>> = vec![Vec::new(); conf.ranges.len()];
        let mut addresses = conf.addresses.clone();
        for requested in &self.addresses {
            let home = conf.ranges.iter().zip(&mut wishes).find(|(range, _)| range.is_usable(requested.ip));
            match (home, requested.prefix) {
                (Some((_, wishes)), _) => wishes.push(RequestedAddress::Required(requested.ip)),
                (None, Some(address)) => addresses.push(StaticAddress { address, gateway: None }),
                (None, None) => return Err(outside(requested.ip, conf)),
            }
        }
        for gateway in &self.gateways {
            let nets = addresses.iter_mut().filter(|given| given.address.contains(gateway));
            nets.for_each(|given| given.gateway = Some(*gateway));
        }
        check_one_per_family(&conf.cni_version, &addresses)?;
        let claims =
            wishes.into_iter().enumerate().flat_map(|(range, wishes)| claims_in(range, &wishes)).collect();
        Ok(Assignment { claims, addresses })
    }

    fn add(&mut self, new: Requested) {
        match self.addresses.iter_mut().find(|old| old.ip == new.ip) {
            Some(old) => old.prefix = old.prefix.or(new.prefix),
            None => self.addresses.push(new),
        }
    }
}

fn claims_in(range: usize, wishes: &[RequestedAddress]) -> Vec<Claim> {
    if wishes.is_empty() {
        return vec![Claim { range, requested: None }];
    }
    wishes.iter().map(|requested| Claim { range, requested: Some(*requested) }).collect()
}

fn listed(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.filter(|text| !text.is_empty()).into_iter().flat_map(|text| text.split(','))
}

fn texts<'a>(object: &'a Map<String, Value>, name: &str) -> Result<Vec<&'a str>, ConfError> {
    let items = match object.get("ips") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(wrong_type(Place::Network, name, "a list of strings")),
    };
    let all: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
    all.ok_or_else(|| wrong_type(Place::Network, name, "a list of strings"))
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
