//! Results of ADD, as values and in each version's JSON (CNI spec 1.1.0, "ADD Success").

mod legacy;
mod modern;

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Version, json};

/// What ADD made, in the shape of the newest version. Older versions are conversions of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CniResult {
    /// The interfaces made, in and outside the container.
    pub interfaces: Vec<Interface>,
    /// The addresses given.
    pub ips: Vec<Ip>,
    /// The routes set, or to be set by who delegated.
    pub routes: Vec<Route>,
    /// Name servers for the container.
    pub dns: Dns,
}

/// One interface of a result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its hardware address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Its MTU in bytes; spec 1.1.0 only.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mtu: u32,
    /// The path of the network namespace it is in; empty for the host's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sandbox: String,
    /// The path of a socket of it; spec 1.1.0 only.
    #[serde(default, rename = "socketPath", skip_serializing_if = "String::is_empty")]
    pub socket_path: String,
    /// The id of its PCI device; spec 1.1.0 only.
    #[serde(default, rename = "pciID", skip_serializing_if = "String::is_empty")]
    pub pci_id: String,
}

/// One address of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// The place in [`CniResult::interfaces`] of the interface that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
    /// The address with its prefix length; host bits are kept.
    pub address: IpNet,
    /// The default gateway of its subnet.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "empty_is_none")]
    pub gateway: Option<IpAddr>,
}

/// One route of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where it leads; host bits are kept.
    pub dst: IpNet,
    /// By way of; absent: the gateway of the address family.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "empty_is_none")]
    pub gw: Option<IpAddr>,
    /// MTU in bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mtu: u32,
    /// TCP maximal segment size in bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub advmss: u32,
    /// Metric.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: u32,
    /// Routing table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// Scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u8>,
}

impl Route {
    /// A route that has only a destination and, perhaps, a gateway.
    pub fn new(dst: IpNet, gw: Option<IpAddr>) -> Self {
        Route { dst, gw, mtu: 0, advmss: 0, priority: 0, table: None, scope: None }
    }
}

/// Name resolution for the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Addresses of name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub domain: String,
    /// Domains to search.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub search: Vec<String>,
    /// Options of the resolver.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub options: Vec<String>,
}

impl Dns {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Dns::default()
    }

    /// Both, without repetitions; `previous` is asked first and its domain stands.
    fn after(self, previous: Dns) -> Dns {
        let joined = |mut first: Vec<String>, second: Vec<String>| {
            for entry in second {
                if !first.contains(&entry) {
                    first.push(entry);
                }
            }
            first
        };
        Dns {
            nameservers: joined(previous.nameservers, self.nameservers),
            domain: if previous.domain.is_empty() { self.domain } else { previous.domain },
            search: joined(previous.search, self.search),
            options: joined(previous.options, self.options),
        }
    }
}

/// A result as JSON, with the version it is in: what plugins hand to each other unread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawResult {
    version: Version,
    value: Value,
}

/// Why JSON is not a result, or a result has no form in a version.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    /// Its `cniVersion` is none of the spec.
    #[error("unsupported CNI result version {version:?}")]
    UnsupportedVersion {
        /// What was found.
        version: String,
    },
    /// It is not shaped as a result of its version.
    #[error("result of CNI version {version} cannot be read: {source}")]
    Malformed {
        /// The version it was read as.
        version: Version,
        /// Where it is wrong.
        source: serde_json::Error,
    },
    /// Versions before 0.3.0 cannot say that there is no address.
    #[error("cannot convert: no valid IP addresses")]
    NoAddresses,
}

impl RawResult {
    /// Takes `value` as a result. `null` is an empty one; one without `cniVersion` has `version`, that of the configuration.
    pub fn from_value(value: Value, version: Version) -> Result<RawResult, ResultError> {
        let mut object = match value {
            Value::Object(object) => object,
            Value::Null => Map::new(),
            other => {
                let source = serde::de::Error::custom(format!("expected an object, found {other}"));
                return Err(ResultError::Malformed { version, source });
            }
        };
        json::fold_keys(&mut object, &["cniVersion"]);
        let version = match object.get("cniVersion").and_then(Value::as_str) {
            None | Some("") => version,
            Some(text) => {
                text.parse().map_err(|_| ResultError::UnsupportedVersion { version: text.to_owned() })?
            }
        };
        object.insert("cniVersion".to_owned(), Value::String(version.as_str().to_owned()));
        Ok(RawResult { version, value: Value::Object(object) })
    }

    /// The version it is in.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The JSON object.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Reads it.
    pub fn parse(&self) -> Result<CniResult, ResultError> {
        let malformed = |source| ResultError::Malformed { version: self.version, source };
        if self.version <= Version::V0_2_0 {
            legacy::read(&self.value).map_err(malformed)
        } else {
            modern::read(&self.value).map_err(malformed)
        }
    }

    /// The same result in another version; untouched where it has that version already.
    pub fn to_version(&self, version: Version) -> Result<RawResult, ResultError> {
        if version == self.version {
            return Ok(self.clone());
        }
        self.parse()?.to_raw(version)
    }
}

impl CniResult {
    /// What IPAM answered, as the result of a plugin that made one interface and gave it all the addresses. The name servers of
    /// the conf, if it has any, go before those of IPAM.
    #[must_use]
    pub fn on_interface(mut self, interface: Interface, dns: &Dns) -> Self {
        self.interfaces = vec![interface];
        for ip in &mut self.ips {
            ip.interface = Some(0);
        }
        if !dns.is_empty() {
            self.dns = dns.clone();
        }
        self
    }

    /// This result as that of a later plugin of a chain: all that `previous` has comes first and keeps its place. Routes without a
    /// gateway are given theirs now, because beside the addresses of others the gateway of their family would be another one.
    #[must_use]
    pub fn after(mut self, previous: CniResult) -> Self {
        let shift = previous.interfaces.len();
        self.routes = self.routes_with_gateways();
        for ip in &mut self.ips {
            ip.interface = ip.interface.map(|place| place + shift);
        }
        CniResult {
            interfaces: [previous.interfaces, self.interfaces].concat(),
            ips: [previous.ips, self.ips].concat(),
            routes: [previous.routes, self.routes].concat(),
            dns: self.dns.after(previous.dns),
        }
    }

    /// The routes, those without a gateway given that of the first address of their family that has one.
    pub fn routes_with_gateways(&self) -> Vec<Route> {
        let gateway_of = |route: &Route| {
            let is_family = |gateway: &IpAddr| gateway.is_ipv4() == route.dst.addr().is_ipv4();
            self.ips.iter().filter_map(|ip| ip.gateway).find(is_family)
        };
        let filled = |route: &Route| Route { gw: route.gw.or_else(|| gateway_of(route)), ..route.clone() };
        self.routes.iter().map(filled).collect()
    }

    /// The result in the JSON form of `version`: key order, omissions and all.
    pub fn to_raw(&self, version: Version) -> Result<RawResult, ResultError> {
        let value = match version {
            Version::V0_1_0 | Version::V0_2_0 => legacy::write(self, version)?,
            _ => modern::write(self, version),
        };
        Ok(RawResult { version, value })
    }
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Go prints an absent address as "" in places; both mean none.
fn empty_is_none<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<IpAddr>, D::Error> {
    let text = Option::<String>::deserialize(from)?.unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| serde::de::Error::custom(format!("{text:?} is not an IP address")))
}

fn null_is_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
