//! DEL succeeds whatever is missing, and removes only its own link.

use std::path::Path;
use std::time::{Duration, Instant};

use netlink::test_util::Testbed;
use serde_json::{Value, json};
use tests::driver::{Call, Subject, merged};

use crate::ipvlan::support::{Neighbour, add, conf, direct, ours, static_conf};
use crate::support::ipam::scripted;
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

/// A pod's successor with the same address, whose ADD begins before the kernel has deleted the old link.
#[test]
fn an_address_of_a_namespace_that_ends_is_waited_for() {
    let bench = Bench::new();
    let folder = bench.folder.path().to_owned();
    let result = r#"echo '{"cniVersion":"1.0.0","ips":[{"address":"10.1.2.3/24"}]}'"#;
    let ipam = scripted(&bench, &[("ADD", &format!("{result}; : > {}/$CNI_CONTAINERID", folder.display()))]);
    let conf = conf(&bench, json!({"ipam": ipam}));
    let predecessor = Neighbour::new("before");
    let with_script =
        |call: Call<'_>| Call { helpers: Some(&folder), ..call }.run(&Subject::ours(), "ADD", &conf);
    with_script(predecessor.call(&bench)).ok();
    let ip_is_given = folder.join("spec-1");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let end = Instant::now() + Duration::from_secs(20);
            while !ip_is_given.exists() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
            // The successor now tries to set the address.
            std::thread::sleep(Duration::from_millis(50));
            drop(predecessor);
        });
        with_script(bench.call()).ok();
    });
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
