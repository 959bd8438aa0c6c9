//! macvlan after another plugin of a chain: where its master comes from, and how it extends the earlier result.

use cni::Code;
use netlink::test_util::Testbed;
use netlink::{RouteFilter, Socket};
use serde_json::{Value, json};
use tests::driver::{Subject, merged};

use crate::macvlan::conf::with_ipam;
use crate::support::{Bench, Place, nothing_is_left, path_text, without};

/// The result of an earlier plugin: an interface on the host and one in the pod, an address and routes of the latter, a name server.
fn previous(bench: &Bench, version: &str) -> Value {
    let sandbox = path_text(bench.lab.pod.path());
    let mut ip = json!({"interface": 1, "address": "198.51.100.2/24", "gateway": "198.51.100.1"});
    if version < "1.0.0" {
        ip["version"] = json!("4");
    }
    json!({
        "cniVersion": version,
        "interfaces": [{"name": Testbed::MASTER}, {"name": "inner0", "sandbox": sandbox}],
        "ips": [ip],
        "routes": [{"dst": "203.0.113.0/24"}, {"dst": "192.0.2.0/24", "gw": "198.51.100.1"}],
        "dns": {"nameservers": ["198.51.100.53"]},
    })
}

fn chained(bench: &Bench, version: &str, place: Place, previous: &Value) -> Value {
    let conf = merged(&bench.conf(version, place), json!({"ipam": bench.host_local()}));
    merged(&without(&conf, "master"), json!({"prevResult": previous}))
}

fn index_of(socket: &Socket, name: &str) -> u32 {
    socket.link_by_name(name).unwrap().unwrap().index
}

#[test]
fn link_in_container_decides_which_earlier_interface_is_the_master() {
    let bench = Bench::new();
    let subject = Subject::ours();
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let previous = previous(&bench, version);
        for (place, master) in [
            (Place::Host, index_of(&bench.host, Testbed::MASTER)),
            (Place::Container, index_of(&bench.pod, "inner0")),
        ] {
            let conf = chained(&bench, version, place, &previous);
            let result = bench.call().run(&subject, "ADD", &conf).ok();
            assert_eq!(bench.net1().unwrap().parent, Some(master), "{version} {place:?}");
            if version >= "0.4.0" {
                let with_result = merged(&conf, json!({"prevResult": result}));
                bench.call().run(&subject, "CHECK", &with_result).ok();
            }
            bench.call().run(&subject, "DEL", &merged(&conf, json!({"prevResult": result}))).ok();
            nothing_is_left(&bench);
        }
    }
}

#[test]
fn the_earlier_result_stays_and_ours_is_appended() {
    let bench = Bench::new();
    let previous = previous(&bench, "1.0.0");
    let more = json!({"dns": {"nameservers": ["10.1.2.53"]}});
    let conf = merged(&chained(&bench, "1.0.0", Place::Host, &previous), more);
    let result = bench.call().run(&Subject::ours(), "ADD", &conf).ok();
    let names: Vec<&str> =
        result["interfaces"].as_array().unwrap().iter().filter_map(|i| i["name"].as_str()).collect();
    assert_eq!(names, [Testbed::MASTER, "inner0", "net1"]);
    assert_eq!(result["interfaces"][0], previous["interfaces"][0]);
    assert_eq!(result["ips"][0], previous["ips"][0]);
    assert_eq!(
        (&result["ips"][1]["interface"], &result["ips"][1]["gateway"]),
        (&json!(2), &json!("10.1.2.1"))
    );
    assert_eq!(result["routes"].as_array().unwrap().len(), 3);
    assert_eq!(result["routes"][0], previous["routes"][0]);
    assert_eq!(result["routes"][2], json!({"dst": "10.9.0.0/16", "gw": "10.1.2.1"}));
    assert_eq!(result["dns"]["nameservers"], json!(["198.51.100.53", "10.1.2.53"]));
    // net1 has our address and our routes only.
    assert_eq!(bench.addresses_of_net1(), [result["ips"][1]["address"].as_str().unwrap()]);
    let routes =
        bench.pod.routes(RouteFilter { dev: Some(bench.net1().unwrap().index), table: None }).unwrap();
    assert!(!routes.iter().any(|route| route.dst.to_string() == "203.0.113.0/24"), "{routes:?}");
}

#[test]
fn the_confs_master_wins_over_the_chains_and_the_earlier_result_stays() {
    let bench = Bench::new();
    let empty = json!({"cniVersion": "1.0.0", "dns": {"search": ["example.org"]}});
    let conf = with_ipam(&bench, json!({"prevResult": empty}));
    let result = bench.call().run(&Subject::ours(), "ADD", &conf).ok();
    assert_eq!((&result["ips"][0]["interface"], &result["dns"]), (&json!(0), &empty["dns"]));
    bench.call().run(&Subject::ours(), "CHECK", &merged(&conf, json!({"prevResult": result}))).ok();
}

#[test]
fn check_compares_its_own_interface_and_ignores_the_rest_of_the_chain() {
    let bench = Bench::new();
    let subject = Subject::ours();
    let conf = chained(&bench, "1.0.0", Place::Host, &previous(&bench, "1.0.0"));
    let mut result = bench.call().run(&subject, "ADD", &conf).ok();
    // The result after a later plugin, which has added an interface, an address and a route.
    let push = |list: &mut Value, item: Value| list.as_array_mut().unwrap().push(item);
    push(&mut result["interfaces"], json!({"name": "later0", "sandbox": path_text(bench.lab.pod.path())}));
    push(&mut result["ips"], json!({"interface": 3, "address": "10.77.0.2/16", "gateway": "10.77.0.1"}));
    push(&mut result["routes"], json!({"dst": "10.78.0.0/16", "gw": "10.77.0.1"}));
    let with_result = merged(&conf, json!({"prevResult": result}));
    bench.call().run(&subject, "CHECK", &with_result).ok();
    let link = bench.net1().unwrap();
    let routes = bench.pod.routes(RouteFilter { dev: Some(link.index), table: None }).unwrap();
    let ours = routes.iter().find(|route| route.dst.to_string() == "10.9.0.0/16").unwrap();
    bench.pod.delete_route(ours).unwrap();
    let error = bench.call().run(&subject, "CHECK", &with_result).error();
    assert!(
        error.msg.contains("route 10.9.0.0/16 via 10.1.2.1 is not in") && !error.msg.contains('#'),
        "{error}"
    );
    bench.pod.add_route(ours).unwrap();
    bench.call().run(&subject, "CHECK", &with_result).ok();
    let net = bench.addresses_of_net1()[0].parse().unwrap();
    bench.pod.delete_address(&link, net).unwrap();
    let error = bench.call().run(&subject, "CHECK", &with_result).error();
    assert!(error.msg.contains(&net.to_string()), "{error}");
}

#[test]
fn a_chain_with_no_or_several_candidate_masters_is_refused_and_nothing_is_created() {
    let bench = Bench::new();
    let mut two = previous(&bench, "1.0.0");
    two["interfaces"][1]["sandbox"] = json!("");
    for previous in [two, json!({"cniVersion": "1.0.0"})] {
        let conf = chained(&bench, "1.0.0", Place::Host, &previous);
        let error = bench.call().run(&Subject::ours(), "ADD", &conf).error();
        assert_eq!(error.code, Code::InvalidConfig);
        assert!(
            error.msg.starts_with("chained master failure: ") && error.details.contains("master"),
            "{error}"
        );
        nothing_is_left(&bench);
    }
    let conf = chained(&bench, "1.0.0", Place::Host, &json!({"cniVersion": "1.0.0", "ips": 7}));
    assert_eq!(bench.call().run(&Subject::ours(), "ADD", &conf).error().code, Code::Decoding);
    nothing_is_left(&bench);
}

#[test]
fn the_error_of_a_missing_earlier_master_names_it_and_del_needs_none() {
    let bench = Bench::new();
    let subject = Subject::ours();
    let mut previous = previous(&bench, "1.0.0");
    let conf = chained(&bench, "1.0.0", Place::Host, &previous);
    let result = bench.call().run(&subject, "ADD", &conf).ok();
    let gone = merged(&conf, json!({"prevResult": merged(&result, json!({"interfaces": []}))}));
    bench.call().run(&subject, "DEL", &gone).ok();
    nothing_is_left(&bench);
    previous["interfaces"][0]["name"] = json!("gone0");
    let conf = chained(&bench, "1.0.0", Place::Host, &previous);
    let error = bench.call().run(&subject, "ADD", &conf).error();
    assert!(error.msg.contains("failed to lookup master \"gone0\""), "{error}");
}

#[test]
fn check_accepts_routes_that_a_later_plugin_has_moved_to_another_table() {
    let bench = Bench::new();
    let subject = Subject::ours();
    let mut conf = with_ipam(&bench, json!({}));
    conf["ipam"]["gateway"] = json!("10.1.2.1");
    let result = bench.call().run(&subject, "ADD", &conf).ok();
    let sbr = json!({"cniVersion": "1.0.0", "name": "spec", "type": "sbr", "prevResult": result});
    let result = bench.call().run(&Subject::go(), "ADD", &sbr).ok();
    let with_result = merged(&conf, json!({"prevResult": result}));
    bench.call().run(&subject, "CHECK", &with_result).ok();
    let link = bench.net1().unwrap();
    let routes = bench.pod.routes(RouteFilter { dev: Some(link.index), table: None }).unwrap();
    let moved = routes.iter().find(|route| route.dst.to_string() == "10.9.0.0/16").unwrap();
    assert_ne!(moved.table, Some(netlink::MAIN_TABLE));
    bench.pod.delete_route(moved).unwrap();
    let error = bench.call().run(&subject, "CHECK", &with_result).error();
    assert!(error.msg.contains("10.9.0.0/16"), "{error}");
}
