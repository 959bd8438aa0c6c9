//! Results in each version's form: the cases of the reference implementation's packages `types/020`, `types/040` and `types/100`.

use cni::Version;
use cni::result::{CniResult, RawResult, ResultError};
use serde_json::{Value, json};

fn raw(value: Value) -> RawResult {
    RawResult::from_value(value, Version::V0_1_0).unwrap()
}

fn converted(value: Value, version: &str) -> Value {
    raw(value).to_version(version.parse().unwrap()).unwrap().value().clone()
}

/// What a result of any version can hold: an address of each family, with gateways and routes.
fn both_families(version: &str) -> Value {
    json!({
        "cniVersion": version,
        "ip4": {"ip": "1.2.3.30/24", "gateway": "1.2.3.1",
            "routes": [{"dst": "15.5.6.0/24", "gw": "15.5.6.8"}]},
        "ip6": {"ip": "abcd:1234:ffff::cdde/64", "gateway": "abcd:1234:ffff::1",
            "routes": [{"dst": "1111:dddd::/80", "gw": "1111:dddd::aaaa"}]},
        "dns": {"nameservers": ["1.2.3.4", "1::cafe"], "domain": "acompany.com",
            "search": ["somedomain.com", "otherdomain.net"], "options": ["foo", "bar"]},
    })
}

/// The same in the form of 0.3.0 and later, with an interface.
fn with_interface(version: &str) -> Value {
    let family = |family: &str| (version < "1.0.0").then(|| json!(family));
    let ip = |number: &str, address: &str, gateway: &str| {
        let mut ip = json!({"interface": 0, "address": address, "gateway": gateway});
        if let Some(family) = family(number) {
            ip["version"] = family;
        }
        ip
    };
    json!({
        "cniVersion": version,
        "interfaces": [{"name": "eth0", "mac": "00:11:22:33:44:55", "sandbox": "/proc/3553/ns/net"}],
        "ips": [ip("4", "1.2.3.30/24", "1.2.3.1"), ip("6", "abcd:1234:ffff::cdde/64", "abcd:1234:ffff::1")],
        "routes": [{"dst": "15.5.6.0/24", "gw": "15.5.6.8"}, {"dst": "1111:dddd::/80", "gw": "1111:dddd::aaaa"}],
        "dns": both_families(version)["dns"],
    })
}

/// The same with every key that only 1.1.0 has.
fn newest() -> Value {
    let mut result = with_interface("1.1.0");
    result["interfaces"][0]["mtu"] = json!(1500);
    result["interfaces"][0]["pciID"] = json!("8086:9a01");
    result["interfaces"][0]["socketPath"] = json!("/path/to/vhost/fd");
    result["routes"][0] = json!({"dst": "15.5.6.0/24", "gw": "15.5.6.8", "mtu": 1300, "advmss": 1200,
        "priority": 5, "table": 50, "scope": 253});
    result
}

#[test]
fn t020_encodes_0_2_0_and_0_1_0() {
    for version in ["0.2.0", "0.1.0"] {
        let result = raw(both_families(version)).parse().unwrap();
        let written = result.to_raw(version.parse().unwrap()).unwrap();
        assert_eq!(written.value(), &both_families(version));
    }
}

#[test]
fn t020_converts_both_ways_between_0_1_0_and_0_2_0() {
    for (from, to) in [("0.1.0", "0.2.0"), ("0.2.0", "0.1.0")] {
        assert_eq!(converted(both_families(from), to), both_families(to));
    }
}

#[test]
fn t020_an_empty_cni_version_means_the_confs() {
    let mut result = both_families("0.2.0");
    for version in [json!(""), Value::Null] {
        result["cniVersion"] = version;
        let read = RawResult::from_value(result.clone(), Version::V0_2_0).unwrap();
        assert_eq!(read.value(), &both_families("0.2.0"));
    }
    assert_eq!(raw(result).version(), Version::V0_1_0);
}

#[test]
fn t040_encodes_0_3_0_0_3_1_and_0_4_0() {
    for version in ["0.3.0", "0.3.1", "0.4.0"] {
        let written = raw(with_interface(version)).parse().unwrap().to_raw(version.parse().unwrap());
        assert_eq!(written.unwrap().value(), &with_interface(version));
    }
}

#[test]
fn t040_encodes_0_1_0() {
    assert_eq!(converted(with_interface("0.4.0"), "0.1.0"), both_families("0.1.0"));
}

#[test]
fn t040_a_0_2_0_result_with_route_gateways_survives_a_round_trip() {
    let there = converted(both_families("0.2.0"), "0.4.0");
    assert_eq!(there["routes"], with_interface("0.4.0")["routes"]);
    assert_eq!(there["ips"][1]["version"], "6");
    assert_eq!(converted(there, "0.2.0"), both_families("0.2.0"));
}

#[test]
fn t040_a_0_2_0_result_without_route_gateways_survives_a_round_trip() {
    let mut bare = both_families("0.2.0");
    bare["ip4"]["routes"] = json!([{"dst": "15.5.6.0/24"}]);
    bare["ip6"]["routes"] = json!([{"dst": "1111:dddd::/80"}]);
    let there = converted(bare.clone(), "0.4.0");
    assert_eq!(there["routes"], json!([{"dst": "15.5.6.0/24"}, {"dst": "1111:dddd::/80"}]));
    assert_eq!(converted(there, "0.2.0"), bare);
}

#[test]
fn t040_t100_interface_index_0_is_written_and_a_missing_one_is_not() {
    for (version, family) in [("0.4.0", json!({"version": "4"})), ("1.0.0", json!({})), ("1.1.0", json!({}))]
    {
        for index in [json!({"interface": 0}), json!({})] {
            let mut ip = json!({"address": "10.1.2.3/24"});
            for part in [&family, &index] {
                ip.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
            }
            let result = raw(json!({"cniVersion": version, "ips": [ip.clone()]})).parse().unwrap();
            assert_eq!(result.ips[0].interface, index.get("interface").map(|_| 0));
            assert_eq!(result.to_raw(version.parse().unwrap()).unwrap().value()["ips"][0], ip);
        }
    }
}

#[test]
fn t040_a_result_without_addresses_cannot_become_0_2_0() {
    for from in ["0.3.0", "0.4.0", "1.0.0", "1.1.0"] {
        for to in [Version::V0_1_0, Version::V0_2_0] {
            let result = raw(json!({"cniVersion": from, "interfaces": [{"name": "eth0"}]}));
            let error = result.to_version(to).unwrap_err();
            assert!(matches!(error, ResultError::NoAddresses), "{error}");
            assert_eq!(error.to_string(), "cannot convert: no valid IP addresses");
        }
    }
}

#[test]
fn t040_a_malformed_result_is_refused() {
    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        for bad in
            [json!({"ips": {}}), json!({"ips": ["x"]}), json!({"routes": [{"dst": 7}]}), json!({"dns": 7})]
        {
            let mut result = bad.clone();
            result["cniVersion"] = json!(version);
            assert!(matches!(raw(result).parse(), Err(ResultError::Malformed { .. })), "{version} {bad}");
        }
    }
    for bad in [json!({"ip4": {}}), json!({"ip4": {"ip": "banana"}}), json!({"ip6": []})] {
        assert!(matches!(raw(bad.clone()).parse(), Err(ResultError::Malformed { .. })), "{bad}");
    }
}

#[test]
fn t100_encodes_1_1_0_with_mtu_pci_id_and_socket_path() {
    let written = raw(newest()).parse().unwrap().to_raw(Version::V1_1_0).unwrap();
    assert_eq!(written.value(), &newest());
}

#[test]
fn t100_a_1_0_0_result_becomes_a_1_1_0_one() {
    assert_eq!(converted(with_interface("1.0.0"), "1.1.0"), with_interface("1.1.0"));
}

#[test]
fn t100_encodes_0_1_0_without_the_newer_keys() {
    for version in ["1.0.0", "1.1.0"] {
        assert_eq!(converted(with_interface(version), "0.1.0"), both_families("0.1.0"), "{version}");
    }
    assert_eq!(converted(newest(), "0.1.0"), both_families("0.1.0"));
}

#[test]
fn t100_encodes_0_4_0_with_the_newer_keys_of_routes() {
    assert_eq!(converted(with_interface("1.0.0"), "0.4.0"), with_interface("0.4.0"));
    let mut wanted = with_interface("0.4.0");
    wanted["routes"] = newest()["routes"].clone();
    assert_eq!(converted(newest(), "0.4.0"), wanted);
}

/// libcni only replaces the version, so its result of 1.0.0 has keys that 1.0.0 does not define.
#[test]
fn t100_a_1_1_0_result_as_1_0_0_drops_the_newer_keys_of_interfaces() {
    let written = converted(newest(), "1.0.0");
    assert_eq!(written["interfaces"], with_interface("1.0.0")["interfaces"]);
}

#[test]
fn t100_every_version_converts_to_every_other_without_changing_addresses_and_routes() {
    let meaning = |raw: &RawResult| CniResult { interfaces: Vec::new(), ..raw.parse().unwrap() };
    let without_place = |result: CniResult| {
        let ips = result.ips.into_iter().map(|ip| cni::result::Ip { interface: None, ..ip }).collect();
        CniResult { ips, ..result }
    };
    for &from in Version::ALL {
        let original = raw(with_interface("1.0.0")).to_version(from).unwrap();
        for &to in Version::ALL {
            let there = original.to_version(to).unwrap();
            assert_eq!(there.value()["cniVersion"], to.as_str());
            assert_eq!(without_place(meaning(&there)), without_place(meaning(&original)), "{from} to {to}");
        }
    }
}

#[test]
fn a_result_of_an_unknown_version_is_refused() {
    for version in ["0.0.1", "1.2.0", "banana", "1.0"] {
        let error = RawResult::from_value(json!({"cniVersion": version}), Version::V1_0_0).unwrap_err();
        assert_eq!(error.to_string(), format!("unsupported CNI result version {version:?}"));
    }
}
