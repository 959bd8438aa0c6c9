//! Requests in a pod's annotation that multus itself refuses, of a definition that is right.

use serde_json::{Value, json};

use super::row::{Row, row, run};
use super::world::Plugins;
use super::{host_local, on_bridge};

fn asking(what: &'static str, request: Value, words: &'static [&'static str]) -> Row {
    let plugin =
        on_bridge(json!({"capabilities": {"ips": true, "mac": true}, "ipam": host_local(json!({}))}));
    let conf = json!({"cniVersion": "0.3.1", "name": "bad", "plugins": [plugin]});
    row(what, conf, words).code(7).requested(request)
}

#[test]
fn a_request_that_is_refused_leaves_nothing() {
    let nested = (0..124).fold(json!(1), |inner, _| json!({ "a": inner }));
    run(
        Plugins::Ours,
        vec![
            asking(
                "a route that the network does not let it choose",
                json!({"routes": [{"dst": "10.9.0.0/16"}]}),
                &["routes", "capability"],
            ),
            asking(
                "a family that the network does not let it choose",
                json!({"ipFamilies": ["IPv4"]}),
                &["ipFamilies", "capability"],
            ),
            asking(
                "a default route among the routes",
                json!({"routes": [{"dst": "0.0.0.0/0"}]}),
                &["0.0.0.0/0", "default-route"],
            ),
            asking("an address that is none", json!({"ips": ["west"]}), &["west"]),
            asking("addresses that are no list", json!({"ips": "10.1.2.3"}), &["ips"]),
            asking("a MAC address that is none", json!({"mac": "banana"}), &["banana"]),
            asking(
                "an interface's name of 16 bytes",
                json!({"interface": "abcdefghijklmnop"}),
                &["abcdefghijklmnop"],
            ),
            asking("an interface's name with a slash", json!({"interface": "a/b"}), &["a/b"]),
            asking("the interface of the default network", json!({"interface": "eth0"}), &["eth0"]),
            asking("a namespace that is a path", json!({"namespace": "../kube-system"}), &["../kube-system"]),
            asking("a gateway that is none", json!({"default-route": ["west"]}), &["west"]),
            asking("args that are a list", json!({"cni-args": ["a"]}), &["cni-args"]),
            asking("args 124 deep", json!({ "cni-args": nested }), &["deep"]),
            asking("a bandwidth that is a list", json!({"bandwidth": [1]}), &["bandwidth"]),
            asking(
                "port mappings that are an object",
                json!({"portMappings": {"hostPort": 1}}),
                &["portMappings"],
            ),
        ],
    );
}
