//! What only ours promises: a failure leaves nothing, errors say what to do, and keys that upstream does not know work.

use std::path::Path;

use cni::Code;
use netlink::test_util::{Testbed, read_sysctl};
use netlink::{LinkKind, RouteFilter};
use serde_json::{Value, json};
use tests::driver::{Subject, merged};

use crate::macvlan::conf::with_ipam;
use crate::support::ipam::scripted;
use crate::support::{Bench, Place, nothing_is_left, without};

#[test]
fn a_failing_ipam_leaves_no_link() {
    let bench = Bench::new();
    for ipam in
        [json!({"type": "host-local"}), json!({"type": "no-such-ipam"}), json!({"type": "../../bin/sh"})]
    {
        bench
            .call()
            .run(&Subject::ours(), "ADD", &merged(&bench.conf("1.0.0", Place::Host), json!({"ipam": ipam})))
            .error();
        nothing_is_left(&bench);
    }
}

#[test]
fn a_route_that_the_kernel_refuses_leaves_no_link_and_no_address() {
    let bench = Bench::new();
    let mut conf = with_ipam(&bench, json!({}));
    conf["ipam"]["routes"] = json!([{"dst": "10.9.0.0/16", "gw": "172.16.0.1"}]);
    let error = bench.call().run(&Subject::ours(), "ADD", &conf).error();
    assert!(error.msg.contains("10.9.0.0/16 via 172.16.0.1"), "{error}");
    nothing_is_left(&bench);
}

#[test]
fn an_interface_name_that_exists_is_refused_and_stays_unchanged() {
    let bench = Bench::new();
    let conf = with_ipam(&bench, json!({}));
    let first = bench.call().run(&Subject::ours(), "ADD", &conf).ok();
    let held = bench.held();
    let mut second = bench.call();
    second.container_id = "spec-2";
    let error = second.run(&Subject::ours(), "ADD", &conf).error();
    assert!(error.msg.contains("net1 already exists"), "{error}");
    assert_eq!(bench.net1().unwrap().mac.unwrap().to_string(), first["interfaces"][0]["mac"]);
    assert_eq!(bench.held(), held);
}

#[test]
fn del_leaves_an_interface_of_another_kind_alone() {
    let bench = Bench::new();
    let peer = bench.lab.peer.socket().unwrap();
    netlink::test_util::create_veth(&bench.pod, "net1", &peer, "other").unwrap();
    bench.call().run(&Subject::ours(), "DEL", &with_ipam(&bench, json!({}))).ok();
    assert!(bench.net1().is_some());
}

#[test]
fn del_succeeds_when_netns_or_master_is_gone() {
    let bench = Bench::new();
    let conf = with_ipam(&bench, json!({}));
    bench.call().run(&Subject::ours(), "ADD", &conf).ok();
    let mut call = bench.call();
    call.netns = Some(Path::new("/run/netns/no-such-namespace"));
    call.run(&Subject::ours(), "DEL", &conf).ok();
    assert!(bench.held().is_empty());
    let master = bench.host.link_by_name(Testbed::MASTER).unwrap().unwrap();
    bench.host.delete_link(&master).unwrap();
    bench.call().run(&Subject::ours(), "DEL", &conf).ok();
    nothing_is_left(&bench);
}

#[test]
fn a_netns_path_that_is_no_namespace_is_code_8() {
    let bench = Bench::new();
    for path in ["/etc/hostname", "/run/netns/none", "/proc/self/ns/mnt"] {
        let mut call = bench.call();
        call.netns = Some(Path::new(path));
        let error = call.run(&Subject::ours(), "ADD", &with_ipam(&bench, json!({}))).error();
        assert_eq!(error.code, Code::InvalidNetns, "{error}");
        assert!(error.msg.contains(path), "{error}");
    }
    nothing_is_left(&bench);
}

#[test]
fn the_error_of_a_missing_master_names_the_existing_links() {
    let bench = Bench::new();
    let error =
        bench.call().run(&Subject::ours(), "ADD", &with_ipam(&bench, json!({"master": "eth9"}))).error();
    assert_eq!(error.code, Code::InvalidConfig);
    assert!(
        error.msg.contains("failed to lookup master \"eth9\"") && error.msg.contains(Testbed::MASTER),
        "{error}"
    );
    nothing_is_left(&bench);
}

#[test]
fn the_first_existing_master_of_a_list_is_used() {
    let bench = Bench::new();
    let master = bench.host.link_by_name(Testbed::MASTER).unwrap().unwrap();
    bench.host.add_address(&master, "198.51.100.7/24".parse().unwrap(), netlink::Dad::Kernel).unwrap();
    for selector in [
        json!(["eth9", Testbed::MASTER]),
        json!([{"mac": "02:ff:ff:ff:ff:ff"}, {"mac": master.mac.unwrap().to_string()}]),
        json!({"subnet": "198.51.100.0/24"}),
    ] {
        let conf = with_ipam(&bench, json!({"master": selector}));
        bench.call().run(&Subject::ours(), "ADD", &conf).ok();
        assert_eq!(bench.net1().unwrap().parent, Some(master.index), "{selector}");
        bench.call().run(&Subject::ours(), "DEL", &conf).ok();
    }
}

#[test]
fn the_error_of_passthru_beside_another_link_names_mode_and_master() {
    let bench = Bench::new();
    bench.call().run(&Subject::ours(), "ADD", &with_ipam(&bench, json!({}))).ok();
    let mut call = bench.call();
    call.if_name = "net2";
    let error = call.run(&Subject::ours(), "ADD", &with_ipam(&bench, json!({"mode": "passthru"}))).error();
    assert!(error.msg.contains("passthru") && error.msg.contains(Testbed::MASTER), "{error}");
    assert_eq!(bench.held().len(), 1);
}

#[test]
fn source_mode_and_the_queue_length_are_set() {
    let bench = Bench::new();
    bench
        .call()
        .run(&Subject::ours(), "ADD", &with_ipam(&bench, json!({"mode": "source", "bcqueuelen": 77})))
        .ok();
    let LinkKind::Macvlan { mode, bc_queue_len, .. } = bench.net1().unwrap().kind else {
        panic!("net1 is no macvlan link")
    };
    assert_eq!((mode, bc_queue_len), (netlink::MacvlanMode::Source, Some(77)));
}

#[test]
fn the_mtu_is_reported_since_1_1_0() {
    let bench = Bench::new();
    let conf = merged(&with_ipam(&bench, json!({})), json!({"cniVersion": "1.1.0"}));
    let result = bench.call().run(&Subject::ours(), "ADD", &conf).ok();
    assert_eq!(result["interfaces"][0]["mtu"], 1400);
    let conf = with_ipam(&bench, json!({}));
    bench.call().run(&Subject::ours(), "DEL", &conf).ok();
    let result = bench.call().run(&Subject::ours(), "ADD", &conf).ok();
    assert!(result["interfaces"][0].get("mtu").is_none());
}

#[test]
fn every_key_of_a_route_is_applied_and_checked() {
    let bench = Bench::new();
    let wanted =
        json!({"dst": "10.8.0.0/16", "mtu": 1300, "advmss": 1200, "priority": 7, "table": 1000, "scope": 0});
    let answer = json!({"cniVersion": "1.1.0", "routes": [wanted],
        "ips": [{"address": "10.1.2.3/24", "gateway": "10.1.2.1"}]});
    // A script answers for IPAM: Debian's static plugin drops the newer keys of routes.
    let ipam = scripted(&bench, &[("ADD", &format!("echo '{answer}'"))]);
    let conf = merged(&bench.conf("1.1.0", Place::Host), json!({"ipam": ipam}));
    let subject = Subject::ours();
    let result = bench.call().run(&subject, "ADD", &conf).ok();
    assert_eq!(result["routes"], json!([wanted]));
    let routes = bench.pod.routes(RouteFilter { table: Some(1000), dev: None }).unwrap();
    let route = &routes[0];
    assert_eq!((route.mtu, route.advmss, route.priority), (Some(1300), Some(1200), Some(7)));
    assert_eq!(route.gw, Some("10.1.2.1".parse().unwrap()));
    let with_result = merged(&conf, json!({"prevResult": result}));
    bench.call().run(&subject, "CHECK", &with_result).ok();
    bench.pod.delete_route(route).unwrap();
    let error = bench.call().run(&subject, "CHECK", &with_result).error();
    assert!(error.msg.contains("10.8.0.0/16"), "{error}");
}

#[test]
fn check_reports_a_removed_address_a_changed_mac_and_a_missing_link() {
    let bench = Bench::new();
    let conf = with_ipam(&bench, json!({}));
    let result = bench.call().run(&Subject::ours(), "ADD", &conf).ok();
    let with_result = merged(&conf, json!({"prevResult": result}));
    let link = bench.net1().unwrap();
    let net = bench.addresses_of_net1()[0].parse().unwrap();
    let check = |conf: &Value| bench.call().run(&Subject::ours(), "CHECK", conf);
    check(&with_result).ok();
    assert!(
        check(&merged(&with_result, json!({"mode": "vepa"})))
            .error()
            .msg
            .contains("does not match expected value")
    );
    let mut other = with_result.clone();
    other["prevResult"]["interfaces"][0]["mac"] = json!("02:00:00:00:00:99");
    assert!(check(&other).error().msg.contains("02:00:00:00:00:99"));
    other["prevResult"]["interfaces"][0]["sandbox"] = json!("/elsewhere");
    assert!(check(&other).error().msg.contains("doesn't match configured netns"));
    assert_eq!(check(&conf).error().msg, "required prevResult missing");
    bench.pod.delete_address(&link, net).unwrap();
    assert!(check(&with_result).error().msg.contains(&net.to_string()));
    bench.pod.delete_link(&link).unwrap();
    assert!(check(&with_result).error().msg.contains("interface net1 is missing"));
}

#[test]
fn a_route_without_gateway_uses_that_of_the_address_and_passes_check() {
    let bench = Bench::new();
    let mut conf = with_ipam(&bench, json!({}));
    conf["ipam"]["routes"] = json!([{"dst": "10.9.0.0/16"}]);
    let result = bench.call().run(&Subject::ours(), "ADD", &conf).ok();
    let link = bench.net1().unwrap();
    let routes = bench.pod.routes(RouteFilter { dev: Some(link.index), table: None }).unwrap();
    let route = routes.iter().find(|r| r.dst.to_string() == "10.9.0.0/16").unwrap();
    assert_eq!(route.gw, Some("10.1.2.1".parse().unwrap()));
    bench.call().run(&Subject::ours(), "CHECK", &merged(&conf, json!({"prevResult": result}))).ok();
}

#[test]
fn a_host_address_and_dual_stack_pass_check() {
    let bench = Bench::new();
    let ipam = bench.static_ipam(&["10.1.2.3/32", "fd00::3/64"]);
    let conf = merged(&bench.conf("1.0.0", Place::Host), json!({"ipam": ipam, "nodad": true}));
    bench.call().round_trip(&Subject::ours(), &conf);
    nothing_is_left(&bench);
}

#[test]
fn ipv6_is_off_without_an_ipv6_address_and_advertisements_are_ignored_with_one() {
    let bench = Bench::new();
    let pod = bench.lab.pod.netns();
    let sysctl = |key| read_sysctl(pod, &format!("ipv6/conf/net1/{key}")).unwrap();
    let conf = with_ipam(&bench, json!({}));
    bench.call().run(&Subject::ours(), "ADD", &conf).ok();
    assert_eq!((sysctl("disable_ipv6"), sysctl("accept_ra")), (1, 0));
    bench.call().run(&Subject::ours(), "DEL", &conf).ok();
    let with_ra = with_ipam(&bench, json!({"acceptRA": true}));
    bench.call().run(&Subject::ours(), "ADD", &with_ra).ok();
    assert_eq!((sysctl("disable_ipv6"), sysctl("accept_ra")), (0, 2));
    bench.call().run(&Subject::ours(), "DEL", &with_ra).ok();
    let ipam = bench.static_ipam(&["fd00::3/64"]);
    let v6 = merged(&bench.conf("1.0.0", Place::Host), json!({"ipam": ipam}));
    bench.call().run(&Subject::ours(), "ADD", &v6).ok();
    assert_eq!((sysctl("disable_ipv6"), sysctl("accept_ra"), sysctl("autoconf")), (0, 0, 0));
    let addresses = bench.pod.addresses(&bench.net1().unwrap()).unwrap();
    assert!(addresses.iter().any(|address| address.net.to_string() == "fd00::3/64"), "{addresses:?}");
    assert!(addresses.iter().all(|address| !address.tentative), "{addresses:?}");
}

#[test]
fn status_fails_when_the_master_is_missing() {
    let bench = Bench::new();
    let conf = merged(&with_ipam(&bench, json!({})), json!({"cniVersion": "1.1.0"}));
    assert!(bench.call().run(&Subject::ours(), "STATUS", &conf).ok().is_null());
    let error =
        bench.call().run(&Subject::ours(), "STATUS", &merged(&conf, json!({"master": "eth9"}))).error();
    assert_eq!(error.code, Code::NotAvailable);
    bench.call().run(&Subject::ours(), "GC", &conf).ok();
    // Without a master, an earlier plugin of the chain may provide it.
    bench.call().run(&Subject::ours(), "STATUS", &without(&conf, "master")).ok();
}

#[test]
fn the_error_without_master_and_default_route_says_what_to_do() {
    let bench = Bench::new();
    let conf = without(&with_ipam(&bench, json!({})), "master");
    let error = bench.call().run(&Subject::ours(), "ADD", &conf).error();
    assert_eq!(
        (error.msg.as_str(), error.details.as_str()),
        ("no default route interface found", "name the interface by the key \"master\"")
    );
}

#[test]
fn a_hundred_adds_at_once_all_succeed_and_leave_nothing_after_del() {
    let bench = Bench::new();
    let subject = Subject::ours();
    let pods: Vec<_> = (0..100).map(|_| netlink::test_util::NamedNetns::new().unwrap()).collect();
    let conf = with_ipam(&bench, json!({}));
    let verb_on_all = |verb: &str| {
        std::thread::scope(|scope| {
            for (n, pod) in pods.iter().enumerate() {
                let (bench, subject, conf) = (&bench, &subject, &conf);
                scope.spawn(move || {
                    let id = format!("many-{n}");
                    let mut call = bench.call();
                    call.container_id = &id;
                    call.netns = Some(pod.path());
                    call.run(subject, verb, conf).ok();
                });
            }
        });
    };
    verb_on_all("ADD");
    assert_eq!(bench.held().len(), 100);
    verb_on_all("DEL");
    assert!(bench.held().is_empty());
    for pod in &pods {
        assert_eq!(pod.socket().unwrap().link_by_name("net1").unwrap(), None);
    }
}
