use cni::Version;
use cni::names::IfName;
use cni::result::{CniResult, RawResult};
use nad::{NetworkStatus, render};
use serde_json::{Map, Value, json};

use super::*;
use crate::plan::{Delegate, Role, RouteEdit};
use crate::request::AttachmentRequest;

/// The planned network `label` on `net1`.
fn delegate(label: &str, role: Role) -> Delegate {
    let network = crate::network::Network { label: label.into(), ..crate::testing::network("net", "1.0.0") };
    Delegate {
        network,
        role,
        if_name: IfName::parse("net1").unwrap(),
        request: AttachmentRequest::default(),
        capability_args: Map::new(),
        route_edit: RouteEdit::default(),
    }
}

fn parsed(version: Version, result: Value) -> CniResult {
    RawResult::from_value(result, version).unwrap().parse().unwrap()
}

fn entries_of(version: Version, role: Role, result: Value) -> Vec<NetworkStatus> {
    entries(&delegate("default/net", role), &parsed(version, result), None)
}

/// The gateways in the status of a result whose routes are changed.
fn gateways_after(edit: RouteEdit, result: Value) -> Vec<String> {
    let delegate = Delegate { route_edit: edit, ..delegate("default/net", Role::Additional) };
    entries(&delegate, &parsed(Version::V1_0_0, result), None).remove(0).gateway
}

/// `interface mac mtu ips default gateways` of each entry.
fn shown(role: Role, result: Value) -> Vec<String> {
    let text = |e: &NetworkStatus| {
        let default = if e.default { " default" } else { "" };
        format!("{} [{}] via [{}]{default}", e.interface, e.ips.join(" "), e.gateway.join(" "))
    };
    entries_of(Version::V1_0_0, role, result).iter().map(text).collect()
}

fn kindnet() -> Value {
    json!({"interfaces": [{"name": "eth0", "mac": "02:42:ac:11:00:02", "sandbox": "/run/netns/x"}],
        "ips": [{"version": "4", "interface": 0, "address": "10.244.1.5/24", "gateway": "10.244.1.1"}],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.244.1.1"}], "dns": {}})
}

const GOLDEN: &str = r#"[{
    "name": "kindnet",
    "interface": "eth0",
    "ips": [
        "10.244.1.5"
    ],
    "mac": "02:42:ac:11:00:02",
    "default": true,
    "dns": {},
    "gateway": [
        "10.244.1.1"
    ]
},{
    "name": "default/macvlan-conf",
    "interface": "net1",
    "ips": [
        "10.1.1.11"
    ],
    "mac": "c2:b0:57:49:47:f1",
    "dns": {}
}]"#;

#[test]
fn the_annotation_has_upstreams_bytes_for_each_version_with_interfaces() {
    let macvlan = json!({"interfaces": [{"name": "net1", "mac": "c2:b0:57:49:47:f1", "sandbox": "/run/netns/x"}],
        "ips": [{"version": "4", "interface": 0, "address": "10.1.1.11/24"}]});
    for version in [Version::V0_3_0, Version::V0_3_1, Version::V0_4_0, Version::V1_0_0, Version::V1_1_0] {
        let mut all = entries(&delegate("kindnet", Role::Default), &parsed(version, kindnet()), None);
        let macvlan = parsed(version, macvlan.clone());
        all.extend(entries(&delegate("default/macvlan-conf", Role::Additional), &macvlan, None));
        assert_eq!(render(&all).unwrap(), GOLDEN, "{version}");
    }
}

#[test]
fn an_entry_has_the_mtu_name_resolution_device_and_gateways_of_the_result() {
    let result = json!({"interfaces": [{"name": "net1", "mac": "02:00:00:00:00:01", "mtu": 1400, "sandbox": "/x"}],
        "ips": [{"address": "fd00::1/64"}], "routes": [{"dst": "::/0", "gw": "fd00::ff"}],
        "dns": {"nameservers": ["1.1.1.1"], "domain": "d", "search": ["s"], "options": ["o"]}});
    let result = parsed(Version::V1_1_0, result);
    let device = json!({"type": "pci"}).as_object().cloned();
    let want = NetworkStatus {
        name: "n".into(),
        interface: "net1".into(),
        ips: vec!["fd00::1".into()],
        mac: "02:00:00:00:00:01".into(),
        mtu: 1400,
        default: true,
        dns: nad::Dns {
            nameservers: vec!["1.1.1.1".into()],
            domain: "d".into(),
            search: vec!["s".into()],
            options: vec!["o".into()],
        },
        device_info: device.clone(),
        gateway: vec!["fd00::ff".into()],
    };
    assert_eq!(entries(&delegate("n", Role::Default), &result, device), [want]);
}

#[test]
fn a_result_without_interfaces_has_an_entry_for_the_interface_of_the_plan() {
    let old = json!({"ip4": {"ip": "10.90.0.25/24", "routes": [{"dst": "0.0.0.0/0", "gw": "10.90.0.1"}]}, "dns": {"domain": "d"}});
    let want = NetworkStatus {
        name: "default/net".into(),
        interface: "net1".into(),
        ips: vec!["10.90.0.25".into()],
        dns: nad::Dns { domain: "d".into(), ..nad::Dns::default() },
        gateway: vec!["10.90.0.1".into()],
        ..NetworkStatus::default()
    };
    for version in [Version::V0_1_0, Version::V0_2_0] {
        assert_eq!(entries_of(version, Role::Additional, old.clone()), std::slice::from_ref(&want));
        assert!(entries_of(version, Role::Default, old.clone())[0].default);
    }
    let ips = json!({"ips": [{"address": "10.0.0.1/8"}, {"address": "fd00::1/64"}]});
    assert_eq!(shown(Role::Additional, ips), ["net1 [10.0.0.1 fd00::1] via []"]);
}

#[test]
fn interfaces_of_the_host_alone_have_an_entry_for_the_interface_of_the_plan() {
    let result =
        json!({"interfaces": [{"name": "br0"}, {"name": "veth1"}], "ips": [{"address": "10.0.0.1/8"}]});
    assert_eq!(shown(Role::Default, result), ["net1 [10.0.0.1] via [] default"]);
}

#[test]
fn a_result_of_nothing_has_neither_entry_nor_event() {
    let nothing = json!({"dns": {"domain": "d"}, "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}]});
    assert_eq!(entries_of(Version::V1_0_0, Role::Default, nothing), []);
    assert_eq!(entries_of(Version::V1_0_0, Role::Default, json!({})), []);
    assert_eq!(render::<nad::NetworkStatus>(&[]), None);
}

#[test]
fn a_single_interface_outside_the_pod_is_shown_with_its_addresses_but_without_its_name() {
    let result = json!({"interfaces": [{"name": "cali1", "mac": "ee:ee:ee:ee:ee:ee"}], "ips": [{"address": "10.0.0.1/32"}, {"address": "fd00::1/128"}]});
    assert_eq!(shown(Role::Default, result.clone()), [" [10.0.0.1 fd00::1] via [] default"]);
    let text = render(&entries_of(Version::V1_0_0, Role::Additional, result)).unwrap();
    assert_eq!(
        text,
        "[{\n    \"name\": \"default/net\",\n    \"ips\": [\n        \"10.0.0.1\",\n        \"fd00::1\"\n    ],\n    \"dns\": {}\n}]"
    );
}

#[test]
fn each_of_several_interfaces_in_the_pod_has_an_entry_with_its_addresses() {
    let result = json!({"interfaces": [{"name": "veth1"}, {"name": "eth0", "sandbox": "/x"}, {"name": "eth1", "sandbox": "/x"}],
        "ips": [{"interface": 1, "address": "10.0.0.1/8"}, {"address": "10.0.0.3/8"}, {"interface": 2, "address": "10.0.0.2/8"}, {"interface": 0, "address": "10.0.0.9/8"}],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.254"}]});
    assert_eq!(
        shown(Role::Additional, result.clone()),
        ["eth0 [10.0.0.1] via [10.0.0.254]", "eth1 [10.0.0.3 10.0.0.2] via [10.0.0.254]"]
    );
    assert_eq!(shown(Role::Default, result)[0], "eth0 [10.0.0.1] via [10.0.0.254] default");
}

#[test]
fn the_default_interface_is_that_of_the_first_address_with_a_gateway() {
    let result = |index: usize| {
        json!({"interfaces": [{"name": "veth1"}, {"name": "eth0", "sandbox": "/x"}, {"name": "eth1", "sandbox": "/x"}],
            "ips": [{"interface": 1, "address": "10.0.0.1/8"}, {"interface": index, "address": "10.0.0.2/8", "gateway": "10.0.0.254"}]})
    };
    let defaults = |index| -> Vec<bool> {
        entries_of(Version::V1_0_0, Role::Default, result(index)).iter().map(|e| e.default).collect()
    };
    assert_eq!(defaults(2), [false, true]);
    assert_eq!(defaults(1), [true, false]);
    assert_eq!(defaults(0), [false, false]);
}

#[test]
fn gateways_are_those_of_default_routes_only() {
    let result = json!({"interfaces": [{"name": "eth0", "sandbox": "/x"}], "routes": [
        {"dst": "0.0.0.0/0", "gw": "10.0.0.1"}, {"dst": "0.0.0.0/1", "gw": "10.0.0.2"}, {"dst": "::/0"}, {"dst": "::/0", "gw": "fd00::1"}]});
    assert_eq!(shown(Role::Additional, result), ["eth0 [] via [10.0.0.1 fd00::1]"]);
}

fn one_interface(ips: Value, routes: Value) -> Value {
    json!({"interfaces": [{"name": "net1", "sandbox": "/x"}], "ips": ips, "routes": routes})
}

#[test]
fn a_default_route_without_a_gateway_has_that_of_the_first_address_of_its_family() {
    let ips = json!([{"address": "fd00::2/64", "gateway": "fd00::1"}, {"address": "10.0.0.2/8"},
        {"address": "10.1.0.2/16", "gateway": "10.1.0.1"}, {"address": "10.2.0.2/16", "gateway": "10.2.0.1"}]);
    for (routes, want) in [
        (json!([{"dst": "0.0.0.0/0"}]), vec!["10.1.0.1"]),
        (json!([{"dst": "::/0"}, {"dst": "0.0.0.0/0", "gw": "10.9.0.1"}]), vec!["fd00::1", "10.9.0.1"]),
        (json!([{"dst": "0.0.0.0/0", "scope": 0}]), vec!["10.1.0.1"]),
        (json!([{"dst": "0.0.0.0/0", "scope": 253}]), vec![]),
        (json!([{"dst": "10.0.0.0/8"}]), vec![]),
    ] {
        let got = gateways_after(RouteEdit::default(), one_interface(ips.clone(), routes.clone()));
        assert_eq!(got, want, "{routes}");
    }
    let without = json!([{"address": "10.0.0.2/8"}]);
    let got = gateways_after(RouteEdit::default(), one_interface(without, json!([{"dst": "0.0.0.0/0"}])));
    assert_eq!(got, [""; 0]);
}

#[test]
fn the_gateways_are_those_after_the_change_of_the_default_routes() {
    let routes = json!([{"dst": "0.0.0.0/0", "gw": "10.244.0.1"}, {"dst": "::/0", "gw": "fd00::1"}]);
    let v4 = |gateways: &[&str]| RouteEdit {
        drop_v4: true,
        drop_v6: false,
        gateways: gateways.iter().map(|g| g.parse().unwrap()).collect(),
        keep: Vec::new(),
    };
    let result = || one_interface(json!([{"address": "10.0.0.2/8"}]), routes.clone());
    assert_eq!(gateways_after(v4(&[]), result()), ["fd00::1"]);
    assert_eq!(gateways_after(v4(&["10.90.0.1"]), result()), ["fd00::1", "10.90.0.1"]);
    let both = RouteEdit { drop_v6: true, ..v4(&[]) };
    assert_eq!(gateways_after(both, result()), [""; 0]);
}
