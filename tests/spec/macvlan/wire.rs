//! Frames on the wire: announcements, router advertisements, and answers of a host that has the same address.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use netlink::test_util::{Arp, BROADCAST, Frames, NamedNetns, Testbed, unsolicited_advertisement};
use netlink::{Mac, RouteFilter, Socket};
use serde_json::{Value, json};
use tests::driver::{Subject, merged};

use crate::macvlan::conf::with_ipam;
use crate::support::{Bench, nothing_is_left};

const MAC: Mac = Mac([0x02, 0, 0x5e, 0, 0x53, 0x01]);
const LONG: Duration = Duration::from_secs(5);

/// A socket that sends and receives frames as another host on the wire.
fn neighbour_socket(bench: &Bench) -> Frames {
    let wire = bench.lab.peer.socket().unwrap().link_by_name(Testbed::WIRE).unwrap().unwrap();
    Frames::on(bench.lab.peer.netns(), &wire).unwrap()
}

/// Gives the other host on the wire an address and returns its MAC address.
fn give_neighbour(bench: &Bench, address: &str) -> String {
    let peer = bench.lab.peer.socket().unwrap();
    let wire = peer.link_by_name(Testbed::WIRE).unwrap().unwrap();
    peer.add_address(&wire, address.parse().unwrap(), netlink::Dad::Skip).unwrap();
    wire.mac.unwrap().to_string()
}

#[test]
fn a_neighbour_receives_an_announcement_of_each_address_unless_announce_is_off() {
    let bench = Bench::new();
    let ipam = bench.static_ipam(&["10.1.2.3/24", "fd00::3/64"]);
    let conf = with_ipam(&bench, json!({"ipam": ipam, "mac": MAC.to_string(), "nodad": true}));
    let ipv6: Ipv6Addr = "fd00::3".parse().unwrap();
    let frames = [
        Arp::announcement(MAC, [10, 1, 2, 3].into()).to_frame(BROADCAST).to_vec(),
        unsolicited_advertisement(MAC, ipv6),
    ];
    for frame in frames {
        let neighbour = neighbour_socket(&bench);
        bench.call().run(&Subject::ours(), "ADD", &conf).ok();
        // The kernel's own announcement (arp_notify) is one frame, ours are more.
        assert_eq!(neighbour.count(&frame, 2, LONG).unwrap(), 2);
        bench.call().run(&Subject::ours(), "DEL", &conf).ok();
        let quiet = merged(&conf, json!({"announce": false}));
        let neighbour = neighbour_socket(&bench);
        bench.call().run(&Subject::ours(), "ADD", &quiet).ok();
        assert!(neighbour.count(&frame, 2, Duration::from_secs(1)).unwrap() < 2);
        bench.call().run(&Subject::ours(), "DEL", &quiet).ok();
    }
}

/// A router advertisement (RFC 4861 section 4.2): fe80::1 is a default router, and hosts may take addresses of 2001:db8:1::/64.
fn router_advertisement() -> Vec<u8> {
    let (source, all_nodes): (Ipv6Addr, Ipv6Addr) = ("fe80::1".parse().unwrap(), "ff02::1".parse().unwrap());
    let prefix: Ipv6Addr = "2001:db8:1::".parse().unwrap();
    let day = 86_400u32.to_be_bytes();
    let message = |checksum: u16| {
        [
            // Type 134, code 0; after the checksum hop limit 64, no flags, router lifetime 1800 s.
            &[134, 0][..],
            &checksum.to_be_bytes(),
            &[64, 0],
            &1800u16.to_be_bytes(),
            &[0; 8],
            // Option 3 (prefix information), 4 units of 8 bytes: a /64, flags L (on-link) and A (autoconfiguration).
            &[3, 4, 64, 0xc0],
            &day,
            &day,
            &[0; 4],
            &prefix.octets(),
        ]
        .concat()
    };
    let length = u8::try_from(message(0).len()).unwrap();
    // The ICMPv6 checksum covers a pseudo-header: addresses, length, next header 58.
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

/// What `net1` took from the advertisement: the addresses of its prefix, and the number of default routes.
fn advertised(pod: &Socket) -> (Vec<IpAddr>, usize) {
    let link = pod.link_by_name("net1").unwrap().unwrap();
    let addresses = pod.addresses(&link).unwrap().into_iter().map(|address| address.net.addr());
    let of_prefix = addresses.filter(|ip| ip.to_string().starts_with("2001:db8:1:")).collect();
    let routes = pod.routes(RouteFilter { dev: Some(link.index), table: None }).unwrap();
    (of_prefix, routes.iter().filter(|route| route.is_default()).count())
}

#[test]
fn a_router_advertisement_changes_nothing_unless_accept_ra_is_set() {
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
    add("with-ra", others[1].path(), json!({"acceptRA": true}));
    let (ipv6, with_ra) = (others[0].socket().unwrap(), others[1].socket().unwrap());
    let (neighbour, frame) = (neighbour_socket(&bench), router_advertisement());
    let end = Instant::now() + LONG * 2;
    while {
        let (addresses, routes) = advertised(&with_ra);
        addresses.is_empty() || routes == 0
    } {
        assert!(
            Instant::now() < end,
            "with acceptRA the advertisement gave no address or no route: {:?}",
            advertised(&with_ra)
        );
        neighbour.send(&frame).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    // The same frames reached all three pods.
    let before = advertised(&bench.pod);
    assert_eq!((before, advertised(&ipv6)), ((vec![], 0), (vec![], 0)));
    let link = bench.net1().unwrap();
    let of_pod = bench.pod.addresses(&link).unwrap();
    assert!(!of_pod.is_empty() && of_pod.iter().all(|address| address.net.addr().is_ipv4()), "{of_pod:?}");
}

#[test]
fn an_ipv4_address_of_another_host_is_refused_with_conflict_detection() {
    let bench = Bench::new();
    let mac = give_neighbour(&bench, "10.1.2.2/24");
    let conf = with_ipam(&bench, json!({"conflictDetection": true}));
    let error = bench.call().run(&Subject::ours(), "ADD", &conf).error();
    assert!(error.msg.contains("10.1.2.2") && error.msg.contains(&mac), "{error}");
    nothing_is_left(&bench);
    // host-local gives the next address, which is free.
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
fn an_ipv6_address_of_another_host_is_refused_and_released() {
    let bench = Bench::new();
    give_neighbour(&bench, "fd00::2/64");
    let ipam = json!({"type": "host-local", "subnet": "fd00::/64", "dataDir": bench.folder.path()});
    let conf = with_ipam(&bench, json!({"ipam": ipam}));
    let error = bench.call().run(&Subject::ours(), "ADD", &conf).error();
    assert!(error.msg.contains("fd00::2") && error.msg.contains("DADFAILED"), "{error}");
    nothing_is_left(&bench);
}
