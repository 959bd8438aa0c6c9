//! The JSON of versions 0.3.0 to 1.1.0: `interfaces`, `ips`, `routes`, `dns` (CNI spec 1.1.0, section 5, "ADD Success").
//!
//! 0.3.0 to 0.4.0 have `version` ("4" or "6") in each address; 1.0.0 dropped it. 1.1.0 added `mtu`, `socketPath` and `pciID`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::value::{CniResult, Dns, Interface, Ip, Route};
use crate::json;
use crate::types::version::Version;

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    interfaces: Option<Vec<Option<Interface>>>,
    #[serde(default)]
    ips: Option<Vec<Ip>>,
    #[serde(default)]
    routes: Option<Vec<Route>>,
    #[serde(default)]
    dns: Option<Dns>,
}

pub(super) fn read(value: &Value) -> Result<CniResult, json::BadValue> {
    let empty = Map::new();
    let wire: Wire =
        json::decode(value.as_object().unwrap_or(&empty), &["interfaces", "ips", "routes", "dns"])?;
    // A null interface stays as an empty one: addresses refer to interfaces by index.
    let interfaces = wire.interfaces.unwrap_or_default().into_iter().map(Option::unwrap_or_default).collect();
    Ok(CniResult {
        interfaces,
        ips: wire.ips.unwrap_or_default(),
        routes: wire.routes.unwrap_or_default(),
        dns: wire.dns.unwrap_or_default(),
    })
}

pub(super) fn write(result: &CniResult, version: Version) -> Value {
    let mut object = Map::new();
    object.insert("cniVersion".into(), version.as_str().into());
    let interfaces: Vec<Interface> = result.interfaces.iter().map(|i| fit(i, version)).collect();
    insert_list(&mut object, "interfaces", &interfaces);
    let ips: Vec<Value> = result.ips.iter().map(|ip| ip_value(ip, version)).collect();
    insert_list(&mut object, "ips", &ips);
    insert_list(&mut object, "routes", &result.routes);
    let is_old = version <= Version::V0_4_0;
    // Go's types print an empty `dns` up to 0.4.0, and omit it from 1.0.0 on.
    if is_old || !result.dns.is_empty() {
        object.insert("dns".into(), to_value(&result.dns));
    }
    // Go prints the members in the order of its struct up to 0.4.0, and sorted by name from 1.0.0 on, where it encodes a map.
    if is_old { Value::Object(object) } else { json::sorted(Value::Object(object)) }
}

/// Leaves out the fields that came with 1.1.0 where `version` is older.
fn fit(interface: &Interface, version: Version) -> Interface {
    if version >= Version::V1_1_0 {
        return interface.clone();
    }
    Interface {
        name: interface.name.clone(),
        mac: interface.mac.clone(),
        sandbox: interface.sandbox.clone(),
        ..Interface::default()
    }
}

fn ip_value(ip: &Ip, version: Version) -> Value {
    let value = to_value(ip);
    if version > Version::V0_4_0 {
        return value;
    }
    // Up to 0.4.0 each address names its family, as the first member.
    let family = if ip.address.addr().is_ipv4() { "4" } else { "6" };
    let mut object = Map::new();
    object.insert("version".into(), family.into());
    if let Value::Object(members) = value {
        object.extend(members);
    }
    Value::Object(object)
}

fn insert_list<T: Serialize>(object: &mut Map<String, Value>, key: &str, items: &[T]) {
    if !items.is_empty() {
        object.insert(key.into(), Value::Array(items.iter().map(to_value).collect()));
    }
}

/// The JSON form. It always exists: these types hold only strings, numbers and lists.
pub(super) fn to_value<T: Serialize>(item: &T) -> Value {
    serde_json::to_value(item).unwrap_or_default()
}
