//! ipvlan killed in the middle of ADD.

use serde_json::{Value, json};

use crate::crash;
use crate::ipvlan_bench::{conf, counting_ipam};
use crate::support::Bench;

fn counting(bench: &Bench) -> Value {
    counting_ipam(bench.folder.path());
    conf(bench, json!({"ipam": {"type": "counting"}}))
}

#[test]
fn an_add_that_is_killed_anywhere_is_cleared_away_by_del_and_can_be_done_again() {
    crash::an_add_killed_anywhere_is_cleared_away(counting);
}

#[test]
fn a_point_that_is_not_there_kills_nothing() {
    crash::a_point_that_is_not_there_kills_nothing(counting);
}
