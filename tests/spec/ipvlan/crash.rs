//! SIGKILL in the middle of an ADD of ipvlan.

use serde_json::{Value, json};

use crate::crash;
use crate::ipvlan::support::conf;
use crate::support::Bench;
use crate::support::ipam::counting;

fn conf_with_counting(bench: &Bench) -> Value {
    conf(bench, json!({"ipam": counting(bench)}))
}

#[test]
fn del_clears_an_add_that_was_killed_at_any_point_and_add_works_again() {
    crash::del_clears_an_add_killed_at_any_point(conf_with_counting);
}

#[test]
fn an_unknown_crash_point_kills_nothing() {
    crash::an_unknown_crash_point_kills_nothing(conf_with_counting);
}
