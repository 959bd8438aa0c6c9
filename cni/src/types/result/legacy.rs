//! The JSON of versions 0.1.0 and 0.2.0: at most one IPv4 and one IPv6 address, `ip4` and `ip6`, and no interfaces (CNI spec 0.2.0,
//! "Result").

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::modern::to_value;
use super::value::{CniResult, Dns, Ip, Route, empty_is_none, net};
use crate::json;
use crate::types::version::Version;

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    ip4: Option<WireIp>,
    #[serde(default)]
    ip6: Option<WireIp>,
    #[serde(default)]
    dns: Option<Dns>,
}

#[derive(Deserialize)]
struct WireIp {
    #[serde(deserialize_with = "net")]
    ip: IpNet,
    #[serde(default, deserialize_with = "empty_is_none")]
    gateway: Option<IpAddr>,
    #[serde(default)]
    routes: Option<Vec<Route>>,
}

pub(super) fn read(value: &Value) -> Result<CniResult, json::BadValue> {
    let empty = Map::new();
    let wire: Wire = json::decode(value.as_object().unwrap_or(&empty), &["ip4", "ip6", "dns"])?;
    let mut result = CniResult { dns: wire.dns.unwrap_or_default(), ..CniResult::default() };
    for ip in [wire.ip4, wire.ip6].into_iter().flatten() {
        result.ips.push(Ip { interface: None, address: ip.ip, gateway: ip.gateway });
        result.routes.extend(ip.routes.unwrap_or_default());
    }
    Ok(result)
}

/// Writes the first address of each family with all routes of the family; interfaces and further addresses have no place in these
/// versions. `None` if there is no address at all.
pub(super) fn write(result: &CniResult, version: Version) -> Option<Value> {
    let mut object = Map::new();
    object.insert("cniVersion".into(), version.as_str().into());
    for key in ["ip4", "ip6"] {
        if let Some(ip) = result.ips.iter().find(|ip| key_of(ip.address) == key) {
            object.insert(key.into(), ip_value(ip, &result.routes));
        }
    }
    // Only `cniVersion` is there.
    if object.len() == 1 {
        return None;
    }
    object.insert("dns".into(), to_value(&result.dns));
    Some(Value::Object(object))
}

/// The key for an address or a route of this family.
fn key_of(address: IpNet) -> &'static str {
    if address.addr().is_ipv4() { "ip4" } else { "ip6" }
}

fn ip_value(ip: &Ip, routes: &[Route]) -> Value {
    let routes = routes.iter().filter(|route| key_of(route.dst) == key_of(ip.address));
    // MTU, priority and the like came with 1.1.0; `Route::new` leaves them out.
    let routes: Vec<Value> = routes.map(|route| to_value(&Route::new(route.dst, route.gw))).collect();
    let mut object = Map::new();
    object.insert("ip".into(), ip.address.to_string().into());
    if let Some(gateway) = ip.gateway {
        object.insert("gateway".into(), gateway.to_string().into());
    }
    if !routes.is_empty() {
        object.insert("routes".into(), Value::Array(routes));
    }
    Value::Object(object)
}
