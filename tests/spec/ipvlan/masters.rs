//! Masters that are no Ethernet card, for both plugins: a dummy interface that is down, as in the reference implementation's tests, and a
//! VLAN.

use netlink::test_util::Testbed;
use netlink::{Dad, LinkKind};
use serde_json::json;
use tests::driver::merged;

use crate::ipvlan::support::{conf, exchange, ip, ours, static_conf};
use crate::support::{Bench, nothing_is_left};

const PLUGINS: [&str; 2] = ["macvlan", "ipvlan"];

#[test]
fn add_succeeds_on_a_dummy_master_that_is_down() {
    for plugin in PLUGINS {
        let bench = Bench::new();
        ip(&bench, bench.lab.host.netns(), "link add dummy0 type dummy");
        let conf = conf(&bench, json!({"type": plugin, "master": "dummy0"}));
        let result = ours(&bench, "ADD", &conf).ok();
        let link = bench.net1().unwrap();
        let is_of_kind = match link.kind {
            LinkKind::Macvlan { .. } => plugin == "macvlan",
            LinkKind::Ipvlan { .. } => plugin == "ipvlan",
            _ => false,
        };
        assert!(link.up && is_of_kind, "{plugin}: {link:?}");
        let with_result = merged(&conf, json!({"prevResult": result}));
        ours(&bench, "CHECK", &with_result).ok();
        ours(&bench, "DEL", &conf).ok();
        nothing_is_left(&bench);
    }
}

#[test]
fn a_link_on_a_vlan_reaches_the_hosts_of_that_vlan() {
    for plugin in PLUGINS {
        let bench = Bench::new();
        let (host, peer) = (bench.lab.host.netns(), bench.lab.peer.netns());
        for (netns, parent) in [(host, Testbed::MASTER), (peer, Testbed::WIRE)] {
            ip(&bench, netns, &format!("link add link {parent} name vlan7 type vlan id 7"));
            ip(&bench, netns, "link set vlan7 up");
        }
        let more = json!({"type": plugin, "master": "vlan7"});
        let conf = static_conf(&bench, &["10.1.2.3/24"], &[], more);
        ours(&bench, "ADD", &conf).ok();
        let socket = bench.lab.peer.socket().unwrap();
        let vlan = socket.link_by_name("vlan7").unwrap().unwrap();
        socket.add_address(&vlan, "10.1.2.9/24".parse().unwrap(), Dad::Skip).unwrap();
        let pod = bench.lab.pod.netns();
        assert_eq!(exchange(pod, peer, "10.1.2.9"), Ok(()), "{plugin}");
        ours(&bench, "DEL", &conf).ok();
        nothing_is_left(&bench);
    }
}
