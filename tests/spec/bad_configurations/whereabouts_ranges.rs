//! `whereabouts` without a daemon, below macvlan. The claims at the API server are also as they were.

use serde_json::{Value, json};

use super::row::{Row, row, run};
use super::world::Plugins;

fn refused(what: &'static str, more: Value, words: &'static [&'static str]) -> Row {
    let ipam = tests::driver::merged(&json!({"type": "whereabouts", "range": "10.66.0.0/24"}), more);
    let conf = json!({"cniVersion": "0.3.1", "name": "bad", "type": "macvlan", "master": "mst0",
        "capabilities": {"ips": true, "ipFamilies": true}, "ipam": ipam});
    row(what, conf, words).code(7)
}

#[test]
fn a_range_of_whereabouts_that_is_refused_leaves_nothing() {
    let twice = json!([{"range": "10.66.0.0/24"}, {"range": 7}]);
    let asking = |what, ip: &str, words| {
        refused(what, json!({"gateway": "10.66.0.1"}), words).requested(json!({"ips": [ip]}))
    };
    let choosing = |what, key: &str, value: Value, words| {
        let declared = json!({"range": "10.66.0.0/24"});
        refused(what, declared, words).requested(json!({ key: value }))
    };
    run(
        Plugins::Ours,
        vec![
            refused("a range that is no network", json!({"range": "10.66.0.0/33"}), &["10.66.0.0/33"]),
            refused("no range", json!({"range": ""}), &["range"]),
            refused("a range that is a number", json!({"range": 7}), &["ipam.range"]).code(6),
            refused("a second range that is a number", json!({ "ipRanges": twice }), &["ipRanges"]).code(6),
            refused(
                "excludes that cover everything",
                json!({"exclude": ["10.66.0.0/24"]}),
                &["exclude", "10.66.0.0/24"],
            )
            .code(11),
            refused("an exclude that is no network", json!({"exclude": ["west"]}), &["exclude", "west"]),
            refused("a gateway that is none", json!({"gateway": "west"}), &["gateway", "west"]),
            refused(
                "a route to no network",
                json!({"routes": [{"dst": "10.9.0.0/33"}]}),
                &["ipam.routes.dst"],
            )
            .code(6),
            refused(
                "a switch that is text",
                json!({"enable_overlapping_ranges": "yes"}),
                &["enable_overlapping_ranges"],
            )
            .code(6),
            asking("the gateway", "10.66.0.1", &["10.66.0.1"]),
            choosing(
                "a family that the network lacks",
                "ipFamilies",
                json!(["IPv6"]),
                &["IPv6", "ipFamilies"],
            ),
            asking("loopback's address", "127.0.0.1", &["127.0.0.1"]),
        ],
    );
}
