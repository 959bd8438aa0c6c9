//! What a pod chooses of a network whose owner lets it: routes, and the family of its addresses. Through multus, with macvlan and whereabouts.

use netlink::RouteFilter;
use serde_json::{Value, json};

use crate::bad_configurations::world::{Node, Plugins, Sandbox};

/// A network of two families, with a route of each.
fn network() -> Value {
    let ipam = json!({"type": "whereabouts", "ipRanges": [{"range": "10.66.0.0/24"}, {"range": "fd66::/64"}], "gateway": "10.66.0.254",
        "routes": [{"dst": "10.9.0.0/16"}, {"dst": "fd09::/64", "gw": "fd66::fe"}]});
    json!({"cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "master": "mst0",
        "capabilities": {"routes": true, "ipFamilies": true}, "ipam": ipam})
}

/// The addresses and routes of the pod's net1, without those that the kernel makes.
fn of_net1(sandbox: &Sandbox<'_>) -> (Vec<String>, Vec<String>) {
    let socket = sandbox.socket();
    let link = socket.link_by_name("net1").unwrap().expect("net1 is in the pod");
    let addresses = socket.addresses(&link).unwrap();
    let addresses =
        addresses.iter().map(|address| address.net.to_string()).filter(|net| !net.starts_with("fe80"));
    let routes = socket.routes(RouteFilter { dev: Some(link.index), table: None }).unwrap();
    let set = routes.iter().filter_map(|route| Some(format!("{} via {}", route.dst, route.gw?)));
    (addresses.collect(), set.collect())
}

/// Attaches the network with these requests, looks, and detaches it.
fn attached(node: &Node, request: Value) -> (Vec<String>, Vec<String>) {
    node.define(&network().to_string(), &request);
    let (before, sandbox) = (node.left(), node.sandbox());
    sandbox.call("ADD").ok();
    let found = of_net1(&sandbox);
    sandbox.call("DEL").ok();
    assert_eq!(node.left(), before);
    found
}

#[test]
fn a_pod_gets_the_routes_and_the_family_that_it_chooses() {
    let work = || {
        let node = Node::enter(Plugins::Ours);
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>();
        let (addresses, routes) = attached(&node, json!({"ipFamilies": ["IPv4"]}));
        assert_eq!((addresses, routes), (texts(&["10.66.0.1/24"]), texts(&["10.9.0.0/16 via 10.66.0.254"])));
        let (addresses, routes) = attached(&node, json!({"ipFamilies": ["IPv6"]}));
        assert_eq!((addresses, routes), (texts(&["fd66::1/64"]), texts(&["fd09::/64 via fd66::fe"])));
        // One route more, and another gateway for the network's own.
        let chosen = json!([{"dst": "10.8.0.0/16"}, {"dst": "10.9.0.0/16", "gw": "10.66.0.77"}]);
        let (addresses, routes) = attached(&node, json!({"ipFamilies": ["IPv4"], "routes": chosen}));
        assert_eq!(addresses, texts(&["10.66.0.1/24"]));
        assert_eq!(routes, texts(&["10.8.0.0/16 via 10.66.0.254", "10.9.0.0/16 via 10.66.0.77"]));
    };
    std::thread::scope(|scope| scope.spawn(work).join().unwrap());
}
