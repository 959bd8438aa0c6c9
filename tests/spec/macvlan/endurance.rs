//! Thousands of attachments of macvlan on a node whose links change.

use netlink::test_util::Testbed;
use serde_json::json;
use tests::driver::merged;

use crate::endurance::{Endurance, Until};
use crate::macvlan::conf::with_ipam;
use crate::support::Bench;

#[test]
fn thousands_of_attachments_on_a_node_with_changing_links_succeed_and_leave_nothing() {
    let bench = Bench::new();
    let master = bench.host.link_by_name(Testbed::MASTER).unwrap().unwrap();
    bench.host.add_address(&master, "198.51.100.7/24".parse().unwrap(), netlink::Dad::Kernel).unwrap();
    // A master that is named by its subnet makes the plugin list links and addresses.
    let with_addresses = with_ipam(&bench, json!({"master": {"subnet": "198.51.100.0/24"}}));
    let plain = merged(&with_addresses, json!({"ipam": {}}));
    let confs = |_| [plain.clone(), with_addresses.clone()];
    let retried = Endurance { bench: &bench, confs: &confs, until: Until::AllDone }.run();
    assert_eq!(retried, 0, "verbs that had to be retried");
}
