//! SIGKILL in the middle of an ADD of macvlan.

use serde_json::json;

use crate::crash;
use crate::macvlan::conf::with_ipam;

#[test]
fn del_clears_an_add_that_was_killed_at_any_point_and_add_works_again() {
    crash::del_clears_an_add_killed_at_any_point(|bench| with_ipam(bench, json!({})));
}

#[test]
fn an_unknown_crash_point_kills_nothing() {
    crash::an_unknown_crash_point_kills_nothing(|bench| with_ipam(bench, json!({})));
}
