//! What ours and the Go plugin have in common: cases M1 to M8, and more.

use netlink::test_util::Testbed;
use netlink::{LinkKind, MacvlanMode, RouteFilter};
use serde_json::json;
use tests::driver::{Subject, merged};

use crate::support::{Bench, Place, address_of, for_all, path_text};

#[test]
fn add_creates_the_link_with_address_and_route_and_del_removes_it() {
    for_all(|bench, subject, version, place| {
        let conf = merged(&bench.conf(version, place), json!({"ipam": bench.host_local()}));
        let call = bench.call();
        let result = call.run(subject, "ADD", &conf).ok();
        let link = bench.net1().unwrap();
        assert!(matches!(link.kind, LinkKind::Macvlan { mode: MacvlanMode::Bridge, .. }), "{link:?}");
        assert_eq!((link.mtu, link.up), (1400, true));
        assert_eq!(bench.addresses_of_net1(), [address_of(&result)]);
        let routes = bench.pod.routes(RouteFilter { dev: Some(link.index), table: None }).unwrap();
        assert!(
            routes
                .iter()
                .any(|r| r.dst.to_string() == "10.9.0.0/16" && r.gw == Some("10.1.2.1".parse().unwrap()))
        );
        if version >= "0.3.0" {
            let interface = &result["interfaces"][0];
            assert_eq!(interface["name"], "net1");
            assert_eq!(interface["mac"], json!(link.mac.unwrap().to_string()));
            assert_eq!(interface["sandbox"], json!(path_text(bench.lab.pod.path())));
            assert_eq!(result["ips"][0]["interface"], 0);
        }
        call.run(subject, "DEL", &merged(&conf, json!({"prevResult": result}))).ok();
        assert_eq!((bench.net1(), bench.held()), (None, vec![]));
    });
}

#[test]
fn check_accepts_a_fresh_attachment_and_needs_0_4_0() {
    for_all(|bench, subject, version, place| {
        let conf = merged(&bench.conf(version, place), json!({"ipam": bench.host_local()}));
        let result = bench.call().run(subject, "ADD", &conf).ok();
        let answer = bench.call().run(subject, "CHECK", &merged(&conf, json!({"prevResult": result})));
        if version >= "0.4.0" {
            assert!(answer.ok().is_null());
        } else {
            assert_eq!(answer.error().msg, "config version does not allow CHECK");
        }
    });
}

#[test]
fn del_without_an_earlier_add_succeeds() {
    for_all(|bench, subject, version, place| {
        let conf = merged(&bench.conf(version, place), json!({"ipam": bench.host_local()}));
        bench.call().run(subject, "DEL", &conf).ok();
    });
}

#[test]
fn del_without_netns_releases_the_address() {
    for_all(|bench, subject, version, _| {
        let conf = merged(&bench.conf(version, Place::Host), json!({"ipam": bench.host_local()}));
        bench.call().run(subject, "ADD", &conf).ok();
        let mut call = bench.call();
        call.netns = None;
        call.run(subject, "DEL", &conf).ok();
        assert_eq!(bench.held(), Vec::<String>::new());
    });
}

#[test]
fn an_empty_ipam_creates_a_link_without_addresses() {
    for_all(|bench, subject, version, place| {
        let conf = merged(&bench.conf(version, place), json!({"ipam": {}}));
        let answer = bench.call().run(subject, "ADD", &conf);
        if version < "0.3.0" {
            assert_eq!(answer.error().msg, "cannot convert: no valid IP addresses");
            return;
        }
        assert!(answer.ok().get("ips").is_none());
        assert!(bench.net1().unwrap().up);
        assert!(bench.addresses_of_net1().is_empty());
        bench.call().run(subject, "DEL", &conf).ok();
        assert_eq!(bench.net1(), None);
    });
}

#[test]
fn the_mac_of_cni_args_and_of_runtime_config_is_used() {
    for_all(|bench, subject, version, place| {
        let conf = merged(&bench.conf(version, place), json!({"ipam": bench.host_local()}));
        let mut call = bench.call();
        call.args = "IgnoreUnknown=true;MAC=c2:11:22:33:44:55";
        call.run(subject, "ADD", &conf).ok();
        assert_eq!(bench.net1().unwrap().mac.unwrap().to_string(), "c2:11:22:33:44:55");
        call.run(subject, "DEL", &conf).ok();
        // The reference implementation's tests write the key in this case.
        let conf = merged(&conf, json!({"RuntimeConfig": {"mac": "c2:11:22:33:44:66"}}));
        call.run(subject, "ADD", &conf).ok();
        assert_eq!(bench.net1().unwrap().mac.unwrap().to_string(), "c2:11:22:33:44:66");
    });
}

#[test]
fn without_a_master_the_interface_of_the_default_route_is_used() {
    for subject in Subject::all() {
        for version in subject.versions {
            let bench = Bench::new();
            let mut conf = merged(&bench.conf(version, Place::Host), json!({"ipam": bench.host_local()}));
            conf.as_object_mut().unwrap().remove("master");
            let error = bench.call().run(&subject, "ADD", &conf).error();
            assert!(error.msg.starts_with("no default route interface found"), "{error}");
            let master = bench.host.link_by_name(Testbed::MASTER).unwrap().unwrap();
            bench.host.add_address(&master, "192.0.2.1/24".parse().unwrap(), netlink::Dad::Kernel).unwrap();
            let route = netlink::Route {
                gw: Some("192.0.2.254".parse().unwrap()),
                ..netlink::Route::new("0.0.0.0/0".parse().unwrap())
            };
            bench.host.add_route(&route).unwrap();
            bench.call().run(&subject, "ADD", &conf).ok();
            assert_eq!(bench.net1().unwrap().parent, Some(master.index));
        }
    }
}

#[test]
fn every_mode_that_both_know_works() {
    for subject in Subject::all() {
        for (word, mode) in [
            ("bridge", MacvlanMode::Bridge),
            ("private", MacvlanMode::Private),
            ("vepa", MacvlanMode::Vepa),
            ("passthru", MacvlanMode::Passthru),
        ] {
            let bench = Bench::new();
            let conf =
                merged(&bench.conf("1.0.0", Place::Host), json!({"mode": word, "ipam": bench.host_local()}));
            bench.call().run(&subject, "ADD", &conf).ok();
            let LinkKind::Macvlan { mode: made, .. } = bench.net1().unwrap().kind else {
                panic!("net1 is no macvlan link")
            };
            assert_eq!(made, mode, "{}", subject.name);
        }
    }
}

#[test]
fn an_unknown_mode_an_mtu_above_the_masters_and_a_missing_master_are_refused() {
    for subject in Subject::all() {
        let bench = Bench::new();
        let base = merged(&bench.conf("1.0.0", Place::Host), json!({"ipam": bench.host_local()}));
        for (change, text) in [
            (json!({"mode": "banana"}), "unknown macvlan mode: \"banana\""),
            (json!({"mtu": 9999}), "invalid MTU 9999, must be [0, master MTU(1500)]"),
        ] {
            let error = bench.call().run(&subject, "ADD", &merged(&base, change)).error();
            assert_eq!(error.msg, text, "{}", subject.name);
        }
        bench.call().run(&subject, "ADD", &merged(&base, json!({"master": "nope0"}))).error();
        assert_eq!((bench.net1(), bench.held()), (None, vec![]), "{}", subject.name);
    }
}

#[test]
fn version_and_missing_variables_are_answered_like_gos() {
    let bench = Bench::new();
    for subject in Subject::all() {
        let reply = bench.call().run_raw(&subject, "macvlan", "VERSION", b"").ok();
        let spoken: Vec<&str> =
            reply["supportedVersions"].as_array().unwrap().iter().filter_map(|v| v.as_str()).collect();
        assert_eq!(spoken, subject.versions, "{}", subject.name);
        let mut call = bench.call();
        call.netns = None;
        let error = call.run_raw(&subject, "macvlan", "ADD", b"{}").error();
        assert_eq!(
            (error.code.number(), error.msg.as_str()),
            (4, "required env variables [CNI_NETNS] missing")
        );
        let error = bench.call().run_raw(&subject, "macvlan", "NOPE", br#"{"name":"n"}"#).error();
        assert_eq!((error.code.number(), error.msg.as_str()), (4, "unknown CNI_COMMAND: NOPE"));
        let error = bench.call().run_raw(&subject, "macvlan", "ADD", b"banana").error();
        assert_eq!(error.code.number(), 6);
    }
}
