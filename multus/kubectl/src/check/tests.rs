//! Single definitions, and the whole output.

use nad::NadRef;
use node::names::{DnsLabel, DnsSubdomain};
use serde_json::{Value, json};

use super::*;
use crate::overlap::Surroundings;

fn input(name: &str, config: impl ToString) -> Input {
    let nad_ref = NadRef { namespace: DnsLabel::new("ns").unwrap(), name: DnsSubdomain::new(name).unwrap() };
    Input { nad_ref, config: config.to_string() }
}

/// The findings about one definition, as `severity: message`.
fn found(config: impl ToString) -> Vec<String> {
    let report = check(&[input("a", config)], &[], &Surroundings::default(), Vec::new());
    report.findings.iter().map(|finding| format!("{}: {}", finding.severity, finding.message)).collect()
}

fn macvlan(keys: Value) -> Value {
    let mut conf = json!({"cniVersion": "1.0.0", "type": "macvlan", "master": "eth0"});
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    conf
}

fn whereabouts(mut ipam: Value) -> Value {
    ipam["type"] = json!("whereabouts");
    macvlan(json!({"ipam": ipam}))
}

#[test]
fn a_usual_definition_has_no_findings() {
    let usual = whereabouts(
        json!({"range": "192.168.20.0/24", "range_start": "192.168.20.10", "range_end": "192.168.20.100",
        "exclude": ["192.168.20.64/28"], "gateway": "192.168.20.1", "routes": [{"dst": "10.0.0.0/8"}]}),
    );
    assert!(found(usual).is_empty());
    let list = json!({"cniVersion": "0.3.1", "plugins": [
        {"type": "macvlan", "capabilities": {"ips": true}, "ipam": {"type": "static", "addresses": [{"address": "10.1.1.1/24"}]}},
        {"type": "tuning", "sysctl": {}}]});
    assert!(found(list).is_empty());
    assert!(found(json!({"cniVersion": "1.0.0", "plugins": [{"type": "bridge"}, {"type": "ipvlan", "master": "br0"}]})).is_empty());
}

/// Each error is the text of the ADD that would fail.
#[test]
fn what_an_add_refuses_is_an_error_with_its_text() {
    for (config, want) in [
        (json!("{"), "GetCNIConfig: err in getCNIConfigFromSpec: failed to unmarshal Spec.Config: "),
        (json!({"cniVersion": "1.0.0"}), "no plugins in list (a conf has 'type' or 'plugins')"),
        (json!({"plugins": [{"type": "a"}, {}]}), "missing 'type'"),
        (json!({"type": "multus"}), "has multus itself"),
        (json!({"type": "a", "cniVersion": "9.9.9"}), "unknown CNI version"),
        (
            macvlan(json!({"mode": "bridged"})),
            "plugin macvlan: unknown macvlan mode: \"bridged\"; expected bridge, private",
        ),
        (macvlan(json!({"mtu": "1500"})), "\"mtu\" must be a whole number, found \"1500\""),
        (macvlan(json!({"cniVersion": "0.2.0"})), "cannot convert: no valid IP addresses"),
        (macvlan(json!({"mode": "passthru", "mac": "02:00:00:00:00:01"})), "so that mac has no effect"),
        (json!({"cniVersion": "1.0.0", "type": "ipvlan"}), "plugin ipvlan: ipvlan needs addresses"),
        (
            json!({"cniVersion": "1.0.0", "type": "ipvlan", "mode": "l4", "ipam": {"type": "dhcp"}}),
            "unknown ipvlan mode: \"l4\"",
        ),
        (macvlan(json!({"ipam": {"type": "../sh"}})), "plugin macvlan: "),
        (whereabouts(json!({})), "ipam has neither \"range\" nor \"ipRanges\" nor \"addresses\""),
        (whereabouts(json!({"range": "10.0.0.0"})), "invalid CIDR 10.0.0.0"),
        (whereabouts(json!({"range": "10.0.0.0/24", "gateway": "x"})), "couldn't parse gateway IP: x"),
        (
            whereabouts(json!({"range": "10.0.0.0/24", "exclude": ["banana"]})),
            "could not parse exclude range",
        ),
        (whereabouts(json!({"range": 7})), "ipam.range must be a string"),
        (
            whereabouts(json!({"range": "10.0.0.0/24", "node_slice_size": "/20"})),
            "cannot cut 10.0.0.0/24 into slices of /20",
        ),
        (whereabouts(json!({"range": "10.0.0.0/24", "network_name": "A_b"})), "cannot name the pool"),
        (
            whereabouts(json!({"range": "10.0.0.0/30", "exclude": ["10.0.0.0/30"]})),
            "no address can be allocated from 10.0.0.0/30",
        ),
        (
            whereabouts(json!({"range": "10.0.0.0/24", "configuration_path": "/etc/shadow"})),
            "\"/etc/shadow\" is not in one of",
        ),
        (
            macvlan(json!({"ipam": {"type": "host-local", "range": "10.0.0.0/24"}})),
            "has neither \"ranges\" nor \"subnet\"",
        ),
    ] {
        let text = config.as_str().map_or_else(|| config.to_string(), str::to_owned);
        let all = found(text);
        assert!(
            all.iter().any(|found| found.starts_with("error: ") && found.contains(want)),
            "{config}: {all:?}"
        );
    }
}

#[test]
fn what_works_otherwise_than_its_author_expects_is_a_warning() {
    for (config, want) in [
        (json!(""), "it has no spec.config: each node needs a file in /etc/cni/multus/net.d"),
        (macvlan(json!({"vlan": 5, "mod": "x"})), "nobody knows \"vlan\", \"mod\" of the plugin macvlan"),
        (whereabouts(json!({"range": "10.0.0.0/24", "excludes": []})), "nobody knows \"excludes\" of ipam"),
        (
            whereabouts(json!({"range": "10.0.0.0/24", "rangeStart": "10.0.0.9"})),
            "ipam.rangeStart is a key of host-local",
        ),
        (
            whereabouts(json!({"range": "10.0.0.0/24", "range_start": "10.1.0.9"})),
            "range_start 10.1.0.9 is not a usable address",
        ),
        (
            whereabouts(json!({"range": "10.0.0.0/24", "gateway": "10.0.1.1"})),
            "gateway 10.0.1.1 is in none of the network's ranges",
        ),
        (
            whereabouts(
                json!({"range": "10.0.0.0/24", "routes": [{"dst": "10.8.0.0/16", "gw": "10.1.0.1"}]}),
            ),
            "the route to 10.8.0.0/16 has the gateway 10.1.0.1",
        ),
        (
            whereabouts(json!({"addresses": [{"address": "10.0.0.9/24"}]})),
            "every pod of this network gets 10.0.0.9/24",
        ),
        (macvlan(json!({"ipam": {"range": "10.0.0.0/24"}})), "ipam has no \"type\""),
        (
            macvlan(json!({"ipam": {"type": "host-local", "subnet": "10.0.0.0/24"}})),
            "host-local knows the addresses of its own node only",
        ),
        (
            macvlan(
                json!({"ipam": {"type": "host-local", "subnet": "10.0.0.0/24", "range_start": "10.0.0.9"}}),
            ),
            "\"range_start\" of ipam is a key of whereabouts",
        ),
        (
            macvlan(json!({"ipam": {"type": "static", "addresses": [{"address": "10.0.0.9/24"}]}})),
            "every pod of this network gets the same",
        ),
        (
            json!({"plugins": [{"type": "bridge"}, {"type": "tuning"}]}),
            "cniVersion is missing, so it is 0.1.0: lists of plugins came with",
        ),
        (
            json!({"cniVersion": "0.2.0", "type": "bridge"}),
            "cniVersion is 0.2.0: results before 0.3.0 have no MAC address",
        ),
        (
            json!({"cniVersion": "1.0.0", "plugins": [{"type": "bridge"}], "ipam": {}, "master": "x"}),
            "nobody knows \"ipam\", \"master\" of the list, beside \"plugins\"",
        ),
        (
            json!(r#"{"cniVersion":"1.0.0","type":"bridge","Args":{},"args":{"cni":{"a":1,"a":2}}}"#),
            "the key \"a\" stands twice",
        ),
    ] {
        let text = config.as_str().map_or_else(|| config.to_string(), str::to_owned);
        let all = found(text);
        assert!(
            all.iter().any(|found| found.starts_with("warning: ") && found.contains(want)),
            "{config}: {all:?}"
        );
    }
}

#[test]
fn what_cannot_be_known_is_a_note() {
    let all = found(json!({"cniVersion": "1.1.0", "type": "bridged"}));
    assert!(all[0].starts_with("note: cniVersion is 1.1.0: plugins of other projects"), "{all:?}");
    assert!(all[1].starts_with("note: plugin \"bridged\" is not known here") && all.len() == 2, "{all:?}");
    let all = found(
        json!({"cniVersion": "0.3.0", "type": "antrea", "networkType": "vlan", "ipam": {"type": "antrea"}}),
    );
    assert!(
        all.len() == 1 && all[0].starts_with("note: antrea-agent attaches this network, not multus"),
        "{all:?}"
    );
}

#[test]
fn definitions_of_the_cluster_are_compared_with_and_not_reported_about() {
    let inside =
        |range: &str| whereabouts(json!({"range": range, "network_name": range.replace(['.', '/'], "-")}));
    let inputs = [input("new", inside("10.0.0.0/24"))];
    let others =
        [input("old", inside("10.0.0.0/25")), input("older", inside("10.0.0.0/26")), input("broken", "{")];
    let report = check(&inputs, &others, &Surroundings::default(), Vec::new());
    let about: Vec<String> = report.findings.iter().map(|finding| finding.definitions.join(" ")).collect();
    assert_eq!(
        (about, report.definitions.len()),
        (vec!["ns/new ns/old".to_owned(), "ns/new ns/older".to_owned()], 1)
    );
}

#[test]
fn the_text_has_a_table_and_the_findings_the_worst_first() {
    let inputs = [
        input(
            "b",
            whereabouts(json!({"range": "10.0.0.0/24", "range_start": "10.0.0.10", "gateway": "10.0.1.1"})),
        ),
        input("a", macvlan(json!({"mode": "bridged", "master": ["eth0", {"subnet": "10.1.0.0/16"}]}))),
    ];
    let report = check(&inputs, &[], &Surroundings::default(), Vec::new());
    let want = "\
DEFINITION   PLUGINS   MASTER   ADDRESSES
ns/a         macvlan   -        -
ns/b         macvlan   eth0     whereabouts 10.0.0.0/24 (10.0.0.10 to 10.0.0.254: 245)

error: ns/a
    plugin macvlan: unknown macvlan mode: \"bridged\"; expected bridge, private, vepa, passthru or source

warning: ns/b
    gateway 10.0.1.1 is in none of the network's ranges, so that pods cannot reach it
    to do: correct the gateway, or the range

2 definitions checked: 1 error, 1 warning, 0 notes
";
    assert_eq!(render(&report), want);
}

#[test]
fn json_has_the_same_content() {
    let report = check(
        &[input("a", whereabouts(json!({"range": "fd00::/64"})))],
        &[],
        &Surroundings::default(),
        Vec::new(),
    );
    let json: Value = serde_json::from_str(&multus::explain::json(&report)).unwrap();
    let pool = json!({"name": "fd00---64", "range": "fd00::/64", "first": "fd00::1", "last": "fd00::ffff:ffff:ffff:fffe",
        "addresses": "18446744073709551614"});
    let row = json!({"definition": "ns/a", "plugins": ["macvlan"], "masters": ["eth0"], "ipam": ["whereabouts"], "pools": [pool]});
    assert_eq!(json, json!({"definitions": [row], "findings": []}));
}

#[test]
fn hostile_texts_of_a_definition_are_escaped() {
    let report = check(
        &[input("a", macvlan(json!({"\u{1b}[2J\u{202e}": 1, "mode": "\u{1b}]0;x\u{7}"})))],
        &[],
        &Surroundings::default(),
        Vec::new(),
    );
    assert_eq!(report.findings.len(), 2);
    let is_plain = |c: char| c == '\n' || c == ' ' || c.is_ascii_graphic();
    assert!(render(&report).chars().all(is_plain), "{}", render(&report));
}
