//! Versions 0.1.0 and 0.2.0: at most one IPv4 and one IPv6 address, `ip4` and `ip6`.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::modern::to_value;
use super::{CniResult, Dns, Ip, ResultError, Route, empty_is_none};
use crate::{Version, json};

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
    ip: IpNet,
    #[serde(default, deserialize_with = "empty_is_none")]
    gateway: Option<IpAddr>,
    #[serde(default)]
    routes: Option<Vec<Route>>,
}

pub(super) fn read(value: &Value) -> Result<CniResult, serde_json::Error> {
    let empty = Map::new();
    let wire: Wire = json::decode(value.as_object().unwrap_or(&empty), &["ip4", "ip6", "dns"])?;
    let mut result = CniResult { dns: wire.dns.unwrap_or_default(), ..CniResult::default() };
    for ip in [wire.ip4, wire.ip6].into_iter().flatten() {
        result.ips.push(Ip { interface: None, address: ip.ip, gateway: ip.gateway });
        result.routes.extend(ip.routes.unwrap_or_default());
    }
    Ok(result)
}

pub(super) fn write(result: &CniResult, version: Version) -> Result<Value, ResultError> {
    let mut object = Map::new();
    object.insert("cniVersion".into(), version.as_str().into());
    for (key, is_v4) in [("ip4", true), ("ip6", false)] {
        if let Some(ip) = result.ips.iter().find(|ip| ip.address.addr().is_ipv4() == is_v4) {
            object.insert(key.into(), ip_value(ip, &result.routes));
        }
    }
    if object.len() == 1 {
        return Err(ResultError::NoAddresses);
    }
    object.insert("dns".into(), to_value(&result.dns));
    Ok(Value::Object(object))
}

fn ip_value(ip: &Ip, routes: &[Route]) -> Value {
    let is_v4 = ip.address.addr().is_ipv4();
    let routes = routes.iter().filter(|route| route.dst.addr().is_ipv4() == is_v4);
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
