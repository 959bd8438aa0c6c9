//! The IPAM plugins `host-local`, `static` and `dhcp`, below `bridge`.

use serde_json::{Value, json};

use super::row::{Row, row, run, run_on};
use super::world::Plugins;
use super::{host_local, on_bridge};

fn with(ipam: Value) -> Value {
    on_bridge(json!({"ipam": ipam}))
}

/// `host-local` with these keys.
fn local(what: &'static str, more: Value, words: &'static [&'static str]) -> Row {
    row(what, with(host_local(more)), words)
}

/// `static` with one address of these keys.
fn one_static(what: &'static str, address: Value, words: &'static [&'static str]) -> Row {
    row(what, with(json!({"type": "static", "addresses": [address]})), words)
}

#[test]
fn a_range_of_host_local_that_is_refused_leaves_nothing() {
    run(
        Plugins::Ours,
        vec![
            row("no range", with(json!({"type": "host-local"})), &["no IP ranges"]),
            local("a subnet that is no network", json!({"subnet": "10.1.2.0/33"}), &["10.1.2.0/33"]),
            local("a subnet with host bits", json!({"subnet": "10.1.2.5/24"}), &["host bits", "10.1.2.0"]),
            local("a subnet of one address", json!({"subnet": "10.1.2.0/32"}), &["10.1.2.0"]),
            local("a subnet that is a number", json!({"subnet": 7}), &["subnet"]),
            local(
                "a first address of five parts",
                json!({"rangeStart": "10.1.2.14.200"}),
                &["10.1.2.14.200"],
            ),
            local("a first address outside", json!({"rangeStart": "10.1.3.1"}), &["10.1.3.1"]),
            local("a last address outside", json!({"rangeEnd": "10.1.3.1"}), &["10.1.3.1"]),
            local("a last address that is text", json!({"rangeEnd": "last"}), &["last"]),
            local(
                "the ends in the wrong order",
                json!({"rangeStart": "10.1.2.20", "rangeEnd": "10.1.2.10"}),
                &["10.1.2.20"],
            ),
            local("a gateway that is no address", json!({"gateway": "10.1.2"}), &["10.1.2"]),
            local("a route to no network", json!({"routes": [{"dst": "10.9.0.0/33"}]}), &["10.9.0.0/33"]),
            local(
                "a route by no address",
                json!({"routes": [{"dst": "10.9.0.0/16", "gw": "west"}]}),
                &["west"],
            ),
            local("routes that are no list", json!({"routes": {"dst": "10.9.0.0/16"}}), &["routes"]),
        ],
    );
}

#[test]
fn ranges_of_host_local_that_are_refused_leave_nothing() {
    let ranges = |ranges: Value| with(json!({"type": "host-local", "ranges": ranges}));
    let (one, other) = (json!({"subnet": "10.1.2.0/24"}), json!({"subnet": "fd00:66::/64"}));
    run(
        Plugins::Ours,
        vec![
            row("ranges that are no list", ranges(one.clone()), &["ranges"]),
            row("an empty set", ranges(json!([[]])), &["empty"]),
            row(
                "two sets of the same addresses",
                ranges(json!([[one.clone()], [one.clone()]])),
                &["overlap"],
            ),
            row("both families in a set", ranges(json!([[one, other]])), &["mixed"]),
            local("a folder that is a file", json!({"dataDir": "/dev/null"}), &["/dev/null"]),
            local("no such resolv.conf", json!({"resolvConf": "/nonexistent"}), &["/nonexistent"]),
            row("a type that is a number", with(json!({"type": 7})), &["type"]),
            row("no such plugin", with(json!({"type": "no-such"})), &["no-such"]),
        ],
    );
}

#[test]
fn an_address_that_host_local_refuses_leaves_nothing() {
    let asking = || {
        let mut conf = with(host_local(json!({})));
        conf["capabilities"] = json!({"ips": true});
        conf
    };
    let full = with(host_local(json!({"subnet": "10.1.3.0/30"})));
    run_on(
        Plugins::Ours,
        |node| node.write("networks/bad/10.1.3.2", "another\r\neth0"),
        vec![
            row("a full range", full, &["no IP addresses available"]),
            row("an address outside", asking(), &["10.9.9.9"]).requested(json!({"ips": ["10.9.9.9"]})),
            row("the gateway", asking(), &["gateway"]).requested(json!({"ips": ["10.1.2.1"]})),
            row("an address in cni-args", with(host_local(json!({}))), &["west"])
                .requested(json!({"cni-args": {"ips": ["west"]}})),
        ],
    );
}

#[test]
fn static_addresses_that_are_refused_leave_nothing() {
    let good = json!([{"address": "10.1.2.3/24"}]);
    run(
        Plugins::Ours,
        vec![
            row(
                "addresses that are no list",
                with(json!({"type": "static", "addresses": "10.1.2.3/24"})),
                &["addresses"],
            ),
            one_static("no mask", json!({"address": "10.1.2.3"}), &["10.1.2.3"]),
            one_static("no address", json!({"gateway": "10.1.2.1"}), &["address"]),
            one_static("a mask of 33", json!({"address": "10.1.2.3/33"}), &["10.1.2.3/33"]),
            one_static(
                "a gateway that is no address",
                json!({"address": "10.1.2.3/24", "gateway": "west"}),
                &["west"],
            ),
            row(
                "a route to no network",
                with(json!({"type": "static", "addresses": good, "routes": [{"dst": "10.9.0.0/33"}]})),
                &["10.9.0.0/33"],
            ),
            row(
                "addresses twice in a family and version 0.2.0",
                json!({"cniVersion": "0.2.0", "name": "bad", "type": "bridge", "bridge": "br0",
                    "ipam": {"type": "static", "addresses": [{"address": "10.1.2.3/24"}, {"address": "10.1.3.3/24"}]}}),
                &["0.2.0", "more than 1 address"],
            ),
        ],
    );
}

#[test]
fn dhcp_without_its_daemon_leaves_nothing() {
    let conf = with(json!({"type": "dhcp", "daemonSocketPath": "/nonexistent/dhcp.sock"}));
    run(
        Plugins::Ours,
        vec![
            row("no daemon", conf, &["/nonexistent/dhcp.sock"]),
            row(
                "a socket that is a number",
                with(json!({"type": "dhcp", "daemonSocketPath": 7})),
                &["daemonSocketPath"],
            ),
        ],
    );
}
