//! DEL succeeds whatever is missing, and removes only its own link.

use std::path::Path;

use netlink::test_util::Testbed;
use serde_json::{Value, json};
use tests::driver::{Subject, merged};

use crate::ipvlan::support::{Neighbour, add, conf, direct, ours, static_conf};
use crate::support::{Bench, nothing_is_left, without};

#[track_caller]
fn del(bench: &Bench, conf: &Value) {
    ours(bench, "DEL", conf).ok();
}

#[test]
fn del_needs_no_master_no_default_route_and_no_prev_result() {
    let bench = Bench::new();
    let conf = conf(&bench, json!({}));
    for changed in [
        without(&conf, "master"),
        merged(&conf, json!({"master": "gone0"})),
        merged(&conf, json!({"prevResult": {"cniVersion": "1.0.0", "interfaces": "no list"}})),
        merged(&conf, json!({"linkInContainer": true})),
        merged(&conf, json!({"mode": "l3"})),
    ] {
        add(&bench, &conf);
        del(&bench, &changed);
        nothing_is_left(&bench);
        del(&bench, &changed);
    }
}

#[test]
fn del_succeeds_when_netns_or_master_is_gone() {
    let bench = Bench::new();
    let inside = conf(&bench, json!({"linkInContainer": true, "master": "inner0"}));
    add(&bench, &inside);
    let mut call = direct(&bench);
    call.netns = Some(Path::new("/run/netns/no-such-namespace"));
    call.run(&Subject::ours(), "DEL", &inside).ok();
    assert!(bench.held().is_empty());
    del(&bench, &inside);

    let outside = conf(&bench, json!({}));
    add(&bench, &outside);
    let master = bench.host.link_by_name(Testbed::MASTER).unwrap().unwrap();
    bench.host.delete_link(&master).unwrap();
    del(&bench, &outside);
    nothing_is_left(&bench);
}

#[test]
fn del_leaves_an_interface_of_another_kind_alone() {
    let bench = Bench::new();
    add(&bench, &conf(&bench, json!({"type": "macvlan"})));
    del(&bench, &without(&conf(&bench, json!({})), "ipam"));
    assert!(bench.net1().is_some());
}

/// The pod's successor with the same address, right after `ip netns del` without DEL: the kernel takes the old link down in the background.
#[test]
fn an_address_of_a_namespace_that_ends_is_waited_for() {
    let bench = Bench::new();
    let conf = static_conf(&bench, &["10.1.2.3/24"], &[], json!({}));
    for round in 0..3 {
        let predecessor = Neighbour::new(&format!("before-{round}"));
        predecessor.call(&bench).run(&Subject::ours(), "ADD", &conf).ok();
        drop(predecessor);
        add(&bench, &conf);
        del(&bench, &conf);
    }
}

#[test]
fn an_address_that_stays_in_use_is_code_11() {
    let bench = Bench::new();
    let conf = static_conf(&bench, &["10.1.2.3/24"], &[], json!({}));
    let other = Neighbour::new("other");
    other.call(&bench).run(&Subject::ours(), "ADD", &conf).ok();
    let error = ours(&bench, "ADD", &conf).error();
    assert_eq!(error.code, cni::Code::TryAgainLater, "{error}");
    nothing_is_left(&bench);
}
