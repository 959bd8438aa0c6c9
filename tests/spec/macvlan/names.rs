//! Unusual requests of a runtime: interface names, numbers, keys in any case, repeated verbs.

use cni::Code;
use netlink::test_util::{Testbed, create_veth};
use serde_json::json;
use tests::driver::{Subject, merged};

use crate::macvlan::conf::with_ipam;
use crate::support::{Bench, Place, nothing_is_left, without};

const POD: &str = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=";

#[test]
fn an_interface_name_of_15_bytes_works_and_one_of_16_is_refused() {
    let bench = Bench::new();
    let ipam = bench.static_ipam(&["10.1.2.3/24", "fd00::3/64"]);
    let conf = with_ipam(&bench, json!({"ipam": ipam, "nodad": true}));
    let mut call = bench.call();
    call.if_name = "fifteen-bytes-x";
    assert_eq!(call.round_trip(&Subject::ours(), &conf)["interfaces"][0]["name"], "fifteen-bytes-x");
    assert_eq!(bench.pod.link_by_name("fifteen-bytes-x").unwrap(), None);
    call.if_name = "sixteen-bytes-xx";
    let error = call.run(&Subject::ours(), "ADD", &conf).error();
    assert_eq!((error.code, error.msg.as_str()), (Code::InvalidEnvironment, "interface name is too long"));
}

#[test]
fn an_interface_name_may_exist_on_the_host() {
    let bench = Bench::new();
    let peer = bench.lab.peer.socket().unwrap();
    let (mine, _) = create_veth(&bench.host, "net1", &peer, "other").unwrap();
    bench.call().round_trip(&Subject::ours(), &with_ipam(&bench, json!({})));
    nothing_is_left(&bench);
    assert_eq!(bench.host.link_by_name("net1").unwrap().unwrap().index, mine.index);
}

#[test]
fn an_mtu_of_0_or_none_means_the_masters() {
    let bench = Bench::new();
    let conf = with_ipam(&bench, json!({"mtu": 0}));
    for conf in [conf.clone(), without(&conf, "mtu")] {
        bench.call().run(&Subject::ours(), "ADD", &conf).ok();
        assert_eq!(bench.net1().unwrap().mtu, 1500);
        bench.call().run(&Subject::ours(), "DEL", &conf).ok();
    }
}

#[test]
fn the_plugin_accepts_keys_in_any_case() {
    let bench = Bench::new();
    let conf = json!({
        "CNIVersion": "1.0.0", "NAME": "spec", "Type": "macvlan", "MASTER": Testbed::MASTER, "MODE": "vepa", "Mtu": 1300,
        "LinkInContainer": false, "Mac": "02:00:5e:00:53:07", "NoDAD": true, "IPAM": bench.host_local(),
    });
    let run = |verb: &str, conf: &serde_json::Value| {
        bench.call().run_raw(&Subject::ours(), "macvlan", verb, conf.to_string().as_bytes())
    };
    let result = run("ADD", &conf).ok();
    assert_eq!(result["interfaces"][0]["mac"], "02:00:5e:00:53:07");
    let link = bench.net1().unwrap();
    assert_eq!(link.mtu, 1300);
    assert!(matches!(link.kind, netlink::LinkKind::Macvlan { mode: netlink::MacvlanMode::Vepa, .. }));
    run("CHECK", &merged(&conf, json!({"PREVRESULT": result}))).ok();
    run("DEL", &conf).ok();
    nothing_is_left(&bench);
}

#[test]
fn a_second_add_of_the_same_attachment_fails_and_leaves_the_first_intact() {
    let bench = Bench::new();
    let conf = with_ipam(&bench, json!({}));
    let result = bench.call().run(&Subject::ours(), "ADD", &conf).ok();
    let held = bench.held();
    let error = bench.call().run(&Subject::ours(), "ADD", &conf).error();
    assert!(error.msg.contains("net1 already exists"), "{error}");
    assert_eq!(bench.held(), held);
    bench.call().run(&Subject::ours(), "CHECK", &merged(&conf, json!({"prevResult": result}))).ok();
    bench.call().run(&Subject::ours(), "DEL", &conf).ok();
    nothing_is_left(&bench);
}

#[test]
fn del_succeeds_three_times_with_and_without_the_result() {
    for version in Subject::ours().versions {
        let bench = Bench::new();
        let conf = merged(&bench.conf(version, Place::Host), json!({"ipam": bench.host_local()}));
        let result = bench.call().run(&Subject::ours(), "ADD", &conf).ok();
        let with_result = merged(&conf, json!({"prevResult": result}));
        for conf in [&with_result, &with_result, &conf] {
            assert!(bench.call().run(&Subject::ours(), "DEL", conf).ok().is_null(), "{version}");
            nothing_is_left(&bench);
        }
    }
}

#[test]
fn ipv4_and_ipv6_addresses_are_set_and_reported_in_every_version() {
    for version in Subject::ours().versions {
        let bench = Bench::new();
        let ipam = json!({"type": "host-local", "dataDir": bench.folder.path(),
            "ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "fd00::/64"}]],
            "routes": [{"dst": "10.9.0.0/16"}, {"dst": "fd09::/48"}]});
        let conf = merged(&bench.conf(version, Place::Host), json!({"ipam": ipam, "nodad": true}));
        let result = bench.call().run(&Subject::ours(), "ADD", &conf).ok();
        let reported = if *version < "0.3.0" {
            [&result["ip4"]["ip"], &result["ip6"]["ip"]]
        } else {
            [&result["ips"][0]["address"], &result["ips"][1]["address"]]
        };
        let mut found = bench.addresses_of_net1();
        found.sort();
        assert_eq!(found, ["10.1.2.2/24", "fd00::2/64"], "{version}");
        assert_eq!(
            reported.map(|address| address.as_str().unwrap()),
            ["10.1.2.2/24", "fd00::2/64"],
            "{version}"
        );
        let filter = netlink::RouteFilter { dev: Some(bench.net1().unwrap().index), table: None };
        let routes = bench.pod.routes(filter).unwrap();
        for (dst, gw) in [("10.9.0.0/16", "10.1.2.1"), ("fd09::/48", "fd00::1")] {
            let route = routes.iter().find(|route| route.dst.to_string() == dst).unwrap();
            assert_eq!(route.gw, Some(gw.parse().unwrap()), "{version}");
        }
        if *version >= "0.4.0" {
            bench.call().run(&Subject::ours(), "CHECK", &merged(&conf, json!({"prevResult": result}))).ok();
        }
        bench.call().run(&Subject::ours(), "DEL", &conf).ok();
        nothing_is_left(&bench);
    }
}

#[test]
fn a_stable_mac_is_the_same_for_a_recreated_pod_and_differs_by_interface() {
    let bench = Bench::new();
    let conf = with_ipam(&bench, json!({"stableMAC": true}));
    let mac = |args: &str, if_name| {
        let mut call = bench.call();
        (call.args, call.if_name) = (args, if_name);
        let result = call.run(&Subject::ours(), "ADD", &conf).ok();
        call.run(&Subject::ours(), "CHECK", &merged(&conf, json!({"prevResult": result}))).ok();
        call.run(&Subject::ours(), "DEL", &conf).ok();
        result["interfaces"][0]["mac"].as_str().unwrap().to_owned()
    };
    let (first, anew) = (format!("{POD}1"), format!("{POD}2"));
    assert_eq!(mac(&first, "net1"), mac(&anew, "net1"));
    assert_ne!(mac(&first, "net1"), mac(&first, "net2"));
    assert_eq!(mac(&format!("{first};MAC=02:00:5e:00:53:01"), "net1"), "02:00:5e:00:53:01");
}

#[test]
fn a_stable_mac_without_a_pods_name_is_refused_and_nothing_is_created() {
    let bench = Bench::new();
    let conf = with_ipam(&bench, json!({"stableMAC": true}));
    let error = bench.call().run(&Subject::ours(), "ADD", &conf).error();
    assert_eq!(error.code, Code::InvalidEnvironment);
    assert!(error.msg.contains("CNI_ARGS has no K8S_POD_NAMESPACE"), "{error}");
    nothing_is_left(&bench);
    // The other verbs do not need the pod's name.
    bench.call().run(&Subject::ours(), "DEL", &conf).ok();
    bench.call().run(&Subject::ours(), "STATUS", &merged(&conf, json!({"cniVersion": "1.1.0"}))).ok();
}
