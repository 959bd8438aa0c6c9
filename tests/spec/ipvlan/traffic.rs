//! Packets between pods of one master, and between a pod and a host on the wire, in every mode.

use std::time::Duration;

use netlink::test_util::{Testbed, write_sysctl};
use netlink::{Dad, Netns, Route, RouteFilter, RouteScope};
use serde_json::json;

use crate::ipvlan::support::{Neighbour, add, exchange, static_conf};
use crate::support::Bench;

#[test]
fn in_mode_l2_pods_reach_each_other_and_the_wire_over_ipv4_and_ipv6() {
    let bench = Bench::new();
    let second = Neighbour::new("second");
    add(&bench, &static_conf(&bench, &["10.1.2.3/24", "fd00::3/64"], &[], json!({})));
    let conf = static_conf(&bench, &["10.1.2.4/24", "fd00::4/64"], &[], json!({}));
    second.ours(&bench, "ADD", &conf).ok();
    let peer = bench.lab.peer.socket().unwrap();
    let wire = peer.link_by_name(Testbed::WIRE).unwrap().unwrap();
    for net in ["10.1.2.9/24", "fd00::9/64"] {
        peer.add_address(&wire, net.parse().unwrap(), Dad::Skip).unwrap();
    }
    let pod = bench.lab.pod.netns();
    for address in ["10.1.2.4", "fd00::4"] {
        assert_eq!(exchange(pod, second.netns.netns(), address), Ok(()), "{address}");
    }
    for address in ["10.1.2.9", "fd00::9"] {
        assert_eq!(exchange(pod, bench.lab.peer.netns(), address), Ok(()), "{address}");
    }
}

/// The pods have addresses of different subnets, a default route, and no gateway.
#[test]
fn in_modes_l3_and_l3s_pods_reach_each_other_and_the_wire_without_a_gateway() {
    for mode in ["l3", "l3s"] {
        let bench = Bench::new();
        let second = Neighbour::new("second");
        let routes = ["0.0.0.0/0", "::/0"];
        let more = json!({"mode": mode});
        add(&bench, &static_conf(&bench, &["10.5.1.3/32", "fd05:1::3/128"], &routes, more.clone()));
        let conf = static_conf(&bench, &["10.5.2.4/24", "fd05:2::4/64"], &routes, more);
        second.ours(&bench, "ADD", &conf).ok();
        let link = bench.net1().unwrap();
        let present = bench.pod.routes(RouteFilter { dev: Some(link.index), table: None }).unwrap();
        let default = present.iter().find(|r| r.is_default() && r.dst.addr().is_ipv4()).unwrap();
        assert_eq!((default.gw, default.scope), (None, Some(RouteScope::LINK)));
        let pod = bench.lab.pod.netns();
        for address in ["10.5.2.4", "fd05:2::4"] {
            assert_eq!(exchange(pod, second.netns.netns(), address), Ok(()), "{mode} {address}");
        }
        route_the_wire(&bench);
        assert_eq!(exchange(pod, bench.lab.peer.netns(), "10.77.0.2"), Ok(()), "{mode}");
    }
}

/// Gives the node an address on the wire, and the host on the wire a route back to the pods through the node.
fn route_the_wire(bench: &Bench) {
    let master = bench.host.link_by_name(Testbed::MASTER).unwrap().unwrap();
    bench.host.add_address(&master, "10.77.0.1/24".parse().unwrap(), Dad::Skip).unwrap();
    let peer = bench.lab.peer.socket().unwrap();
    let wire = peer.link_by_name(Testbed::WIRE).unwrap().unwrap();
    peer.add_address(&wire, "10.77.0.2/24".parse().unwrap(), Dad::Skip).unwrap();
    let gw = Some("10.77.0.1".parse().unwrap());
    peer.add_route(&Route { gw, ..Route::new("10.5.0.0/16".parse().unwrap()) }).unwrap();
}

#[test]
fn addresses_are_announced_on_the_wire_in_mode_l2_only() {
    for (mode, is_announced) in [("l2", true), ("l3", false), ("l3s", false)] {
        let bench = Bench::new();
        let (host, peer) = (bench.lab.host.netns(), bench.lab.peer.netns());
        for (netns, link) in [(host, Testbed::MASTER), (peer, Testbed::WIRE)] {
            write_sysctl(netns, &format!("ipv6/conf/{link}/disable_ipv6"), 1).unwrap();
        }
        let before = received(peer, Testbed::WIRE);
        let conf = static_conf(&bench, &["10.1.2.3/24", "fd00::3/64"], &[], json!({"mode": mode}));
        add(&bench, &conf);
        // A child process announces after the plugin has answered.
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(received(peer, Testbed::WIRE) > before, is_announced, "{mode}");
    }
}

/// The number of packets that `link` has received.
fn received(netns: &Netns, link: &str) -> u64 {
    let table = netns.run(|| std::fs::read_to_string("/proc/thread-self/net/dev")).unwrap().unwrap();
    let line = table.lines().find_map(|line| line.trim().strip_prefix(&format!("{link}:"))).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
