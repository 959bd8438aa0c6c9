//! What is on the wire: announcements, router advertisements, and addresses that another host has.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use netlink::test_util::{Arp, BROADCAST, NamedNetns, unsolicited_advertisement};
use netlink::{Mac, RouteFilter, Socket};
use serde_json::{Value, json};
use tests::driver::{Subject, merged};

use crate::macvlan_bench::{give_stranger, nothing_is_left, stranger, with_ipam};
use crate::support::Bench;

const MAC: Mac = Mac([0x02, 0, 0x5e, 0, 0x53, 0x01]);
const LONG: Duration = Duration::from_secs(5);

#[test]
fn a_neighbour_hears_of_both_addresses_unless_announce_is_off() {
    let bench = Bench::new();
    let ipam = bench.static_ipam(&["10.1.2.3/24", "fd00::3/64"]);
    let conf = with_ipam(&bench, json!({"ipam": ipam, "mac": MAC.to_string(), "nodad": true}));
    let ipv6: Ipv6Addr = "fd00::3".parse().unwrap();
    let frames = [
        Arp::announcement(MAC, [10, 1, 2, 3].into()).to_frame(BROADCAST).to_vec(),
        unsolicited_advertisement(MAC, ipv6),
    ];
    for frame in frames {
        let neighbour = stranger(&bench);
        bench.call().run(&Subject::ours(), "ADD", &conf).ok();
        // The kernel's own, by arp_notify, would be one.
        assert_eq!(neighbour.count(&frame, 2, LONG).unwrap(), 2);
        bench.call().run(&Subject::ours(), "DEL", &conf).ok();
        let quiet = merged(&conf, json!({"announce": false}));
        let neighbour = stranger(&bench);
        bench.call().run(&Subject::ours(), "ADD", &quiet).ok();
        assert!(neighbour.count(&frame, 2, Duration::from_secs(1)).unwrap() < 2);
        bench.call().run(&Subject::ours(), "DEL", &quiet).ok();
    }
}

/// A router advertisement (RFC 4861 section 4.2) by fe80::1 of a default route and of the prefix 2001:db8:1::/64 for addresses.
fn router_advertisement() -> Vec<u8> {
    let (source, all_nodes): (Ipv6Addr, Ipv6Addr) = ("fe80::1".parse().unwrap(), "ff02::1".parse().unwrap());
    let prefix: Ipv6Addr = "2001:db8:1::".parse().unwrap();
    let day = 86_400u32.to_be_bytes();
    let message = |checksum: u16| {
        [
            // Type 134, hop limit 64, a router for 1800 s.
            &[134, 0][..],
            &checksum.to_be_bytes(),
            &[64, 0],
            &1800u16.to_be_bytes(),
            &[0; 8],
            // Prefix information of 4 units: on the link and for autoconfiguration.
            &[3, 4, 64, 0xc0],
            &day,
            &day,
            &[0; 4],
            &prefix.octets(),
        ]
        .concat()
    };
    let length = u8::try_from(message(0).len()).unwrap();
    let pseudo =
        [&source.octets()[..], &all_nodes.octets(), &[0, 0, 0, length, 0, 0, 0, 58], &message(0)].concat();
    let sum: u32 = pseudo.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
    [
        &[0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0xfe, 0x86, 0xdd][..],
        &[0x60, 0, 0, 0, 0, length, 58, 255],
        &source.octets(),
        &all_nodes.octets(),
        &message(checksum),
    ]
    .concat()
}

/// IPv6 addresses of the advertised prefix and default routes that `net1` has.
fn uninvited(pod: &Socket) -> (Vec<IpAddr>, usize) {
    let link = pod.link_by_name("net1").unwrap().unwrap();
    let addresses = pod.addresses(&link).unwrap().into_iter().map(|address| address.net.addr());
    let advertised = addresses.filter(|ip| ip.to_string().starts_with("2001:db8:1:")).collect();
    let routes = pod.routes(RouteFilter { dev: Some(link.index), table: None }).unwrap();
    (advertised, routes.iter().filter(|route| route.is_default()).count())
}

#[test]
fn a_router_advertisement_changes_nothing_unless_it_is_asked_for() {
    let bench = Bench::new();
    let others = [NamedNetns::new().unwrap(), NamedNetns::new().unwrap()];
    let add = |id: &str, netns: &std::path::Path, more: Value| {
        let mut call = bench.call();
        (call.container_id, call.netns) = (id, Some(netns));
        call.run(&Subject::ours(), "ADD", &with_ipam(&bench, more)).ok();
    };
    add("v4", bench.lab.pod.path(), json!({}));
    let ipam = bench.static_ipam(&["fd00::3/64"]);
    add("v6", others[0].path(), json!({"ipam": ipam, "nodad": true}));
    add("asked", others[1].path(), json!({"acceptRA": true}));
    let (ipv6, asked) = (others[0].socket().unwrap(), others[1].socket().unwrap());
    let (stranger, frame) = (stranger(&bench), router_advertisement());
    let end = Instant::now() + LONG * 2;
    while {
        let (addresses, routes) = uninvited(&asked);
        addresses.is_empty() || routes == 0
    } {
        assert!(
            Instant::now() < end,
            "with acceptRA the advertisement made no address: {:?}",
            uninvited(&asked)
        );
        stranger.send(&frame).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    // The same frames came to all three.
    let before = uninvited(&bench.pod);
    assert_eq!((before, uninvited(&ipv6)), ((vec![], 0), (vec![], 0)));
    let link = bench.net1().unwrap();
    let of_pod = bench.pod.addresses(&link).unwrap();
    assert!(of_pod.iter().all(|address| address.net.addr().is_ipv4()), "{of_pod:?}");
}

#[test]
fn an_ipv4_address_that_another_host_has_is_refused_where_that_is_asked_for() {
    let bench = Bench::new();
    let mac = give_stranger(&bench, "10.1.2.2/24");
    let conf = with_ipam(&bench, json!({"conflictDetection": true}));
    let error = bench.call().run(&Subject::ours(), "ADD", &conf).error();
    assert!(error.msg.contains("10.1.2.2") && error.msg.contains(&mac), "{error}");
    nothing_is_left(&bench);
    // host-local goes on to the next address, which is free.
    let started = Instant::now();
    let result = bench.call().run(&Subject::ours(), "ADD", &conf).ok();
    assert_eq!(result["ips"][0]["address"], "10.1.2.3/24");
    assert!(started.elapsed() < LONG);
    bench.call().run(&Subject::ours(), "CHECK", &merged(&conf, json!({"prevResult": result}))).ok();
    bench.call().run(&Subject::ours(), "DEL", &conf).ok();
    nothing_is_left(&bench);
    let ipam = bench.static_ipam(&["10.1.2.2/24"]);
    bench.call().run(&Subject::ours(), "ADD", &with_ipam(&bench, json!({"ipam": ipam}))).ok();
}

#[test]
fn an_ipv6_address_that_another_host_has_is_refused_and_given_back() {
    let bench = Bench::new();
    give_stranger(&bench, "fd00::2/64");
    let ipam = json!({"type": "host-local", "subnet": "fd00::/64", "dataDir": bench.folder.path()});
    let conf = with_ipam(&bench, json!({"ipam": ipam}));
    let error = bench.call().run(&Subject::ours(), "ADD", &conf).error();
    assert!(error.msg.contains("fd00::2") && error.msg.contains("DADFAILED"), "{error}");
    nothing_is_left(&bench);
}
