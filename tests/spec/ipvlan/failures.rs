//! A failed ADD names the reason and leaves nothing.

use std::path::Path;

use cni::Code;
use netlink::test_util::Testbed;
use serde_json::json;
use tests::driver::Subject;

use crate::ipvlan::support::{Neighbour, add, conf, direct, ours, static_conf};
use crate::support::{Bench, nothing_is_left, without};

#[test]
fn a_conf_without_addresses_from_ipam_or_chain_is_refused() {
    let bench = Bench::new();
    for change in [json!({"ipam": {}}), json!({"ipam": {}, "prevResult": {"cniVersion": "1.0.0", "ips": []}})]
    {
        let error = ours(&bench, "ADD", &conf(&bench, change)).error();
        assert_eq!(error.code, Code::InvalidConfig);
        assert!(error.msg.contains("ipvlan needs addresses"), "{error}");
    }
    ours(&bench, "ADD", &without(&conf(&bench, json!({})), "ipam")).error();
    nothing_is_left(&bench);
}

#[test]
fn a_failing_ipam_or_a_route_that_the_kernel_refuses_leaves_no_link_and_no_address() {
    let bench = Bench::new();
    for ipam in [json!({"type": "host-local"}), json!({"type": "no-such-ipam"})] {
        ours(&bench, "ADD", &conf(&bench, json!({"ipam": ipam}))).error();
        nothing_is_left(&bench);
    }
    let mut unreachable = conf(&bench, json!({}));
    unreachable["ipam"]["routes"] = json!([{"dst": "10.9.0.0/16", "gw": "172.16.0.1"}]);
    let error = ours(&bench, "ADD", &unreachable).error();
    assert!(error.msg.contains("10.9.0.0/16 via 172.16.0.1"), "{error}");
    nothing_is_left(&bench);
}

#[test]
fn an_address_of_another_link_of_the_master_is_refused() {
    let bench = Bench::new();
    let first = Neighbour::new("first");
    let conf = static_conf(&bench, &["10.1.2.3/24"], &[], json!({}));
    first.ours(&bench, "ADD", &conf).ok();
    let error = ours(&bench, "ADD", &conf).error();
    assert!(error.msg.contains("10.1.2.3"), "{error}");
    nothing_is_left(&bench);
}

#[test]
fn an_mtu_above_the_masters_is_refused_and_0_means_the_masters() {
    let bench = Bench::new();
    let error = ours(&bench, "ADD", &conf(&bench, json!({"mtu": 9999}))).error();
    assert_eq!(error.msg, "invalid MTU 9999, must be [0, master MTU(1500)]");
    nothing_is_left(&bench);
    add(&bench, &conf(&bench, json!({"mtu": 0})));
    assert_eq!(bench.net1().unwrap().mtu, 1500);
}

#[test]
fn an_interface_name_that_exists_is_refused_and_stays_unchanged() {
    let bench = Bench::new();
    let conf = conf(&bench, json!({}));
    add(&bench, &conf);
    let (link, held) = (bench.net1(), bench.held());
    let mut second = direct(&bench);
    second.container_id = "spec-2";
    let error = second.run(&Subject::ours(), "ADD", &conf).error();
    assert!(error.msg.contains("net1 already exists"), "{error}");
    assert_eq!((bench.net1(), bench.held()), (link, held));
}

#[test]
fn the_error_of_a_missing_netns_or_master_names_it() {
    let bench = Bench::new();
    let mut call = direct(&bench);
    call.netns = Some(Path::new("/etc/hostname"));
    let error = call.run(&Subject::ours(), "ADD", &conf(&bench, json!({}))).error();
    assert_eq!(error.code, Code::InvalidNetns, "{error}");
    let error = ours(&bench, "ADD", &conf(&bench, json!({"master": "eth9"}))).error();
    assert_eq!(error.code, Code::InvalidConfig);
    assert!(error.msg.contains("\"eth9\"") && error.msg.contains(Testbed::MASTER), "{error}");
    nothing_is_left(&bench);
}
