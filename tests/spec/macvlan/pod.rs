//! The pod's namespace around the interface: its loopback, its mount, and its predecessor that the kernel still takes down.

use std::time::{Duration, Instant};

use cni::Code;
use netlink::test_util::{NamedNetns, Testbed, write_sysctl};
use netlink::{MacvlanMode, MacvlanSpec};
use nix::mount::{MntFlags, umount2};
use serde_json::json;
use tests::driver::{Call, Subject, merged};

use crate::macvlan::conf::with_ipam;
use crate::support::{Bench, Place, nothing_is_left};

#[test]
fn an_ipv6_address_also_turns_ipv6_of_the_loopback_on() {
    let bench = Bench::new();
    for key in ["all", "default"] {
        write_sysctl(bench.lab.pod.netns(), &format!("ipv6/conf/{key}/disable_ipv6"), 1).unwrap();
    }
    let addresses_of_lo = || {
        let lo = bench.pod.link_by_name("lo").unwrap().unwrap();
        let addresses = bench.pod.addresses(&lo).unwrap();
        addresses.iter().map(|address| address.net.to_string()).collect::<Vec<_>>()
    };
    assert!(!addresses_of_lo().contains(&"::1/128".to_owned()));
    bench.call().run(&Subject::ours(), "ADD", &with_ipam(&bench, json!({}))).ok();
    assert!(!addresses_of_lo().contains(&"::1/128".to_owned()), "an IPv4 address does not need it");
    bench.call().run(&Subject::ours(), "DEL", &with_ipam(&bench, json!({}))).ok();
    let ipam = bench.static_ipam(&["fd00::3/64"]);
    let conf = merged(&bench.conf("1.0.0", Place::Host), json!({"ipam": ipam, "nodad": true}));
    bench.call().run(&Subject::ours(), "ADD", &conf).ok();
    assert!(addresses_of_lo().contains(&"::1/128".to_owned()));
    // Over the loopback too: the kernel routes a packet to an address of its own through it.
    let answered = bench.lab.pod.netns().run(|| {
        std::net::TcpListener::bind("[fd00::3]:0").and_then(|listener| {
            std::net::TcpStream::connect_timeout(&listener.local_addr()?, Duration::from_secs(2))
        })
    });
    answered.unwrap().unwrap();
}

/// `ip netns exec` and `ip netns del` without DEL, then the pod's successor with the same MAC address: the kernel takes the namespace and
/// its links down in the background.
#[test]
fn a_mac_address_of_a_namespace_that_ends_is_waited_for() {
    let bench = Bench::new();
    let conf = with_ipam(&bench, json!({"mac": "02:00:00:00:00:77"}));
    for round in 0..5 {
        let predecessor = NamedNetns::new().unwrap();
        let id = format!("before-{round}");
        let call = Call { container_id: &id, netns: Some(predecessor.path()), ..bench.call() };
        call.run(&Subject::ours(), "ADD", &conf).ok();
        drop(predecessor);
        bench.call().run(&Subject::ours(), "ADD", &conf).ok();
        bench.call().run(&Subject::ours(), "DEL", &conf).ok();
    }
}

#[test]
fn a_mac_address_that_stays_in_use_is_code_11_after_half_a_second() {
    let bench = Bench::new();
    let master = bench.host.link_by_name(Testbed::MASTER).unwrap().unwrap();
    let mac = "02:00:00:00:00:77";
    let spec =
        MacvlanSpec { mac: mac.parse().ok(), ..MacvlanSpec::new("other", master.index, MacvlanMode::Bridge) };
    let other = bench.host.create_macvlan(&spec, &bench.host).unwrap();
    bench.host.set_up(&other).unwrap();
    let started = Instant::now();
    let error = bench.call().run(&Subject::ours(), "ADD", &with_ipam(&bench, json!({"mac": mac}))).error();
    assert_eq!(error.code, Code::TryAgainLater, "{error}");
    assert!(error.msg.contains("another interface on the same master has its MAC address"), "{error}");
    assert!(started.elapsed() >= Duration::from_millis(500));
    nothing_is_left(&bench);
}

#[test]
fn the_only_link_of_a_passthru_master_may_follow_one_whose_namespace_ends() {
    let bench = Bench::new();
    let conf = with_ipam(&bench, json!({"mode": "passthru"}));
    for round in 0..3 {
        let predecessor = NamedNetns::new().unwrap();
        let id = format!("before-{round}");
        let call = Call { container_id: &id, netns: Some(predecessor.path()), ..bench.call() };
        call.run(&Subject::ours(), "ADD", &conf).ok();
        drop(predecessor);
        bench.call().run(&Subject::ours(), "ADD", &conf).ok();
        bench.call().run(&Subject::ours(), "DEL", &conf).ok();
    }
}

/// As a runtime removes a sandbox: without `MNT_DETACH` the kernel refuses while a process has the mounted file open.
#[test]
fn the_netns_can_be_unmounted_as_soon_as_add_returns() {
    let bench = Bench::new();
    for round in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let mounted = folder.path().join("netns");
        std::fs::File::create(&mounted).unwrap();
        let pod = NamedNetns::new().unwrap();
        let none: Option<&str> = None;
        nix::mount::mount(Some(pod.path()), &mounted, none, nix::mount::MsFlags::MS_BIND, none).unwrap();
        let id = format!("pod-{round}");
        let call = Call { container_id: &id, netns: Some(&mounted), ..bench.call() };
        call.run(&Subject::ours(), "ADD", &with_ipam(&bench, json!({}))).ok();
        umount2(&mounted, MntFlags::empty()).unwrap();
    }
}

#[test]
fn the_error_of_a_route_names_the_interface() {
    let bench = Bench::new();
    let mut conf = with_ipam(&bench, json!({}));
    conf["ipam"]["routes"] = json!([{"dst": "10.9.0.0/16", "gw": "172.16.0.1"}]);
    let error = bench.call().run(&Subject::ours(), "ADD", &conf).error();
    assert!(error.msg.contains("10.9.0.0/16 via 172.16.0.1 dev net1:"), "{error}");
    nothing_is_left(&bench);
}
