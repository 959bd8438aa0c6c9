//! Definitions beside each other.

use nad::NadRef;
use node::names::{DnsLabel, DnsSubdomain};
use serde_json::{Value, json};

use super::*;
use crate::definition::{Definition, read};

fn definition(name: &str, config: &Value) -> Definition {
    let nad_ref = NadRef { namespace: DnsLabel::new("ns").unwrap(), name: DnsSubdomain::new(name).unwrap() };
    let definition = read(&nad_ref, &config.to_string());
    assert!(definition.findings.is_empty(), "{:?}", definition.findings);
    definition
}

/// A macvlan network on eth1 with these keys of `ipam`.
fn ranged(name: &str, ipam: Value) -> Definition {
    with_master(name, "eth1", ipam)
}

fn with_master(name: &str, master: &str, mut ipam: Value) -> Definition {
    ipam["type"] = json!("whereabouts");
    definition(name, &json!({"cniVersion": "1.0.0", "type": "macvlan", "master": master, "ipam": ipam}))
}

fn link(name: &str, keys: Value) -> Definition {
    let mut conf = json!({"cniVersion": "1.0.0", "ipam": {"type": "dhcp"}});
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    definition(name, &conf)
}

/// The findings, as `severity: message`.
fn found(definitions: &[Definition], surroundings: &Surroundings) -> Vec<String> {
    let findings = check(definitions, surroundings);
    findings.iter().map(|finding| format!("{}: {}", finding.severity, finding.message)).collect()
}

fn between(one: Definition, other: Definition) -> Vec<String> {
    found(&[one, other], &Surroundings::default())
}

#[test]
fn pools_with_the_same_settings_or_without_common_addresses_are_right() {
    let a = || ranged("a", json!({"range": "10.0.0.0/24", "gateway": "10.0.0.1"}));
    for other in [
        json!({"range": "10.0.0.0/24", "gateway": "10.0.0.1"}),
        json!({"range": "10.0.0.0/24", "gateway": "10.0.0.1", "exclude": ["10.0.0.1"]}),
        json!({"range": "10.0.1.0/24", "network_name": "n"}),
        json!({"range": "fd00::/64"}),
        // Overlapping ranges are safe by default: every address is claimed once.
        json!({"range": "10.0.0.0/16", "range_start": "10.0.0.9"}),
    ] {
        assert!(between(a(), ranged("b", other.clone())).is_empty(), "{other}");
    }
}

#[test]
fn different_network_names_or_separate_ranges_can_give_one_address_to_two_pods() {
    let a = || ranged("a", json!({"range": "10.0.0.0/24", "range_end": "10.0.0.99"}));
    let named = ranged("b", json!({"range": "10.0.0.0/16", "network_name": "n"}));
    assert_eq!(
        between(a(), named),
        [
            "warning: ns/a and ns/b both give the addresses 10.0.0.1 to 10.0.0.99, so that two pods can have the same: their network_name \
          differs (none, \"n\")"
        ]
    );
    let separate = ranged("b", json!({"range": "10.0.0.0/16", "enable_overlapping_ranges": false}));
    let all = between(a(), separate);
    assert!(all[0].ends_with("enable_overlapping_ranges is false in ns/b") && all.len() == 1, "{all:?}");
    let other_wire = with_master("b", "eth2", json!({"range": "10.0.0.0/24", "network_name": "n"}));
    assert!(between(a(), other_wire)[0].starts_with("note: "));
    let outside =
        ranged("b", json!({"range": "10.0.0.0/24", "range_start": "10.0.0.100", "network_name": "n"}));
    assert!(between(a(), outside).is_empty());
}

#[test]
fn different_windows_or_settings_of_one_pool_are_reported() {
    let a = || ranged("a", json!({"range": "10.0.0.0/24", "range_end": "10.0.0.99"}));
    assert_eq!(
        between(a(), ranged("b", json!({"range": "10.0.0.0/24"}))),
        [
            "warning: both take addresses from pool \"10.0.0.0-24\", but ns/a from 10.0.0.1 to 10.0.0.99 (99 addresses) and ns/b from 10.0.0.1 to \
          10.0.0.254 (254 addresses)"
        ]
    );
    let separate =
        json!({"range": "10.0.0.0/24", "range_end": "10.0.0.99", "enable_overlapping_ranges": false});
    let all = between(a(), ranged("b", separate));
    assert!(all.len() == 1 && all[0].contains("true in one and false in the other"), "{all:?}");
    let sliced = |size: &str| json!({"range": "10.0.0.0/24", "node_slice_size": size, "network_name": "n"});
    let all = between(ranged("a", sliced("/26")), ranged("b", sliced("/27")));
    assert!(
        all.len() == 1 && all[0].contains("NodeSlicePool \"n\", one for 10.0.0.0/24 in slices of /26"),
        "{all:?}"
    );
    assert!(between(ranged("a", sliced("/26")), ranged("b", sliced("/26"))).is_empty());
}

#[test]
fn a_gateway_that_another_network_may_give_away_is_reported() {
    let a = ranged("a", json!({"range": "10.0.0.0/24", "gateway": "10.0.0.1"}));
    let b = ranged("b", json!({"range": "10.0.0.0/24"}));
    let all = between(a, b);
    assert!(
        all.iter()
            .any(|text| text
                .contains("ns/b may give a pod the address 10.0.0.1, which is the gateway of ns/a")),
        "{all:?}"
    );
}

#[test]
fn links_that_cannot_be_on_one_master_are_reported() {
    let macvlan = |keys: Value| {
        let mut conf = json!({"type": "macvlan", "master": "eth1"});
        conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        link("a", conf)
    };
    let ipvlan =
        |name: &str, mode: &str| link(name, json!({"type": "ipvlan", "master": "eth1", "mode": mode}));
    let all = between(macvlan(json!({})), ipvlan("b", "l2"));
    assert!(
        all.len() == 1 && all[0].contains("both make links on master \"eth1\", and a master has macvlan"),
        "{all:?}"
    );
    let all = between(ipvlan("a", "l2"), ipvlan("b", "l3"));
    assert!(all.len() == 1 && all[0].contains("here are l2 bridge and l3 bridge"), "{all:?}");
    let all = between(macvlan(json!({"mode": "passthru"})), macvlan(json!({})));
    assert!(all.len() == 1 && all[0].contains("passthru has its master for itself"), "{all:?}");
    assert!(between(macvlan(json!({})), macvlan(json!({"mode": "vepa"}))).is_empty());
    assert!(between(macvlan(json!({"linkInContainer": true})), ipvlan("b", "l2")).is_empty());
    assert!(between(ipvlan("a", "l2"), link("b", json!({"type": "macvlan", "master": "eth2"}))).is_empty());
}

#[test]
fn a_master_that_a_known_node_lacks_is_reported() {
    let of = |master: Value| link("a", json!({"type": "macvlan", "master": master}));
    let event = "failed (add): failed to lookup master \"eth9\": no such interface here; there are lo, eth0; for nodes with different";
    let node = NodeFacts { name: "n1".into(), links: present_on_node(event), ..NodeFacts::default() };
    let surroundings = Surroundings {
        nodes: vec![node, NodeFacts::default()],
        links: Some(vec!["eth0".into(), "eth5".into()]),
    };
    assert_eq!(
        found(&[of(json!("eth9"))], &surroundings),
        [
            "error: master \"eth9\" is none of the nodes' interfaces (eth0, eth5)",
            "warning: node n1 has no interface \"eth9\"; it has eth0, lo"
        ]
    );
    assert!(found(&[of(json!(["eth9", "eth0"]))], &surroundings).is_empty());
    assert!(found(&[of(json!({"subnet": "10.0.0.0/8"}))], &surroundings).is_empty());
    assert_eq!(
        present_on_node("failed to lookup master \"e\": no such interface here; there are lo, et"),
        None,
        "cut"
    );
    assert_eq!(present_on_node("failed to lookup master the interface"), None);
}

#[test]
fn addresses_of_nodes_and_of_the_cluster_network_in_a_range_are_reported() {
    let node = NodeFacts {
        name: "n1".into(),
        addresses: vec!["10.0.0.5".parse().unwrap(), "10.9.0.5".parse().unwrap()],
        pod_ranges: vec!["10.0.0.128/25".parse().unwrap()],
        links: None,
    };
    let surroundings = Surroundings { nodes: vec![node], links: None };
    let all = found(&[ranged("a", json!({"range": "10.0.0.0/24"}))], &surroundings);
    assert_eq!(
        all,
        [
            "warning: the range 10.0.0.0/24 has addresses of nodes, which a pod may get: n1 (10.0.0.5)",
            "warning: the range 10.0.0.0/24 overlaps with the cluster network of nodes: n1 (10.0.0.128/25)"
        ]
    );
    let right = json!({"range": "10.0.0.0/26", "range_start": "10.0.0.10"});
    assert!(found(&[ranged("a", right)], &surroundings).is_empty());
}
