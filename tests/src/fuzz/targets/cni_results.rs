//! Results, also those in `prevResult` and in the cache, and error objects.

use cni::cache::{Cache, Key};
use cni::check;
use cni::conf::NetConf;
use cni::env::Attachment;
use cni::names::{ContainerId, IfName, NetworkName};
use cni::result::{CniResult, RawResult, ResultError};
use cni::{CniError, Version};
use serde_json::Value;

use super::super::{is_interface_name, is_network_name, put, same};

/// A result in any version; the first byte selects the version of the conf. The result survives a round trip in each version.
pub fn cni_result(bytes: &[u8]) {
    let Some((choice, text)) = bytes.split_first() else { return };
    let version = Version::ALL[usize::from(*choice) % Version::ALL.len()];
    let Ok(value) = serde_json::from_slice::<Value>(text) else { return };
    let Ok(raw) = RawResult::from_value(value, version) else { return };
    let Ok(result) = raw.parse() else { return };
    let unchanged = raw.to_version(raw.version()).expect("a result has its own version");
    assert_eq!(unchanged, raw);
    written_in_every_version(&result);
    let newest = result.to_raw(Version::CURRENT).expect("the newest version can represent every result");
    assert_eq!(
        newest.parse().expect("the newest version can be read"),
        result,
        "nothing is lost in the newest version"
    );
    for route in result.routes_with_gateways() {
        let fits = |gateway: std::net::IpAddr| gateway.is_ipv4() == route.dst.addr().is_ipv4();
        assert!(
            route.gw.is_none_or(|gw| fits(gw) || result.routes.iter().any(|r| r.gw == Some(gw))),
            "{route:?}"
        );
    }
}

fn written_in_every_version(result: &CniResult) {
    for &version in Version::ALL {
        let raw = match result.to_raw(version) {
            Ok(raw) => raw,
            Err(ResultError::NoAddresses) => {
                assert!(version <= Version::V0_2_0 && result.ips.is_empty(), "{version}: {result:?}");
                continue;
            }
            Err(other) => panic!("{version}: {other}"),
        };
        assert_eq!(raw.value()["cniVersion"], version.as_str());
        let text = cni::json::pretty(raw.value());
        let value = serde_json::from_str(&text).expect("the printed result is JSON");
        let read = RawResult::from_value(value, Version::V0_1_0).expect("it names its version");
        assert_eq!(read, raw);
        let again = read.parse().unwrap_or_else(|e| panic!("{version}: {e}: {text}"));
        assert_eq!(again.to_raw(version).expect("the addresses are kept"), raw);
    }
}

/// A conf with `prevResult`: CHECK compares the attachment's own interface and its own addresses.
pub fn cni_prev_result(bytes: &[u8]) {
    let Ok(conf) = NetConf::parse(bytes) else { return };
    let Ok(Some(result)) = conf.prev_result() else { return };
    written_in_every_version(&result);
    let attachment =
        Attachment { container_id: container_id(), if_name: interface(), netns: "/run/netns/pod".into() };
    let Ok(own) = check::own(&attachment, &result) else { return };
    assert_eq!((own.interface.name.as_str(), own.interface.sandbox.as_str()), ("net1", "/run/netns/pod"));
    let place = result.interfaces.iter().position(|i| i.name == "net1").expect("it is among them");
    let on = |interface: Option<usize>| result.ips.iter().filter(|ip| ip.interface == interface).count();
    let possible = on(Some(place))..=on(Some(place)) + on(None);
    assert!(possible.contains(&own.addresses.len()), "{:?} of {result:?}", own.addresses);
    let is_own = |net: &ipnet::IpNet| {
        result.ips.iter().any(|ip| ip.address == *net && ip.interface.is_none_or(|i| i == place))
    };
    assert!(own.addresses.iter().all(is_own), "{:?} of {result:?}", own.addresses);
}

/// An error object survives a round trip in any version.
pub fn cni_error(bytes: &[u8]) {
    let Some(error) = CniError::from_json(bytes) else { return };
    for &version in Version::ALL {
        let text = error.to_json(version);
        assert_eq!(CniError::from_json(text.as_bytes()).as_ref(), Some(&error), "{text}");
        let object: Value = serde_json::from_str(&text).expect("an error object is JSON");
        assert_eq!(object["cniVersion"], version.as_str());
        assert_eq!(object["code"], error.code.number());
    }
}

/// A file of the result cache: its content survives a round trip, and no container gets another one's attachment.
pub fn cni_cache(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = Cache::new(folder.path());
    let network = NetworkName::parse("net-a").expect("a name");
    let key = Key { network, container_id: container_id(), if_name: interface() };
    put(&folder.path().join("net-a-c1-net1"), bytes);
    for key in cache.of_container(&key.container_id) {
        let key = key.expect("the file is smaller than the limit");
        assert_eq!(key.container_id.as_str(), "c1");
        assert!(is_network_name(key.network.as_str()) && is_interface_name(key.if_name.as_str()), "{key:?}");
    }
    let Some(entry) = cache.read(&key).expect("the file is smaller than the limit") else { return };
    cache.write(&key, &entry).expect("an entry can be written");
    let again = cache.read(&key).expect("and read again").expect("and it is an entry");
    assert_eq!((&again.config, &again.netns, &again.args), (&entry.config, &entry.netns, &entry.args));
    assert!(same(&Value::Object(again.capability_args), &Value::Object(entry.capability_args)));
    assert!(same(&again.result.unwrap_or_default(), &entry.result.unwrap_or_default()));
    let found: Result<Vec<Key>, _> = cache.of_container(&key.container_id).into_iter().collect();
    assert_eq!(found.expect("the file can be read"), std::slice::from_ref(&key));
    cache.remove(&key).expect("an entry can be removed");
    assert!(cache.read(&key).expect("no file is no error").is_none());
}

fn container_id() -> ContainerId {
    ContainerId::parse("c1").expect("an id")
}

fn interface() -> IfName {
    IfName::parse("net1").expect("a name")
}
