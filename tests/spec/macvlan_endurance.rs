//! macvlan, thousands of times on a restless node.

use netlink::test_util::Testbed;
use serde_json::json;
use tests::driver::merged;

use crate::endurance::{Endurance, Until};
use crate::macvlan_bench::with_ipam;
use crate::support::Bench;

#[test]
fn thousands_of_attachments_on_a_restless_node_all_succeed_and_leave_nothing() {
    let bench = Bench::new();
    let master = bench.host.link_by_name(Testbed::MASTER).unwrap().unwrap();
    bench.host.add_address(&master, "198.51.100.7/24".parse().unwrap(), netlink::Dad::Kernel).unwrap();
    // By its subnet, the master is found by lists of links and of addresses.
    let with_addresses = with_ipam(&bench, json!({"master": {"subnet": "198.51.100.0/24"}}));
    let plain = merged(&with_addresses, json!({"ipam": {}}));
    let confs = |_| [plain.clone(), with_addresses.clone()];
    let again = Endurance { bench: &bench, confs: &confs, until: Until::AllDone }.run();
    assert_eq!(again, 0, "verbs had to be done again");
}
