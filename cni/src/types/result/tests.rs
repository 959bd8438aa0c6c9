use super::*;
use crate::Version;
use serde_json::Value;
use serde_json::json;

fn full() -> CniResult {
    let interface = Interface {
        name: "net1".into(),
        mac: "02:00:00:00:00:01".into(),
        mtu: 1400,
        sandbox: "/run/netns/a".into(),
        socket_path: "/s".into(),
        pci_id: "0000:00:01.0".into(),
    };
    let route = Route {
        table: Some(0),
        scope: Some(0),
        mtu: 1300,
        ..Route::new("10.9.1.2/16".parse().unwrap(), None)
    };
    CniResult {
        interfaces: vec![interface],
        ips: vec![
            Ip {
                interface: Some(0),
                address: "10.1.2.3/24".parse().unwrap(),
                gateway: Some("10.1.2.1".parse().unwrap()),
            },
            Ip { interface: Some(0), address: "fd00::3/64".parse().unwrap(), gateway: None },
        ],
        routes: vec![route, Route::new("::/0".parse().unwrap(), Some("fd00::1".parse().unwrap()))],
        dns: Dns { nameservers: vec!["10.0.0.2".into()], ..Dns::default() },
    }
}

fn printed(result: &CniResult, version: Version) -> String {
    result.to_raw(version).unwrap().value().to_string()
}

#[test]
fn v1_1_0_has_every_field_in_sorted_order() {
    assert_eq!(
        printed(&full(), Version::V1_1_0),
        concat!(
            r#"{"cniVersion":"1.1.0","dns":{"nameservers":["10.0.0.2"]},"#,
            r#""interfaces":[{"mac":"02:00:00:00:00:01","mtu":1400,"name":"net1","pciID":"0000:00:01.0","sandbox":"/run/netns/a","socketPath":"/s"}],"#,
            r#""ips":[{"address":"10.1.2.3/24","gateway":"10.1.2.1","interface":0},{"address":"fd00::3/64","interface":0}],"#,
            r#""routes":[{"dst":"10.9.1.2/16","mtu":1300,"scope":0,"table":0},{"dst":"::/0","gw":"fd00::1"}]}"#
        )
    );
}

#[test]
fn v0_3_1_names_the_family_and_keeps_struct_order() {
    assert_eq!(
        printed(&full(), Version::V0_3_1),
        concat!(
            r#"{"cniVersion":"0.3.1","interfaces":[{"name":"net1","mac":"02:00:00:00:00:01","sandbox":"/run/netns/a"}],"#,
            r#""ips":[{"version":"4","interface":0,"address":"10.1.2.3/24","gateway":"10.1.2.1"},{"version":"6","interface":0,"address":"fd00::3/64"}],"#,
            r#""routes":[{"dst":"10.9.1.2/16","mtu":1300,"table":0,"scope":0},{"dst":"::/0","gw":"fd00::1"}],"#,
            r#""dns":{"nameservers":["10.0.0.2"]}}"#
        )
    );
}

#[test]
fn v0_2_0_has_one_address_per_family_with_its_routes() {
    assert_eq!(
        printed(&full(), Version::V0_2_0),
        concat!(
            r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.1.2.3/24","gateway":"10.1.2.1","routes":[{"dst":"10.9.1.2/16"}]},"#,
            r#""ip6":{"ip":"fd00::3/64","routes":[{"dst":"::/0","gw":"fd00::1"}]},"dns":{"nameservers":["10.0.0.2"]}}"#
        )
    );
}

#[test]
fn empty_dns_is_printed_up_to_0_4_0_only() {
    let empty = CniResult::default();
    assert_eq!(printed(&empty, Version::V0_4_0), r#"{"cniVersion":"0.4.0","dns":{}}"#);
    assert_eq!(printed(&empty, Version::V1_0_0), r#"{"cniVersion":"1.0.0"}"#);
}

#[test]
fn a_result_without_addresses_cannot_be_written_before_0_3_0() {
    let error = CniResult::default().to_raw(Version::V0_2_0).unwrap_err();
    assert_eq!(error.to_string(), "cannot convert: no valid IP addresses");
}

#[test]
fn every_version_reads_back_what_it_wrote() {
    for &version in Version::ALL {
        let raw = full().to_raw(version).unwrap();
        let again = raw.parse().unwrap().to_raw(version).unwrap();
        assert_eq!(raw, again, "{version}");
    }
}

#[test]
fn a_result_without_version_has_the_version_of_the_conf() {
    let raw = RawResult::from_value(json!({"ip4": {"ip": "10.0.0.2/8"}}), Version::V0_2_0).unwrap();
    assert_eq!(raw.version(), Version::V0_2_0);
    let raw = raw.to_version(Version::V1_0_0).unwrap();
    assert_eq!(raw.value(), &json!({"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.2/8"}]}));
}

#[test]
fn a_null_result_is_empty() {
    let raw = RawResult::from_value(Value::Null, Version::V1_0_0).unwrap();
    assert_eq!(raw.parse().unwrap(), CniResult::default());
}

#[test]
fn unknown_versions_and_malformed_results_are_errors() {
    let unknown = RawResult::from_value(json!({"cniVersion": "7.0.0"}), Version::V1_0_0).unwrap_err();
    assert_eq!(unknown.to_string(), "unsupported CNI result version \"7.0.0\"");
    for bad in [
        json!({"ips": 3}),
        json!({"ips": [{"address": "banana"}]}),
        json!({"ips": [{}]}),
        json!({"interfaces": "x"}),
    ] {
        let raw = RawResult::from_value(bad.clone(), Version::V1_0_0).unwrap();
        assert!(matches!(raw.parse(), Err(ResultError::Malformed { .. })), "{bad}");
    }
    assert!(RawResult::from_value(json!("x"), Version::V1_0_0).is_err());
}

#[test]
fn nulls_and_empty_gateways_are_absent() {
    let value = json!({"cniVersion": "0.4.0", "interfaces": [null, {"name": "a"}], "dns": null,
        "ips": [{"version": "4", "interface": null, "address": "10.0.0.2/8", "gateway": ""}], "routes": null});
    let result = RawResult::from_value(value, Version::V0_4_0).unwrap().parse().unwrap();
    assert_eq!(result.interfaces.len(), 2);
    assert_eq!(result.ips[0].gateway, None);
    assert!(result.dns.is_empty());
}

#[test]
fn a_route_without_gateway_gets_the_first_gateway_of_its_family() {
    let routes = full().routes_with_gateways();
    assert_eq!(routes[0].gw, Some("10.1.2.1".parse().unwrap()));
    assert_eq!(routes[1].gw, Some("fd00::1".parse().unwrap()));
    let mut bare = full();
    bare.ips[0].gateway = None;
    assert_eq!(bare.routes_with_gateways()[0].gw, None);
}

#[test]
fn a_result_on_one_interface_has_all_addresses_on_it() {
    let interface = Interface { name: "net1".into(), ..Interface::default() };
    let made = full().on_interface(interface.clone(), &Dns::default());
    assert_eq!(made.interfaces, std::slice::from_ref(&interface));
    assert!(made.ips.iter().all(|ip| ip.interface == Some(0)));
    assert_eq!((made.routes, made.dns), (full().routes, full().dns));
    let of_conf = Dns { nameservers: vec!["10.0.0.53".into()], ..Dns::default() };
    assert_eq!(full().on_interface(interface, &of_conf).dns, of_conf);
}

#[test]
fn a_later_result_comes_after_the_earlier_one_and_changes_no_index() {
    let named = |name: &str| Interface { name: name.into(), ..Interface::default() };
    let dns = |server: &str, domain: &str| Dns {
        nameservers: vec!["10.0.0.53".into(), server.into()],
        domain: domain.into(),
        ..Dns::default()
    };
    let previous = CniResult {
        interfaces: vec![named("eth0"), named("br0")],
        ips: vec![Ip {
            interface: Some(1),
            address: "192.0.2.9/24".parse().unwrap(),
            gateway: "192.0.2.1".parse().ok(),
        }],
        routes: vec![Route::new("198.51.100.0/24".parse().unwrap(), None)],
        dns: dns("10.0.0.54", "first"),
    };
    let ours = full().on_interface(named("net1"), &dns("10.0.0.55", "second"));
    let joined = ours.clone().after(previous.clone());
    let names: Vec<&str> = joined.interfaces.iter().map(|interface| interface.name.as_str()).collect();
    assert_eq!(names, ["eth0", "br0", "net1"]);
    assert_eq!(joined.ips[0], previous.ips[0]);
    assert!(joined.ips[1..].iter().all(|ip| ip.interface == Some(2)));
    assert_eq!(joined.routes[0], previous.routes[0]);
    // The gateway of our own address, although the earlier plugin's is now the first of the family.
    assert_eq!(joined.routes[1..], ours.routes_with_gateways());
    assert_eq!(joined.dns.nameservers, ["10.0.0.53", "10.0.0.54", "10.0.0.55"]);
    assert_eq!(joined.dns.domain, "first");
}
