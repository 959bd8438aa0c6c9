//! `bridge` and `ptp`.

use serde_json::{Value, json};

use super::row::{Row, row, run};
use super::world::Plugins;
use super::{host_local, on_bridge};

fn bridge(what: &'static str, more: Value, words: &'static [&'static str]) -> Row {
    let mut conf = on_bridge(json!({"ipam": host_local(json!({}))}));
    conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    row(what, conf, words)
}

fn ptp(what: &'static str, more: Value, words: &'static [&'static str]) -> Row {
    let mut conf =
        json!({"cniVersion": "0.3.1", "name": "bad", "type": "ptp", "ipam": host_local(json!({}))});
    conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    row(what, conf, words)
}

#[test]
fn a_bridge_that_is_refused_leaves_nothing() {
    run(
        Plugins::Ours,
        vec![
            bridge("a VLAN above the largest", json!({"vlan": 5000}), &["5000"]),
            bridge("a VLAN below the smallest", json!({"vlan": -1}), &["-1"]),
            bridge("a VLAN that is text", json!({"vlan": "100"}), &["vlan"]),
            bridge("an MTU that is text", json!({"mtu": "1500"}), &["mtu"]),
            bridge(
                "a bridge's name of 20 bytes",
                json!({"bridge": "abcdefghijklmnopqrst"}),
                &["abcdefghijklmnopqrst"],
            ),
            bridge("a bridge that is another link", json!({"bridge": "mst0"}), &["mst0"]),
            bridge("a bridge's name that is a number", json!({"bridge": 7}), &["bridge"]),
            bridge("a gateway that is text", json!({"isGateway": "yes"}), &["isGateway"]),
            bridge("a masquerade that is text", json!({"ipMasq": "yes"}), &["ipMasq"]),
            bridge(
                "hairpin and promiscuous mode",
                json!({"hairpinMode": true, "promiscMode": true}),
                &["hairpin", "promisc"],
            ),
            bridge("a MAC address in args", json!({"args": {"cni": {"mac": "banana"}}}), &["banana"]),
            bridge("addresses that are missing", json!({"ipam": {"type": "static"}}), &["missing IP config"]),
            bridge(
                "a default gateway twice",
                json!({"isDefaultGateway": true, "ipam": host_local(json!({"routes": [{"dst": "0.0.0.0/0"}], "gateway": "10.1.2.0"}))}),
                &["add route", "file exists"],
            ),
        ],
    );
}

#[test]
fn a_point_to_point_link_that_is_refused_leaves_nothing() {
    run(
        Plugins::Ours,
        vec![
            ptp("an MTU that is text", json!({"mtu": "1500"}), &["mtu"]),
            ptp("an MTU that no link has", json!({"mtu": 1000000}), &["invalid argument"]),
            ptp("a masquerade that is text", json!({"ipMasq": "yes"}), &["ipMasq"]),
            ptp("no addresses", json!({"ipam": {"type": "static"}}), &["IP"]),
            ptp(
                "a full range",
                json!({"ipam": host_local(json!({"subnet": "10.1.2.0/30", "rangeStart": "10.1.2.1", "rangeEnd": "10.1.2.1"}))}),
                &["no IP"],
            ),
        ],
    );
}
