//! Plugins after another one: `tuning`, `sbr`, `vrf`, `bandwidth`, `portmap`, `firewall`. The address of the first one is released.

use serde_json::{Value, json};

use super::row::{Row, row, run};
use super::world::Plugins;
use super::{chain, host_local};

fn after_bridge(what: &'static str, plugin: Value, words: &'static [&'static str]) -> Row {
    row(what, chain(plugin), words)
}

fn alone(what: &'static str, plugin: Value, words: &'static [&'static str]) -> Row {
    let conf = json!({"cniVersion": "0.3.1", "name": "bad"});
    row(what, tests::driver::merged(&conf, plugin), words)
}

#[test]
fn a_tuning_that_is_refused_leaves_nothing() {
    let tuning = |more| tests::driver::merged(&json!({"type": "tuning"}), more);
    let refused = |what, more, words| after_bridge(what, tuning(more), words);
    run(
        Plugins::Ours,
        vec![
            refused(
                "a number as the value of a sysctl",
                json!({"sysctl": {"net.core.somaxconn": 500}}),
                &["sysctl"],
            ),
            refused("a sysctl that is not there", json!({"sysctl": {"net.no.such": "1"}}), &["net"]),
            refused("a sysctl of the whole node", json!({"sysctl": {"kernel.hostname": "x"}}), &["kernel"]),
            refused(
                "a value that the kernel refuses",
                json!({"sysctl": {"net.ipv4.ip_forward": "west"}}),
                &["ip_forward"],
            ),
            refused(
                "a sysctl with dots of a path",
                json!({"sysctl": {"net/../../etc/x": "1"}}),
                &["/proc/sys/net/etc/x"],
            ),
            refused("a MAC address that is none", json!({"mac": "banana"}), &["banana"]),
            refused("an MTU that is text", json!({"mtu": "1480"}), &["mtu"]),
            refused("an MTU that no link has", json!({"mtu": 1000000}), &["invalid argument"]),
            refused("a mode that is text", json!({"promisc": "on"}), &["promisc"]),
            alone("nothing before it", json!({"type": "tuning", "mtu": 1400}), &["prevResult"]),
        ],
    );
}

#[test]
fn source_routing_and_a_vrf_that_are_refused_leave_nothing() {
    let full = host_local(json!({"subnet": "10.1.2.0/30", "rangeStart": "10.1.2.1", "rangeEnd": "10.1.2.1"}));
    let macvlan = json!({"type": "macvlan", "master": "mst0", "ipam": full});
    let unreached = json!({"cniVersion": "0.3.1", "name": "bad", "plugins": [macvlan, {"type": "sbr"}]});
    run(
        Plugins::Ours,
        vec![
            row("source routing after a full range", unreached, &["no IP addresses available"]),
            alone("source routing with nothing before it", json!({"type": "sbr"}), &["chained"]),
            alone("a VRF with nothing before it", json!({"type": "vrf", "vrfname": "blue"}), &["prevResult"]),
            after_bridge("a VRF without a name", json!({"type": "vrf"}), &["vrf name"]),
            after_bridge("a VRF's name that is a number", json!({"type": "vrf", "vrfname": 7}), &["vrfname"]),
            after_bridge(
                "a VRF's table that is text",
                json!({"type": "vrf", "vrfname": "blue", "table": "x"}),
                &["table"],
            ),
        ],
    );
}

#[test]
fn a_bandwidth_that_is_refused_leaves_nothing() {
    let bandwidth = |more| tests::driver::merged(&json!({"type": "bandwidth"}), more);
    let refused = |what, more, words| after_bridge(what, bandwidth(more), words);
    let requested = |what, request: Value, words| {
        let conf = chain(json!({"type": "bandwidth", "capabilities": {"bandwidth": true}}));
        row(what, conf, words).requested(json!({"bandwidth": request}))
    };
    run(
        Plugins::Ours,
        vec![
            refused("a rate without a burst", json!({"ingressRate": 1000}), &["burst"]),
            refused("a burst without a rate", json!({"egressBurst": 1000}), &["rate"]),
            refused("a rate below zero", json!({"ingressRate": -1, "ingressBurst": 1}), &["ingressRate"]),
            refused(
                "a burst above 4 GB",
                json!({"ingressRate": 1000, "ingressBurst": 34359738369u64}),
                &["burst"],
            ),
            refused("a rate that is text", json!({"egressRate": "1k", "egressBurst": 1}), &["egressRate"]),
            alone(
                "nothing before it",
                json!({"type": "bandwidth", "ingressRate": 1000, "ingressBurst": 1000}),
                &["chained"],
            ),
            requested("a requested rate without a burst", json!({"ingressRate": 1000}), &["burst"]),
            requested(
                "a requested rate below zero",
                json!({"ingressRate": -1, "ingressBurst": 1}),
                &["ingressRate"],
            ),
            requested(
                "a requested burst above 4 GB",
                json!({"egressRate": 1000, "egressBurst": 34359738369u64}),
                &["burst"],
            ),
        ],
    );
}

#[test]
fn a_port_mapping_that_is_refused_leaves_nothing() {
    let conf = |more| {
        chain(tests::driver::merged(
            &json!({"type": "portmap", "capabilities": {"portMappings": true}}),
            more,
        ))
    };
    let requested = |what, mapping: Value, words| {
        row(what, conf(json!({})), words).requested(json!({"portMappings": [mapping]}))
    };
    let refused = |what, more, words| {
        row(what, conf(more), words)
            .requested(json!({"portMappings": [{"hostPort": 8080, "containerPort": 80}]}))
    };
    run(
        Plugins::Ours,
        vec![
            requested("no port of the container", json!({"hostPort": 8080}), &["container port"]),
            requested("a port below zero", json!({"hostPort": 8080, "containerPort": -1}), &["-1"]),
            requested(
                "a port of the host above the largest",
                json!({"hostPort": 99999, "containerPort": 80, "protocol": "tcp"}),
                &["99999"],
            ),
            requested(
                "a protocol that is none",
                json!({"hostPort": 8080, "containerPort": 80, "protocol": "carrier-pigeon"}),
                &["carrier-pigeon"],
            ),
            refused("a mark that is no bit", json!({"markMasqBit": 40}), &["MasqMarkBit"]),
            refused(
                "a mark and a chain",
                json!({"markMasqBit": 3, "externalSetMarkChain": "KUBE-MARK-MASQ"}),
                &["externalSetMarkChain"],
            ),
            refused("a switch that is text", json!({"snat": "yes"}), &["snat"]),
        ],
    );
}

#[test]
fn a_firewall_that_is_refused_leaves_nothing() {
    // The plugin knows no version before 0.4.0.
    let firewall = |what, more, words| {
        let mut conf = chain(tests::driver::merged(&json!({"type": "firewall"}), more));
        conf["cniVersion"] = json!("0.4.0");
        row(what, conf, words)
    };
    let first = json!({"cniVersion": "0.4.0", "name": "bad", "type": "firewall", "backend": "iptables"});
    run(
        Plugins::Ours,
        vec![
            firewall("a back end that is a number", json!({"backend": 7}), &["backend"]),
            row("a firewall with nothing before it", first, &["prevResult"]),
            after_bridge("a version that the plugin does not know", json!({"type": "firewall"}), &["0.3.1"])
                .code(1),
        ],
    );
}
