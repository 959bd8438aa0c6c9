//! Interface names, and repeated verbs. Kernels before 6.13 refuse to create a link for another namespace under a name that exists on the
//! host. The virtual machine has such a kernel, so macvlan's name is tested here too.

use cni::Code;
use netlink::test_util::{Testbed, create_veth};
use netlink::{IpvlanFlag, IpvlanMode};
use serde_json::json;
use tests::driver::{Call, Subject, merged};

use crate::ipvlan::support::{conf, direct, kind_of_net1, ours, static_conf};
use crate::support::ipam::counting;
use crate::support::{Bench, nothing_is_left};

#[test]
fn an_interface_name_may_exist_on_the_host() {
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
fn an_interface_name_of_15_bytes_works_and_one_of_16_is_refused() {
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
fn the_plugin_accepts_keys_in_any_case() {
    let bench = Bench::new();
    counting(&bench);
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
fn a_second_add_of_the_same_attachment_fails_and_leaves_the_first_intact() {
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
