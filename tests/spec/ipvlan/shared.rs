//! What ours and the Go plugin have in common. The Go plugin's own tests use version 1.0.0 only.

use netlink::test_util::Testbed;
use netlink::{IpvlanFlag, IpvlanMode, RouteFilter};
use serde_json::json;
use tests::driver::{Subject, merged};

use crate::ipvlan::support::{conf, direct, kind_of_net1};
use crate::support::{Bench, Place, address_of, nothing_is_left, on_a_bench, path_text, without};

/// Runs `test` for ours in every version, for ours with the master in the pod, and for the Go plugin in the version of its tests.
fn for_each(test: impl Fn(&Bench, &Subject, &str, Place)) {
    let ours = Subject::ours();
    let in_versions = ours.versions.iter().map(|version| (Subject::ours(), *version, Place::Host));
    let others =
        [(Subject::ours(), "1.0.0", Place::Container), (Subject::go(), "1.0.0", Place::HostByDefault)];
    for (subject, version, place) in in_versions.chain(others) {
        on_a_bench(&subject, version, place, &test);
    }
}

/// Cases I1 and I2.
#[test]
fn add_creates_the_link_with_address_and_route_check_accepts_it_and_del_removes_it() {
    for_each(|bench, subject, version, place| {
        let conf = merged(
            &bench.conf(version, place),
            json!({"type": "ipvlan", "mode": "l2", "ipam": bench.host_local()}),
        );
        let call = if version == "1.1.0" { bench.call() } else { direct(bench) };
        let result = call.run(subject, "ADD", &conf).ok();
        let link = bench.net1().unwrap();
        assert_eq!(kind_of_net1(bench), (IpvlanMode::L2, IpvlanFlag::Bridge));
        assert_eq!((link.mtu, link.up), (1400, true));
        assert_eq!(bench.addresses_of_net1(), [address_of(&result)]);
        let routes = bench.pod.routes(RouteFilter { dev: Some(link.index), table: None }).unwrap();
        let gateway = Some("10.1.2.1".parse().unwrap());
        assert!(routes.iter().any(|r| r.dst.to_string() == "10.9.0.0/16" && r.gw == gateway), "{routes:?}");
        if version >= "0.3.0" {
            let interface = &result["interfaces"][0];
            assert_eq!(interface["name"], "net1");
            assert_eq!(interface["mac"], json!(link.mac.unwrap().to_string()));
            assert_eq!(interface["sandbox"], json!(path_text(bench.lab.pod.path())));
            assert_eq!(result["ips"][0]["interface"], 0);
        }
        let with_result = merged(&conf, json!({"prevResult": result}));
        if version >= "0.4.0" {
            call.run(subject, "CHECK", &with_result).ok();
        }
        call.run(subject, "DEL", &with_result).ok();
        nothing_is_left(bench);
        call.run(subject, "DEL", &with_result).ok();
    });
}

/// Case I3.
#[test]
fn in_a_chain_the_master_and_the_addresses_come_from_the_prev_result() {
    let cases = [
        (Place::Host, Testbed::MASTER),
        (Place::HostByDefault, Testbed::MASTER),
        (Place::Container, "inner0"),
    ];
    for (place, master) in cases {
        for subject in Subject::all() {
            if subject.name == "go" && matches!(place, Place::Container) {
                continue;
            }
            let bench = Bench::new();
            let previous = json!({
                "cniVersion": "1.0.0",
                "interfaces": [{"name": master}],
                "ips": [{"address": "10.1.2.2/24", "gateway": "10.1.2.1", "interface": 0}],
                "routes": [{"dst": "10.9.0.0/16", "gw": "10.1.2.1"}],
            });
            let conf = without(&merged(&bench.conf("1.0.0", place), json!({"type": "ipvlan"})), "master");
            let chained = merged(&conf, json!({"prevResult": previous}));
            let result = direct(&bench).run(&subject, "ADD", &chained).ok();
            assert_eq!(bench.addresses_of_net1(), ["10.1.2.2/24"], "{}", subject.name);
            assert_eq!(result["interfaces"].as_array().unwrap().len(), 1);
            assert_eq!(result["interfaces"][0]["name"], "net1");
            assert_eq!(result["routes"], previous["routes"]);
            let routes = bench.pod.routes(RouteFilter { table: None, dev: None }).unwrap();
            assert!(routes.iter().any(|r| r.dst.to_string() == "10.9.0.0/16"));
            // CHECK of the Go plugin needs the master's name although its ADD does not.
            let mut with_result = merged(&conf, json!({"prevResult": result}));
            if subject.name == "go" {
                with_result["master"] = json!(master);
            }
            direct(&bench).run(&subject, "CHECK", &with_result).ok();
            direct(&bench).run(&subject, "DEL", &chained).ok();
            nothing_is_left(&bench);
        }
    }
}

/// Case I4.
#[test]
fn del_without_an_earlier_add_succeeds() {
    for subject in Subject::all() {
        let bench = Bench::new();
        direct(&bench).run(&subject, "DEL", &conf(&bench, json!({}))).ok();
    }
}

#[test]
fn del_without_netns_releases_the_address() {
    for subject in Subject::all() {
        let bench = Bench::new();
        let conf = conf(&bench, json!({}));
        direct(&bench).run(&subject, "ADD", &conf).ok();
        let mut call = direct(&bench);
        call.netns = None;
        call.run(&subject, "DEL", &conf).ok();
        assert_eq!(bench.held(), Vec::<String>::new(), "{}", subject.name);
    }
}

/// Case I5.
#[test]
fn without_a_master_the_interface_of_the_default_route_is_used() {
    for subject in Subject::all() {
        let bench = Bench::new();
        let conf = without(&conf(&bench, json!({})), "master");
        let error = direct(&bench).run(&subject, "ADD", &conf).error();
        assert!(error.msg.starts_with("no default route interface found"), "{error}");
        let master = bench.host.link_by_name(Testbed::MASTER).unwrap().unwrap();
        bench.host.add_address(&master, "192.0.2.1/24".parse().unwrap(), netlink::Dad::Kernel).unwrap();
        let route = netlink::Route {
            gw: Some("192.0.2.254".parse().unwrap()),
            ..netlink::Route::new("0.0.0.0/0".parse().unwrap())
        };
        bench.host.add_route(&route).unwrap();
        direct(&bench).run(&subject, "ADD", &conf).ok();
        assert_eq!(bench.net1().unwrap().parent, Some(master.index), "{}", subject.name);
    }
}

#[test]
fn every_mode_works_and_an_unknown_one_is_refused() {
    for subject in Subject::all() {
        for mode in ["l2", "l3", "l3s"] {
            let bench = Bench::new();
            direct(&bench).run(&subject, "ADD", &conf(&bench, json!({"mode": mode}))).ok();
            assert_eq!(kind_of_net1(&bench).0.to_string(), mode, "{}", subject.name);
        }
        let bench = Bench::new();
        let error = direct(&bench).run(&subject, "ADD", &conf(&bench, json!({"mode": "banana"}))).error();
        assert_eq!(error.msg, "unknown ipvlan mode: \"banana\"", "{}", subject.name);
    }
}

#[test]
fn a_prev_result_without_exactly_one_named_interface_is_refused() {
    for subject in Subject::all() {
        let bench = Bench::new();
        let conf = without(&conf(&bench, json!({})), "master");
        for interfaces in [json!([]), json!([{"name": "a"}, {"name": "b"}]), json!([{"name": ""}])] {
            let previous = json!({"cniVersion": "1.0.0", "interfaces": interfaces});
            let error =
                direct(&bench).run(&subject, "ADD", &merged(&conf, json!({"prevResult": previous}))).error();
            assert_eq!(error.msg, "chained master failure. PrevResult lacks a single named interface");
        }
        nothing_is_left(&bench);
    }
}

#[test]
fn version_and_missing_variables_are_answered_like_gos() {
    let bench = Bench::new();
    for subject in Subject::all() {
        let reply = direct(&bench).run_raw(&subject, "ipvlan", "VERSION", b"").ok();
        assert_eq!(reply["supportedVersions"], json!(subject.versions), "{}", subject.name);
        let mut call = direct(&bench);
        call.netns = None;
        let error = call.run_raw(&subject, "ipvlan", "ADD", b"{}").error();
        assert_eq!(
            (error.code.number(), error.msg.as_str()),
            (4, "required env variables [CNI_NETNS] missing")
        );
        let error = direct(&bench).run_raw(&subject, "ipvlan", "ADD", b"banana").error();
        assert_eq!(error.code.number(), 6);
    }
}
