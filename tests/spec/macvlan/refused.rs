//! Input that ADD refuses, and that DEL accepts.

use std::path::Path;

use cni::Code;
use netlink::test_util::Testbed;
use netlink::{MacvlanMode, MacvlanSpec, RouteFilter, RouteScope};
use serde_json::json;
use tests::driver::{Call, Subject, merged};

use crate::macvlan::conf::with_ipam;
use crate::support::ipam::scripted;
use crate::support::{Bench, Place, nothing_is_left};

#[test]
fn the_error_of_an_invalid_mac_address_names_it_whatever_its_source() {
    for subject in Subject::all() {
        let bench = Bench::new();
        let conf = with_ipam(&bench, json!({}));
        for (more, args) in [
            (json!({"mac": "banana"}), ""),
            (json!({"mac": "02:00:00:00:00:01"}), "IgnoreUnknown=1;MAC=banana"),
            (json!({"runtimeConfig": {"mac": "banana"}}), "MAC=02:00:00:00:00:01"),
        ] {
            let call = Call { args, ..bench.call() };
            let error = call.run(&subject, "ADD", &merged(&conf, more.clone())).error();
            let text = "invalid args banana for MAC addr: ";
            let quoted = "invalid args \"banana\" for MAC addr: ";
            assert!(
                error.msg.starts_with(text) || error.msg.starts_with(quoted),
                "{} {more}: {error}",
                subject.name
            );
            nothing_is_left(&bench);
        }
    }
}

/// A multicast address, and the address of zeros.
#[test]
fn an_impossible_mac_address_fails_add_and_leaves_nothing() {
    let bench = Bench::new();
    for mac in ["01:00:5e:00:00:01", "00:00:00:00:00:00"] {
        bench.call().run(&Subject::ours(), "ADD", &with_ipam(&bench, json!({"mac": mac}))).error();
        nothing_is_left(&bench);
    }
}

/// After a restart of the node the file exists, but no namespace is mounted on it.
#[test]
fn del_with_a_netns_that_is_a_plain_file_releases_the_address() {
    let bench = Bench::new();
    let conf = with_ipam(&bench, json!({}));
    bench.call().run(&Subject::ours(), "ADD", &conf).ok();
    let file = bench.folder.path().join("netns");
    std::fs::File::create(&file).unwrap();
    for path in [&file, Path::new("/proc/self/ns/mnt")] {
        let call = Call { netns: Some(path), ..bench.call() };
        call.run(&Subject::ours(), "DEL", &conf).ok();
        assert_eq!(bench.held(), Vec::<String>::new());
    }
}

#[test]
fn a_route_of_scope_link_has_no_gateway_and_passes_check() {
    let bench = Bench::new();
    let answer = json!({"cniVersion": "1.1.0", "ips": [{"address": "10.1.2.3/24"}],
        "routes": [{"dst": "10.7.0.0/16", "scope": 253}]});
    let ipam = scripted(&bench, &[("ADD", &format!("echo '{answer}'"))]);
    let conf = merged(&bench.conf("1.1.0", Place::Host), json!({"ipam": ipam}));
    let result = bench.call().run(&Subject::ours(), "ADD", &conf).ok();
    let filter = RouteFilter { dev: Some(bench.net1().unwrap().index), table: None };
    let routes = bench.pod.routes(filter).unwrap();
    let route = routes.iter().find(|route| route.dst.to_string() == "10.7.0.0/16").unwrap();
    assert_eq!((route.gw, route.scope), (None, Some(RouteScope::LINK)));
    bench.call().run(&Subject::ours(), "CHECK", &merged(&conf, json!({"prevResult": result}))).ok();
}

#[test]
fn passthru_with_a_requested_mac_address_is_refused_and_the_error_names_its_source() {
    let bench = Bench::new();
    for (more, args, source) in [
        (json!({"mac": "02:00:00:00:00:01"}), "", "mac"),
        (json!({"runtimeConfig": {"mac": "02:00:00:00:00:01"}}), "", "runtimeConfig.mac"),
        (json!({}), "IgnoreUnknown=1;MAC=02:00:00:00:00:01", "CNI_ARGS MAC"),
        (json!({"stableMAC": true}), "K8S_POD_NAMESPACE=n;K8S_POD_NAME=p", "stableMAC"),
    ] {
        let call = Call { args, ..bench.call() };
        let conf = merged(&with_ipam(&bench, json!({"mode": "passthru"})), more);
        let error = call.run(&Subject::ours(), "ADD", &conf).error();
        assert_eq!(error.code.number(), 7, "{error}");
        assert!(error.msg.contains("passthru") && error.msg.contains(source), "{error}");
        nothing_is_left(&bench);
    }
}

#[test]
fn del_with_the_plugins_own_netns_releases_the_address_and_touches_no_link() {
    let bench = Bench::new();
    // The node has a macvlan link with the name of the pod's.
    let master = bench.host.link_by_name(Testbed::MASTER).unwrap().unwrap();
    let spec = MacvlanSpec::new("net1", master.index, MacvlanMode::Bridge);
    bench.host.create_macvlan(&spec, &bench.host).unwrap();
    let conf = with_ipam(&bench, json!({}));
    bench.call().run(&Subject::ours(), "ADD", &conf).ok();
    let own = Call { netns: Some(bench.lab.host.path()), ..bench.call() };
    own.run(&Subject::ours(), "DEL", &conf).ok();
    assert_eq!(bench.held(), Vec::<String>::new());
    assert!(bench.host.link_by_name("net1").unwrap().is_some());
    assert_eq!(own.run(&Subject::ours(), "ADD", &conf).error().code, Code::InvalidNetns);
}

/// 253 is link, 254 is host (rtnetlink(7)).
#[test]
fn a_route_of_scope_link_or_host_gets_no_gateway_of_an_address() {
    let bench = Bench::new();
    for scope in [253, 254] {
        let answer = json!({"cniVersion": "1.1.0", "ips": [{"address": "10.1.2.3/24", "gateway": "10.1.2.1"}],
            "routes": [{"dst": "10.7.0.0/16", "scope": scope}]});
        let ipam = scripted(&bench, &[("ADD", &format!("echo '{answer}'"))]);
        let conf = merged(&bench.conf("1.1.0", Place::Host), json!({"ipam": ipam}));
        let result = bench.call().run(&Subject::ours(), "ADD", &conf).ok();
        let filter = RouteFilter { dev: Some(bench.net1().unwrap().index), table: None };
        let routes = bench.pod.routes(filter).unwrap();
        let route = routes.iter().find(|route| route.dst.to_string() == "10.7.0.0/16").unwrap();
        assert_eq!((route.gw, route.scope), (None, Some(RouteScope(scope))));
        let with_result = merged(&conf, json!({"prevResult": result}));
        bench.call().run(&Subject::ours(), "CHECK", &with_result).ok();
        bench.call().run(&Subject::ours(), "DEL", &with_result).ok();
    }
}

#[test]
fn the_error_of_a_value_of_the_wrong_type_names_key_and_value() {
    let bench = Bench::new();
    for (more, key, value) in [
        (json!({"mtu": "1480"}), "\"mtu\"", "\"1480\""),
        (json!({"mode": 7}), "\"mode\"", "7"),
        (json!({"master": 7}), "\"master\"", "7"),
        (json!({"prevResult": {"ips": [{"address": "10.1.2.3"}]}}), "\"ips[0].address\"", "\"10.1.2.3\""),
    ] {
        let error = bench.call().run(&Subject::ours(), "ADD", &with_ipam(&bench, more)).error();
        assert!(error.msg.contains(key) && error.msg.contains(value), "{error}");
        nothing_is_left(&bench);
    }
}
