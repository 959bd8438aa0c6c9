//! What a result can hold, in the shape of the newest version.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The result of ADD in the shape of the newest version. Older versions are converted to and from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CniResult {
    /// The interfaces that the plugins created, inside and outside the container.
    pub interfaces: Vec<Interface>,
    /// The assigned addresses.
    pub ips: Vec<Ip>,
    /// The routes. In the answer of an IPAM plugin: those that the calling plugin must set.
    pub routes: Vec<Route>,
    /// Name servers for the container.
    pub dns: Dns,
}

/// One interface of a result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The interface name.
    #[serde(default)]
    pub name: String,
    /// The hardware address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// The MTU in bytes, 0 if absent; spec 1.1.0 only.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mtu: u32,
    /// The path of the interface's network namespace; empty for the host's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sandbox: String,
    /// The path of the socket of a user-space interface; spec 1.1.0 only.
    #[serde(default, rename = "socketPath", skip_serializing_if = "String::is_empty")]
    pub socket_path: String,
    /// The id of the PCI device; spec 1.1.0 only.
    #[serde(default, rename = "pciID", skip_serializing_if = "String::is_empty")]
    pub pci_id: String,
}

/// One address of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// The index in [`CniResult::interfaces`] of the interface with this address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
    /// The address with its prefix length; host bits are kept.
    #[serde(deserialize_with = "net")]
    pub address: IpNet,
    /// The default gateway of the subnet.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "empty_is_none")]
    pub gateway: Option<IpAddr>,
}

/// One route of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The destination; host bits are kept.
    #[serde(deserialize_with = "net")]
    pub dst: IpNet,
    /// The next hop; if absent, the gateway of the address family.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "empty_is_none")]
    pub gw: Option<IpAddr>,
    /// The MTU in bytes; 0 if absent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mtu: u32,
    /// The maximum TCP segment size in bytes; 0 if absent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub advmss: u32,
    /// The metric; 0 if absent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: u32,
    /// The routing table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// The scope, as a number of rtnetlink(7).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u8>,
}

impl Route {
    /// A route with only a destination and, optionally, a gateway.
    pub fn new(dst: IpNet, gw: Option<IpAddr>) -> Self {
        Route { dst, gw, mtu: 0, advmss: 0, priority: 0, table: None, scope: None }
    }
}

/// Name resolution for the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// The addresses of name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub domain: String,
    /// The search domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub search: Vec<String>,
    /// The resolver options.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub options: Vec<String>,
}

impl Dns {
    /// Whether no field is set.
    pub fn is_empty(&self) -> bool {
        *self == Dns::default()
    }
}

/// Reads an address with its prefix length. The error says so: the usual fault is an address alone.
pub(super) fn net<'de, D: serde::Deserializer<'de>>(from: D) -> Result<IpNet, D::Error> {
    let text = String::deserialize(from)?;
    let error =
        |_| serde::de::Error::custom("not an address with a mask, such as 10.1.2.3/24 or 2001:db8::3/64");
    text.parse().map_err(error)
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Go's `net.IP` prints an absent address as "", so an empty text and a missing key mean the same.
pub(super) fn empty_is_none<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<IpAddr>, D::Error> {
    let text = Option::<String>::deserialize(from)?.unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| serde::de::Error::custom(format!("{text:?} is not an IP address")))
}

/// Go prints an empty list as `null` in places, and reads `null` as empty.
fn null_is_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}
