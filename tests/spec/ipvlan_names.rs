//! Names and repetitions. A kernel of before 6.13 refuses to make a link for another namespace under a name that the host has, so that
//! macvlan's is asked here too.

use cni::Code;
use netlink::test_util::{Testbed, create_veth};
use netlink::{IpvlanFlag, IpvlanMode};
use serde_json::json;
use tests::driver::{Call, Subject, merged};

use crate::ipvlan_bench::{conf, counting_ipam, direct, kind_of_net1, nothing_is_left, ours, static_conf};
use crate::support::Bench;

#[test]
fn a_name_that_only_the_host_has_is_no_obstacle_and_the_hosts_stays() {
    for plugin in ["ipvlan", "macvlan"] {
        let bench = Bench::new();
        let peer = bench.lab.peer.socket().unwrap();
        let (mine, _) = create_veth(&bench.host, "net1", &peer, "other").unwrap();
        let conf = static_conf(&bench, &["10.1.2.3/24"], &[], json!({"type": plugin}));
        direct(&bench).round_trip(&Subject::ours(), &conf);
        nothing_is_left(&bench);
        let left = bench.host.link_by_name("net1").unwrap().unwrap();
        assert_eq!(left.index, mine.index, "{plugin}");
    }
}

#[test]
fn a_name_of_fifteen_bytes_goes_all_the_way_and_one_of_sixteen_is_refused() {
    let bench = Bench::new();
    let conf = static_conf(&bench, &["10.1.2.3/24", "fd00::3/64"], &[], json!({"nodad": true}));
    let call = Call { if_name: "fifteen-bytes-x", ..direct(&bench) };
    assert_eq!(call.round_trip(&Subject::ours(), &conf)["interfaces"][0]["name"], "fifteen-bytes-x");
    assert_eq!(bench.pod.link_by_name("fifteen-bytes-x").unwrap(), None);
    let call = Call { if_name: "sixteen-bytes-xx", ..call };
    let error = call.run(&Subject::ours(), "ADD", &conf).error();
    assert_eq!((error.code, error.msg.as_str()), (Code::InvalidEnvironment, "interface name is too long"));
}

#[test]
fn keys_in_any_case_are_understood_through_the_binary() {
    let bench = Bench::new();
    counting_ipam(bench.folder.path());
    let conf = json!({
        "CNIVersion": "1.0.0", "NAME": "spec", "Type": "ipvlan", "MASTER": Testbed::MASTER, "MODE": "l3", "Flag": "vepa",
        "Mtu": 1300, "LinkInContainer": false, "IPAM": {"TYPE": "counting"},
    });
    let call = Call { container_id: "1", ..bench.call() };
    let run = |verb: &str, conf: &serde_json::Value| {
        call.run_raw(&Subject::ours(), "ipvlan", verb, conf.to_string().as_bytes())
    };
    let result = run("ADD", &conf).ok();
    assert_eq!(kind_of_net1(&bench), (IpvlanMode::L3, IpvlanFlag::Vepa));
    assert_eq!(bench.net1().unwrap().mtu, 1300);
    run("CHECK", &merged(&conf, json!({"PREVRESULT": result}))).ok();
    run("DEL", &conf).ok();
    nothing_is_left(&bench);
}

#[test]
fn a_second_add_of_the_same_attachment_fails_and_leaves_the_first_whole() {
    let bench = Bench::new();
    let conf = conf(&bench, json!({}));
    let result = ours(&bench, "ADD", &conf).ok();
    let held = bench.held();
    let error = ours(&bench, "ADD", &conf).error();
    assert!(error.msg.contains("net1 already exists"), "{error}");
    assert_eq!(bench.held(), held);
    ours(&bench, "CHECK", &merged(&conf, json!({"prevResult": result}))).ok();
    ours(&bench, "DEL", &conf).ok();
    nothing_is_left(&bench);
}
