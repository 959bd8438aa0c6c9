//! Plugins that make or move one link: `macvlan`, `ipvlan`, `vlan`, `host-device`, `loopback`.

use serde_json::{Value, json};

use super::host_local;
use super::row::{row, run};
use super::world::Plugins;

fn link(kind: &str, more: Value) -> Value {
    let conf = json!({"cniVersion": "0.3.1", "name": "bad", "type": kind, "master": "mst0", "ipam": host_local(json!({}))});
    tests::driver::merged(&conf, more)
}

/// A range of host-local that has no first address.
fn no_range() -> Value {
    json!({"ipam": host_local(json!({"rangeStart": "10.1.2.14.200"}))})
}

#[test]
fn a_macvlan_link_of_ours_that_is_refused_leaves_nothing() {
    let value = |what, more, words| row(what, link("macvlan", more), words).code(7);
    let wrong_type = |what, more, words| row(what, link("macvlan", more), words).code(6);
    let of_ipam = |what, more, words| row(what, link("macvlan", more), words);
    run(
        Plugins::Ours,
        vec![
            value("a master that is not there", json!({"master": "gone0"}), &["master", "gone0"]),
            value("a mode that is none", json!({"mode": "bright"}), &["mode", "bright"]),
            wrong_type("a mode that is a number", json!({"mode": 7}), &["mode", "7"]),
            value("an MTU above the master's", json!({"mtu": 9000}), &["MTU", "9000"]),
            value("an MTU below zero", json!({"mtu": -1}), &["MTU", "-1"]),
            wrong_type("an MTU that is text", json!({"mtu": "1480"}), &["mtu", "1480"]),
            value("a MAC address that is none", json!({"mac": "banana"}), &["mac", "banana"]),
            wrong_type("a master that is a number", json!({"master": 7}), &["master", "7"]),
            value(
                "passthru with a MAC address",
                json!({"mode": "passthru", "mac": "02:00:00:00:00:01"}),
                &["passthru", "mac"],
            ),
            of_ipam("no first address", no_range(), &["10.1.2.14.200"]),
            of_ipam("no such IPAM plugin", json!({"ipam": {"type": "no-such"}}), &["no-such"]),
        ],
    );
}

/// If its IPAM plugin fails, Go's macvlan leaves its link in the sandbox, with which it ends.
#[test]
fn a_macvlan_link_of_debians_that_is_refused_leaves_at_most_the_link() {
    let refused = |what, more, words| row(what, link("macvlan", more), words);
    run(
        Plugins::Debians,
        vec![
            refused("a master that is not there", json!({"master": "gone0"}), &["Link not found"]),
            refused("a mode that is none", json!({"mode": "bright"}), &["mode", "bright"]),
            refused(
                "a capability that it ignores",
                json!({"capabilities": {"routes": true}}),
                &["10.8.0.0/16", "\"routes\""],
            )
            .code(7)
            .requested(json!({"routes": [{"dst": "10.8.0.0/16"}]})),
            refused("a mode that is a number", json!({"mode": 7}), &["mode", "number"]),
            refused("an MTU above the master's", json!({"mtu": 9000}), &["MTU", "9000"]),
            refused("an MTU below zero", json!({"mtu": -1}), &["MTU", "-1"]),
            refused("an MTU that is text", json!({"mtu": "1480"}), &["mtu", "string"]),
            refused("a MAC address that is none", json!({"mac": "banana"}), &["MAC", "banana"]),
            refused("a master that is a number", json!({"master": 7}), &["master", "number"]),
            refused("no first address", no_range(), &["10.1.2.14.200"]).may_leave_net1(),
            refused("no such IPAM plugin", json!({"ipam": {"type": "no-such"}}), &["no-such"])
                .may_leave_net1(),
        ],
    );
}

/// These are refused before the kernel is asked, which may not have ipvlan.
#[test]
fn an_ipvlan_link_that_is_refused_leaves_nothing() {
    let refused = |what, more, words| row(what, link("ipvlan", more), words);
    run(
        Plugins::Ours,
        vec![
            refused("a master that is not there", json!({"master": "gone0"}), &["master", "gone0"]).code(7),
            refused("a mode that is none", json!({"mode": "l4"}), &["mode", "l4"]).code(7),
            refused("an MTU that is text", json!({"mtu": "1480"}), &["mtu", "1480"]).code(6),
        ],
    );
    run(
        Plugins::Debians,
        vec![
            refused("a master that is not there", json!({"master": "gone0"}), &["gone0", "Link not found"]),
            refused("a mode that is none", json!({"mode": "l4"}), &["mode", "l4"]),
            refused("an MTU that is text", json!({"mtu": "1480"}), &["mtu", "string"]),
        ],
    );
}

#[test]
fn a_vlan_link_that_is_refused_leaves_nothing() {
    let refused = |what, more, words| row(what, link("vlan", more), words);
    run(
        Plugins::Ours,
        vec![
            refused("no master", json!({"master": ""}), &["master"]),
            refused(
                "a master that is not there",
                json!({"master": "gone0", "vlanId": 100}),
                &["Link not found"],
            ),
            refused("an id above the largest", json!({"vlanId": 5000}), &["VLAN ID", "5000"]),
            refused("an id below zero", json!({"vlanId": -1}), &["VLAN ID", "-1"]),
            refused("an id that is text", json!({"vlanId": "100"}), &["vlanId", "string"]),
            refused("an MTU above the master's", json!({"vlanId": 100, "mtu": 9000}), &["MTU", "9000"]),
        ],
    );
}

#[test]
fn a_host_device_that_is_refused_leaves_nothing() {
    let conf = json!({"cniVersion": "0.3.1", "name": "bad", "type": "host-device"});
    let refused = |what, more, words| row(what, tests::driver::merged(&conf, more), words);
    run(
        Plugins::Ours,
        vec![
            refused("no key", json!({}), &["device", "hwaddr", "kernelpath", "pciBusID"]),
            refused(
                "a device that is not there",
                json!({"device": "gone0"}),
                &["host device", "Link not found"],
            ),
            refused("a MAC address that is none", json!({"hwaddr": "banana"}), &["banana"]),
            refused(
                "a MAC address that no link has",
                json!({"hwaddr": "02:00:00:00:00:77"}),
                &["host device"],
            ),
            refused("a PCI device that is not there", json!({"pciBusID": "0000:99:99.9"}), &["0000:99:99.9"]),
            refused("a path outside of /sys/devices", json!({"kernelpath": "/dev/null"}), &["/dev/null"]),
            refused("a device that is a number", json!({"device": 7}), &["device", "number"]),
        ],
    );
}

#[test]
fn a_loopback_that_is_refused_leaves_nothing() {
    let conf = |more| {
        tests::driver::merged(&json!({"cniVersion": "0.3.1", "name": "bad", "type": "loopback"}), more)
    };
    run(
        Plugins::Ours,
        vec![
            row("addresses that are a number", conf(json!({"ipam": 7})), &["ipam", "number"]),
            row(
                "name servers that are text",
                conf(json!({"dns": {"nameservers": "10.1.2.1"}})),
                &["nameservers", "string"],
            ),
        ],
    );
}
