//! What only ours promises: CHECK, STATUS, keys that upstream does not know, many ADDs at the same time.

use cni::Code;
use netlink::RouteFilter;
use netlink::test_util::{Testbed, read_sysctl};
use serde_json::{Value, json};
use tests::driver::{Call, Subject, merged};

use crate::endurance::with_retries;
use crate::ipvlan::support::{Neighbour, add, alone, conf, ours, static_conf};
use crate::support::ipam::{counting, scripted};
use crate::support::{Bench, nothing_is_left};

#[test]
fn check_reports_what_was_removed_or_changed() {
    let bench = Bench::new();
    let conf = conf(&bench, json!({}));
    let with_result = merged(&conf, json!({"prevResult": add(&bench, &conf)}));
    let check = |conf: &Value| ours(&bench, "CHECK", conf);
    let message = |conf: &Value| check(conf).error().msg;
    check(&with_result).ok();
    for (change, text) in [
        (json!({"mode": "l3"}), "container ipvlan mode l2 does not match expected value: l3"),
        (json!({"flag": "vepa"}), "container ipvlan flag bridge does not match expected value: vepa"),
    ] {
        assert_eq!(message(&merged(&with_result, change)), text);
    }
    assert!(message(&merged(&with_result, json!({"master": "eth9"}))).contains("eth9"));
    let mut other = with_result.clone();
    other["prevResult"]["interfaces"][0]["sandbox"] = json!("/elsewhere");
    assert!(message(&other).contains("doesn't match configured netns"));
    assert_eq!(message(&conf), "required prevResult missing");
    let link = bench.net1().unwrap();
    let net = bench.addresses_of_net1()[0].parse().unwrap();
    bench.pod.delete_address(&link, net).unwrap();
    assert!(message(&with_result).contains(&net.to_string()));
    bench.pod.delete_link(&link).unwrap();
    assert!(message(&with_result).contains("interface net1 is missing"));
}

#[test]
fn every_key_of_a_route_is_applied_and_checked_in_its_table() {
    let bench = Bench::new();
    // A script answers for IPAM: Debian's static plugin drops the newer keys of routes.
    let answer = json!({"cniVersion": "1.1.0", "ips": [{"address": "10.1.2.3/24", "gateway": "10.1.2.1"}],
        "routes": [{"dst": "10.8.0.0/16", "mtu": 1300, "advmss": 1200, "priority": 7, "table": 1000}]});
    let ipam = scripted(&bench, &[("ADD", &format!("echo '{answer}'"))]);
    let conf = conf(&bench, json!({"cniVersion": "1.1.0", "ipam": ipam}));
    let run = |verb: &str, conf: &Value| bench.call().run(&Subject::ours(), verb, conf);
    let result = run("ADD", &conf).ok();
    assert_eq!(result["interfaces"][0]["mtu"], 1400);
    let routes = bench.pod.routes(RouteFilter { table: Some(1000), dev: None }).unwrap();
    let route = &routes[0];
    assert_eq!((route.mtu, route.advmss, route.priority), (Some(1300), Some(1200), Some(7)));
    let with_result = merged(&conf, json!({"prevResult": result}));
    run("CHECK", &with_result).ok();
    bench.pod.delete_route(route).unwrap();
    let error = run("CHECK", &with_result).error();
    assert!(error.msg.contains("10.8.0.0/16"), "{error}");
}

#[test]
fn ipv6_is_off_without_an_ipv6_address_and_with_one_the_address_is_not_tentative() {
    let bench = Bench::new();
    let sysctl = |key| read_sysctl(bench.lab.pod.netns(), &format!("ipv6/conf/net1/{key}")).unwrap();
    let v4 = conf(&bench, json!({}));
    add(&bench, &v4);
    assert_eq!((sysctl("disable_ipv6"), sysctl("accept_ra")), (1, 0));
    ours(&bench, "DEL", &v4).ok();
    add(&bench, &merged(&v4, json!({"acceptRA": true})));
    assert_eq!((sysctl("disable_ipv6"), sysctl("accept_ra")), (0, 2));
    ours(&bench, "DEL", &v4).ok();
    let dual = static_conf(&bench, &["10.1.2.3/24", "fd00::3/64"], &[], json!({}));
    let result = add(&bench, &dual);
    let addresses = bench.pod.addresses(&bench.net1().unwrap()).unwrap();
    assert!(addresses.iter().any(|address| address.net.to_string() == "fd00::3/64"), "{addresses:?}");
    assert!(addresses.iter().all(|address| !address.tentative), "{addresses:?}");
    let with_result = merged(&dual, json!({"prevResult": result}));
    ours(&bench, "CHECK", &with_result).ok();
    ours(&bench, "DEL", &dual).ok();
    nothing_is_left(&bench);
}

#[test]
fn the_first_existing_master_of_a_list_is_used() {
    let bench = Bench::new();
    let master = bench.host.link_by_name(Testbed::MASTER).unwrap().unwrap();
    let list = json!(["eth9", {"mac": master.mac.unwrap().to_string()}]);
    add(&bench, &conf(&bench, json!({"master": list})));
    assert_eq!(bench.net1().unwrap().parent, Some(master.index));
}

#[test]
fn status_fails_when_the_named_master_is_missing() {
    let bench = Bench::new();
    let conf = conf(&bench, json!({"cniVersion": "1.1.0"}));
    let run = |verb: &str, more: Value| bench.call().run(&Subject::ours(), verb, &merged(&conf, more));
    assert!(run("STATUS", json!({})).ok().is_null());
    // Without a master, an earlier plugin of the chain may provide it.
    run("STATUS", json!({"master": ""})).ok();
    assert_eq!(run("STATUS", json!({"master": "eth9"})).error().code, Code::NotAvailable);
    run("GC", json!({})).ok();
}

#[test]
fn a_hundred_adds_at_once_all_succeed_and_leave_nothing_after_del() {
    let _alone = alone();
    let bench = Bench::new();
    let pods: Vec<_> = (0..100).map(|n| Neighbour::new(&n.to_string())).collect();
    let conf = conf(&bench, json!({"ipam": counting(&bench)}));
    let verb_on_all = |verb: &str| {
        std::thread::scope(|scope| {
            for pod in &pods {
                let call = Call { helpers: Some(bench.folder.path()), ..pod.call(&bench) };
                let conf = &conf;
                scope.spawn(move || with_retries(&call, verb, conf).1);
            }
        });
    };
    verb_on_all("ADD");
    assert_eq!(bench.held().len(), 100);
    for (n, pod) in pods.iter().enumerate() {
        let link = pod.socket.link_by_name("net1").unwrap().unwrap();
        let addresses = pod.socket.addresses(&link).unwrap();
        assert!(
            addresses.iter().any(|a| a.net.to_string() == format!("10.1.2.{}/24", n + 2)),
            "{addresses:?}"
        );
    }
    verb_on_all("DEL");
    assert!(bench.held().is_empty());
    for pod in &pods {
        assert_eq!(pod.socket.link_by_name("net1").unwrap(), None);
    }
}
