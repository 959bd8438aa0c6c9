//! Default routes in a real network namespace.

use cni::cache::{Entry, Key};
use cni::names::{ContainerId, IfName};
use netlink::Dad;
use netlink::test_util::{NamedNetns, create_veth};
use serde_json::{Map, json};

use super::*;
use crate::plan::Role;
use crate::request::AttachmentRequest;
use crate::testing::network;

fn delegate(edit: RouteEdit) -> Delegate {
    Delegate {
        network: network("a", "1.0.0"),
        role: Role::Additional,
        if_name: IfName::parse("net1").unwrap(),
        request: AttachmentRequest::default(),
        capability_args: Map::new(),
        route_edit: edit,
    }
}

/// A pod with `net1` that has addresses and a default route of each family.
fn pod() -> (NamedNetns, NamedNetns, Socket) {
    let (pod, peer) = (NamedNetns::new().unwrap(), NamedNetns::new().unwrap());
    let (socket, other) = (pod.socket().unwrap(), peer.socket().unwrap());
    let (link, end) = create_veth(&socket, "net1", &other, "end").unwrap();
    for net in ["10.1.0.2/16", "fd00:1::2/64"] {
        socket.add_address(&link, net.parse().unwrap(), Dad::Skip).unwrap();
    }
    socket.set_up(&link).unwrap();
    other.set_up(&end).unwrap();
    for (dst, gw) in [("0.0.0.0/0", "10.1.0.1"), ("::/0", "fd00:1::1")] {
        let gw = Some(gw.parse().unwrap());
        socket.add_route(&Route { gw, dev: Some(link.index), ..Route::new(dst.parse().unwrap()) }).unwrap();
    }
    (pod, peer, socket)
}

/// The gateways of the default routes.
fn gateways(socket: &Socket) -> Vec<String> {
    let routes = socket.routes(RouteFilter { table: Some(MAIN_TABLE), dev: None }).unwrap();
    routes
        .iter()
        .filter(|route| route.is_default())
        .filter_map(|route| route.gw)
        .map(|gw| gw.to_string())
        .collect()
}

#[test]
fn only_routes_of_the_requested_family_are_removed() {
    let (_pod, _peer, socket) = pod();
    routes(&socket, &delegate(RouteEdit { drop_v4: true, ..RouteEdit::default() })).unwrap();
    assert_eq!(gateways(&socket), ["fd00:1::1"]);
    routes(&socket, &delegate(RouteEdit { drop_v6: true, ..RouteEdit::default() })).unwrap();
    assert!(gateways(&socket).is_empty());
}

#[test]
fn the_requested_gateway_replaces_that_of_the_plugins() {
    let (_pod, _peer, socket) = pod();
    let wanted = vec!["10.1.0.254".parse().unwrap(), "fd00:1::fe".parse().unwrap()];
    let edit = RouteEdit { drop_v4: true, drop_v6: true, gateways: wanted, keep: vec![] };
    routes(&socket, &delegate(edit.clone())).unwrap();
    assert_eq!(gateways(&socket), ["10.1.0.254", "fd00:1::fe"]);
    routes(&socket, &delegate(edit)).unwrap();
    assert_eq!(gateways(&socket).len(), 2);
}

#[test]
fn a_kept_network_has_a_route_like_the_removed_one() {
    let (_pod, _peer, socket) = pod();
    let keep = vec!["10.244.0.0/16".parse().unwrap(), "fd00:2::/64".parse().unwrap()];
    let edit = RouteEdit { drop_v4: true, keep, ..RouteEdit::default() };
    for _ in 0..2 {
        // Without the default route, the second time has nothing to copy.
        routes(&socket, &delegate(edit.clone())).unwrap();
        assert_eq!(gateways(&socket), ["fd00:1::1"]);
        let all = socket.routes(RouteFilter { table: Some(MAIN_TABLE), dev: None }).unwrap();
        let kept: Vec<String> = all
            .iter()
            .filter(|route| route.gw == Some("10.1.0.1".parse().unwrap()))
            .map(|route| route.dst.to_string())
            .collect();
        assert_eq!(kept, ["10.244.0.0/16"]);
    }
}

#[test]
fn a_gateway_that_cannot_be_reached_is_an_error() {
    let (_pod, _peer, socket) = pod();
    let edit =
        RouteEdit { drop_v4: true, gateways: vec!["192.0.2.1".parse().unwrap()], ..RouteEdit::default() };
    let error = routes(&socket, &delegate(edit)).unwrap_err();
    assert!(error.msg.starts_with("error setting default gateway: "), "{error}");
}

#[test]
fn without_an_interface_removing_routes_succeeds_and_adding_one_fails() {
    let pod = NamedNetns::new().unwrap();
    let socket = pod.socket().unwrap();
    routes(&socket, &delegate(RouteEdit { drop_v4: true, ..RouteEdit::default() })).unwrap();
    let edit = RouteEdit { gateways: vec!["10.0.0.1".parse().unwrap()], ..RouteEdit::default() };
    assert!(routes(&socket, &delegate(edit)).is_err());
}

#[test]
fn the_cached_result_has_the_routes_of_the_pod() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(folder.path());
    let attachment = Attachment {
        container_id: ContainerId::parse("c1").unwrap(),
        if_name: IfName::parse("eth0").unwrap(),
        netns: "/x".into(),
    };
    let edit =
        RouteEdit { drop_v4: true, gateways: vec!["10.0.0.1".parse().unwrap()], ..RouteEdit::default() };
    let error = cached_result(&cache, &attachment, &delegate(edit.clone())).unwrap_err();
    assert!(error.msg.starts_with("error setting default gateway in cache: "), "{error}");
    let delegate = delegate(edit);
    let key = Key {
        network: delegate.network.list.name.clone(),
        container_id: attachment.container_id.clone(),
        if_name: delegate.if_name.clone(),
    };
    let entry = Entry {
        config: b"{}".to_vec(),
        netns: "/x".into(),
        args: cni::args::CniArgs::default(),
        capability_args: Map::new(),
        result: Some(json!({"cniVersion": "1.0.0", "routes": [{"dst": "0.0.0.0/0", "gw": "10.9.9.9"}]})),
    };
    cache.write(&key, &entry).unwrap();
    cached_result(&cache, &attachment, &delegate).unwrap();
    assert_eq!(
        cache.read(&key).unwrap().unwrap().result.unwrap()["routes"],
        json!([{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}])
    );
}
