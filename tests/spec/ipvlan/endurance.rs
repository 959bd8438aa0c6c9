//! Many attachments of ipvlan on a node whose links change.

use std::time::Duration;

use netlink::test_util::Testbed;
use serde_json::json;
use tests::driver::merged;

use crate::endurance::{Endurance, Until};
use crate::ipvlan::support::{alone, conf};
use crate::support::ipam::counting;
use crate::support::{Bench, without};

/// Processes start slowly in a virtual machine, and more slowly on a busy host.
const UNTIL: Until = Until::Enough { time: Duration::from_secs(45), least: 100 };

#[test]
fn many_attachments_on_a_node_with_changing_links_succeed_and_leave_nothing() {
    let _alone = alone();
    let bench = Bench::new();
    let master = bench.host.link_by_name(Testbed::MASTER).unwrap().unwrap();
    bench.host.add_address(&master, "198.51.100.7/24".parse().unwrap(), netlink::Dad::Kernel).unwrap();
    // A master that is named by its subnet makes the plugin list links and addresses.
    let master = json!({"master": {"subnet": "198.51.100.0/24"}, "ipam": counting(&bench)});
    let with_ipam = conf(&bench, master);
    let confs = |thread| {
        // Links of one master must have different addresses.
        let ips = json!([{"address": format!("10.1.3.{}/24", thread + 2)}]);
        let previous = json!({"prevResult": {"cniVersion": "1.0.0", "ips": ips}});
        [merged(&without(&with_ipam, "ipam"), previous), with_ipam.clone()]
    };
    Endurance { bench: &bench, confs: &confs, until: UNTIL }.run();
}
