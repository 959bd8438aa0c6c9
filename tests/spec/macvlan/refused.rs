//! Input that ADD refuses, and that DEL accepts.

use std::path::Path;

use netlink::{RouteFilter, RouteScope};
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
