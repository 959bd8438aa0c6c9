//! macvlan killed in the middle of ADD.

use serde_json::json;

use crate::crash;
use crate::macvlan_bench::with_ipam;

#[test]
fn an_add_that_is_killed_anywhere_is_cleared_away_by_del_and_can_be_done_again() {
    crash::an_add_killed_anywhere_is_cleared_away(|bench| with_ipam(bench, json!({})));
}

#[test]
fn a_point_that_is_not_there_kills_nothing() {
    crash::a_point_that_is_not_there_kills_nothing(|bench| with_ipam(bench, json!({})));
}
