//! Routes in real namespaces.
#![allow(clippy::unwrap_used)]

use netlink::{
    Dad, Error, Link, MAIN_TABLE, MasterError, Route, RouteFilter, RouteScope, Socket, find_master,
    test_util::{NamedNetns, Testbed},
};

/// A testbed, a socket in its host namespace, and the master with addresses 10.1.0.1/24 and 2001:db8::1/64.
fn bench() -> (Testbed, Socket, Link) {
    let testbed = Testbed::new().unwrap();
    let host = testbed.host.socket().unwrap();
    let master = host.link_by_name(Testbed::MASTER).unwrap().unwrap();
    for net in ["10.1.0.1/24", "2001:db8::1/64"] {
        host.add_address(&master, net.parse().unwrap(), Dad::Skip).unwrap();
    }
    (testbed, host, master)
}

fn route(dst: &str, gw: Option<&str>, dev: &Link) -> Route {
    Route { gw: gw.map(|gw| gw.parse().unwrap()), dev: Some(dev.index), ..Route::new(dst.parse().unwrap()) }
}

fn find(socket: &Socket, dst: &str) -> Vec<Route> {
    let routes = socket.routes(RouteFilter::default()).unwrap();
    routes.into_iter().filter(|route| route.dst == dst.parse().unwrap()).collect()
}

#[test]
fn every_field_of_an_ipv4_route_is_listed() {
    let (_testbed, host, master) = bench();
    let added = Route {
        mtu: Some(1400),
        advmss: Some(1300),
        priority: Some(77),
        table: Some(1001),
        scope: Some(RouteScope::GLOBAL),
        onlink: true,
        ..route("10.2.0.0/16", Some("192.0.2.1"), &master)
    };
    host.add_route(&added).unwrap();
    assert_eq!(find(&host, "10.2.0.0/16"), [added]);
}

#[test]
fn every_field_of_an_ipv6_route_is_listed() {
    let (_testbed, host, master) = bench();
    let added = Route {
        mtu: Some(1400),
        advmss: Some(1300),
        priority: Some(77),
        table: Some(1001),
        ..route("2001:db8:2::/48", Some("2001:db8::9"), &master)
    };
    host.add_route(&added).unwrap();
    assert_eq!(find(&host, "2001:db8:2::/48"), [Route { scope: Some(RouteScope::GLOBAL), ..added }]);
}

#[test]
fn missing_fields_get_the_kernels_defaults() {
    let (_testbed, host, master) = bench();
    let gw = Route { dev: None, ..route("10.2.0.0/16", Some("10.1.0.9"), &master) };
    host.add_route(&gw).unwrap();
    let expected =
        Route { dev: Some(master.index), table: Some(MAIN_TABLE), scope: Some(RouteScope::GLOBAL), ..gw };
    assert_eq!(find(&host, "10.2.0.0/16"), [expected]);

    let direct = route("10.3.0.0/16", None, &master);
    host.add_route(&direct).unwrap();
    assert_eq!(find(&host, "10.3.0.0/16")[0].scope, Some(RouteScope::LINK));

    host.add_route(&route("2001:db8:2::/48", Some("2001:db8::9"), &master)).unwrap();
    assert_eq!(find(&host, "2001:db8:2::/48")[0].priority, Some(1024));
}

#[test]
fn host_bits_of_a_destination_are_ignored() {
    let (_testbed, host, master) = bench();
    host.add_route(&route("10.2.3.4/16", Some("10.1.0.9"), &master)).unwrap();
    assert_eq!(find(&host, "10.2.0.0/16").len(), 1);
}

#[test]
fn an_ipv4_route_may_have_an_ipv6_next_hop() {
    let (_testbed, host, master) = bench();
    host.add_route(&route("10.2.0.0/16", Some("2001:db8::9"), &master)).unwrap();
    assert_eq!(find(&host, "10.2.0.0/16")[0].gw, "2001:db8::9".parse().ok());
}

#[test]
fn a_second_next_hop_is_added_and_the_same_route_exists() {
    let (_testbed, host, master) = bench();
    for dst_and_gws in
        [["10.2.0.0/16", "10.1.0.8", "10.1.0.9"], ["2001:db8:2::/48", "2001:db8::8", "2001:db8::9"]]
    {
        let [dst, one, two] = dst_and_gws;
        host.add_route(&route(dst, Some(one), &master)).unwrap();
        host.add_route(&route(dst, Some(two), &master)).unwrap();
        let error = host.add_route(&route(dst, Some(one), &master)).unwrap_err();
        assert!(matches!(error, Error::Exists(_)), "{error}");
        let mut hops: Vec<_> = find(&host, dst).into_iter().filter_map(|route| route.gw).collect();
        hops.sort();
        assert_eq!(hops, [one.parse::<std::net::IpAddr>().unwrap(), two.parse().unwrap()]);
    }
}

#[test]
fn an_unreachable_next_hop_is_explained_by_the_kernel() {
    let (_testbed, host, master) = bench();
    let error = host.add_route(&route("10.2.0.0/16", Some("192.0.2.1"), &master)).unwrap_err();
    let refusal = error.refusal().unwrap();
    assert_eq!(refusal.ext_ack.as_deref(), Some("Nexthop has invalid gateway"));
    let text = error.to_string();
    assert!(text.starts_with("cannot add route 10.2.0.0/16 via 192.0.2.1 dev #"), "{text}");
    // The C library's text stands before it.
    assert!(text.contains("nreachable (os error 101): Nexthop has invalid gateway ("), "{text}");
}

#[test]
fn deleting_a_route_leaves_others_to_the_same_destination_and_succeeds_twice() {
    let (_testbed, host, master) = bench();
    let one = route("10.2.0.0/16", Some("10.1.0.8"), &master);
    let two = Route { priority: Some(50), table: Some(7), ..one };
    host.add_route(&one).unwrap();
    host.add_route(&two).unwrap();
    host.delete_route(&one).unwrap();
    host.delete_route(&one).unwrap();
    let left = find(&host, "10.2.0.0/16");
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].table, Some(7));
    host.delete_route(&left[0]).unwrap();
    assert_eq!(find(&host, "10.2.0.0/16"), []);
}

#[test]
fn a_filter_selects_table_and_interface() {
    let (_testbed, host, master) = bench();
    let lo = host.link_by_name("lo").unwrap().unwrap();
    host.add_route(&Route { table: Some(1001), ..route("10.2.0.0/16", None, &master) }).unwrap();
    host.add_route(&route("10.3.0.0/16", None, &lo)).unwrap();
    let dst =
        |filter| host.routes(filter).unwrap().iter().map(|route| route.dst.to_string()).collect::<Vec<_>>();
    assert_eq!(dst(RouteFilter { table: Some(1001), dev: None }), ["10.2.0.0/16"]);
    assert!(dst(RouteFilter { table: None, dev: Some(lo.index) }).contains(&"10.3.0.0/16".to_owned()));
    assert!(!dst(RouteFilter { table: None, dev: Some(lo.index) }).contains(&"10.2.0.0/16".to_owned()));
    assert_eq!(dst(RouteFilter { table: Some(4711), dev: None }), [""; 0]);
    assert_eq!(dst(RouteFilter { table: None, dev: Some(4711) }), [""; 0]);
}

#[test]
fn a_list_of_many_routes_is_complete() {
    let (_testbed, host, master) = bench();
    for number in 0..3000u32 {
        let dst = format!("10.{}.{}.0/24", 32 + (number >> 8), number & 255);
        host.add_route(&route(&dst, None, &master)).unwrap();
    }
    let found = host.routes(RouteFilter { table: Some(MAIN_TABLE), dev: Some(master.index) }).unwrap();
    assert_eq!(
        found
            .iter()
            .filter(|route| route.dst.addr() >= std::net::IpAddr::from([10, 32, 0, 0]))
            .filter(|route| route.dst.addr().is_ipv4())
            .count(),
        3000
    );
}

#[test]
fn without_selector_the_master_is_on_the_best_default_route_ipv4_first() {
    let (_testbed, host, master) = bench();
    let lo = host.link_by_name("lo").unwrap().unwrap();
    let device = || match find_master(&host, &[]) {
        Ok(link) => Some(link.name),
        Err(MasterError::NoDefaultRoute) => None,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(device(), None);
    host.add_route(&Route { table: Some(1001), ..route("0.0.0.0/0", None, &lo) }).unwrap();
    assert_eq!(device(), None);
    host.add_route(&route("::/0", Some("2001:db8::9"), &master)).unwrap();
    assert_eq!(device().as_deref(), Some(Testbed::MASTER));
    host.add_route(&Route { priority: Some(200), ..route("0.0.0.0/0", None, &lo) }).unwrap();
    assert_eq!(device().as_deref(), Some("lo"));
    host.add_route(&Route { priority: Some(100), ..route("0.0.0.0/0", Some("10.1.0.9"), &master) }).unwrap();
    assert_eq!(device().as_deref(), Some(Testbed::MASTER));
}

#[test]
fn a_namespace_without_routes_has_none() {
    let named = NamedNetns::new().unwrap();
    let routes = named.socket().unwrap().routes(RouteFilter { table: Some(MAIN_TABLE), dev: None }).unwrap();
    assert!(routes.iter().all(|route| route.dst.addr().is_ipv6()), "{routes:?}");
}
