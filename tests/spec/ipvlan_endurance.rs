//! ipvlan, again and again on a restless node.

use std::time::Duration;

use netlink::test_util::Testbed;
use serde_json::json;
use tests::driver::merged;

use crate::endurance::{Endurance, Until};
use crate::ipvlan_bench::{alone, conf, counting_ipam, without};
use crate::support::Bench;

/// In a virtual machine processes start slowly, on a busy host even more so.
const UNTIL: Until = Until::Enough { time: Duration::from_secs(45), least: 100 };

#[test]
fn attachments_on_a_restless_node_all_succeed_and_leave_nothing() {
    let _alone = alone();
    let bench = Bench::new();
    let master = bench.host.link_by_name(Testbed::MASTER).unwrap().unwrap();
    bench.host.add_address(&master, "198.51.100.7/24".parse().unwrap(), netlink::Dad::Kernel).unwrap();
    counting_ipam(bench.folder.path());
    // By its subnet, the master is found by lists of links and of addresses.
    let master = json!({"master": {"subnet": "198.51.100.0/24"}, "ipam": {"type": "counting"}});
    let with_ipam = conf(&bench, master);
    let confs = |thread| {
        // No two links of a master have one address.
        let ips = json!([{"address": format!("10.1.3.{}/24", thread + 2)}]);
        let previous = json!({"prevResult": {"cniVersion": "1.0.0", "ips": ips}});
        [merged(&without(&with_ipam, "ipam"), previous), with_ipam.clone()]
    };
    Endurance { bench: &bench, confs: &confs, until: UNTIL }.run();
}
