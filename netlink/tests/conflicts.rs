//! Address conflict detection on a real wire.
#![allow(clippy::unwrap_used)]

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use netlink::{
    Dad, Error, Link, MacvlanMode, MacvlanSpec, Repeat, Socket,
    interface::{Ipv6Autoconf, Plan, configure, detect_conflicts},
    test_util::{Arp, BROADCAST, Conflict, Frames, NamedNetns, PROBE_WAIT, PROBES, Testbed, probe},
};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 3);

struct Bench {
    testbed: Testbed,
    pod: Socket,
    peer: Socket,
    wire: Link,
    net1: Link,
}

impl Bench {
    fn new() -> Self {
        let testbed = Testbed::new().unwrap();
        let (host, pod, peer) =
            (testbed.host.socket().unwrap(), testbed.pod.socket().unwrap(), testbed.peer.socket().unwrap());
        let master = host.link_by_name(Testbed::MASTER).unwrap().unwrap();
        let net1 =
            host.create_macvlan(&MacvlanSpec::new("net1", master.index, MacvlanMode::Bridge), &pod).unwrap();
        let wire = peer.link_by_name(Testbed::WIRE).unwrap().unwrap();
        Self { testbed, pod, peer, wire, net1 }
    }

    fn add_to_peer(&self, address: Ipv4Addr) {
        self.peer.add_address(&self.wire, format!("{address}/24").parse().unwrap(), Dad::Kernel).unwrap();
    }

    fn probe(&self, addresses: &[Ipv4Addr]) -> Option<Conflict> {
        probe(self.testbed.pod.netns(), &self.net1, addresses).unwrap()
    }
}

fn plan(addresses: &[&str]) -> Plan {
    Plan {
        addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
        routes: vec![],
        dad: Dad::Skip,
        ipv6_autoconf: Ipv6Autoconf::Off,
        announce: Some(Repeat::default()),
    }
}

#[test]
fn a_peer_that_has_one_of_the_addresses_is_found() {
    let bench = Bench::new();
    bench.add_to_peer(ADDRESS);
    bench.pod.set_up(&bench.net1).unwrap();
    let conflict = bench.probe(&[[10, 1, 2, 77].into(), ADDRESS]);
    assert_eq!(conflict, Some(Conflict { address: ADDRESS, holder: bench.wire.mac.unwrap() }));
}

#[test]
fn another_link_on_the_same_master_that_has_the_address_is_found() {
    let bench = Bench::new();
    let (host, other) = (bench.testbed.host.socket().unwrap(), NamedNetns::new().unwrap());
    let master = host.link_by_name(Testbed::MASTER).unwrap().unwrap();
    let socket = other.socket().unwrap();
    let sibling =
        host.create_macvlan(&MacvlanSpec::new("net1", master.index, MacvlanMode::Bridge), &socket).unwrap();
    socket.add_address(&sibling, format!("{ADDRESS}/24").parse().unwrap(), Dad::Kernel).unwrap();
    socket.set_up(&sibling).unwrap();
    bench.pod.set_up(&bench.net1).unwrap();
    assert_eq!(bench.probe(&[ADDRESS]).unwrap().holder, sibling.mac.unwrap());
}

#[test]
fn a_free_address_takes_the_same_time_while_other_frames_arrive() {
    let bench = Bench::new();
    bench.add_to_peer([10, 1, 2, 4].into());
    bench.pod.set_up(&bench.net1).unwrap();
    let sent = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let frames = Frames::on(bench.testbed.peer.netns(), &bench.wire).unwrap();
            let other = Arp::probe(bench.wire.mac.unwrap(), [10, 1, 2, 200].into());
            let end = Instant::now() + Duration::from_millis(500);
            let mut sent = 0;
            while Instant::now() < end {
                frames.send(&other.to_frame(BROADCAST)).unwrap();
                sent += 1;
                std::thread::sleep(Duration::from_micros(200));
            }
            sent
        });
        let start = Instant::now();
        assert_eq!(bench.probe(&[ADDRESS]), None);
        let took = start.elapsed();
        assert!(took >= PROBE_WAIT * PROBES && took < Duration::from_millis(450), "{took:?}");
        sender.join().unwrap()
    });
    assert!(sent > 100, "{sent}");
}

#[test]
fn each_probe_is_sent_twice() {
    let bench = Bench::new();
    bench.pod.set_up(&bench.net1).unwrap();
    let sniffer = Frames::on(bench.testbed.peer.netns(), &bench.wire).unwrap();
    assert_eq!(bench.probe(&[ADDRESS]), None);
    let frame = Arp::probe(bench.net1.mac.unwrap(), ADDRESS).to_frame(BROADCAST);
    assert_eq!(sniffer.count(&frame, 9, Duration::from_millis(200)).unwrap(), PROBES as usize);
}

#[test]
fn a_plan_with_an_address_in_use_is_refused_and_nothing_is_added() {
    let bench = Bench::new();
    bench.add_to_peer(ADDRESS);
    let plan = plan(&["10.1.2.3/24"]);
    let error = detect_conflicts(&bench.pod, &bench.net1, &plan).unwrap_err();
    let holder = bench.wire.mac.unwrap();
    assert!(matches!(&error, Error::AddressInUse { holder: found, .. } if *found == holder), "{error}");
    assert_eq!(
        error.to_string(),
        format!("address 10.1.2.3 for net1 is in use by another host, with MAC address {holder}")
    );
    // Not even a link-local IPv6 address, although the link is up.
    assert!(bench.pod.addresses(&bench.net1).unwrap().is_empty());
}

#[test]
fn a_free_plan_can_be_configured_afterwards_and_a_plan_without_ipv4_is_not_probed() {
    let bench = Bench::new();
    let free = plan(&["10.1.2.3/24", "2001:db8::5/64"]);
    detect_conflicts(&bench.pod, &bench.net1, &free).unwrap();
    configure(&bench.pod, &bench.net1, &free).unwrap();
    let found = bench.pod.addresses(&bench.net1).unwrap();
    for net in &free.addresses {
        assert!(found.iter().any(|address| address.net == *net), "{net}: {found:?}");
    }
    let start = Instant::now();
    detect_conflicts(&bench.pod, &bench.net1, &plan(&["2001:db8::6/64"])).unwrap();
    assert!(start.elapsed() < PROBE_WAIT);
}

#[test]
fn without_carrier_no_conflict_is_found() {
    let bench = Bench::new();
    bench.add_to_peer(ADDRESS);
    bench.peer.set_down(&bench.wire).unwrap();
    bench.pod.set_up(&bench.net1).unwrap();
    // The kernel passes the loss of the master's carrier on a moment later.
    let has_carrier = || bench.pod.link_by_name("net1").unwrap().unwrap().lower_up;
    let end = Instant::now() + Duration::from_secs(10);
    while has_carrier() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!has_carrier());
    assert_eq!(bench.probe(&[ADDRESS]), None);
}
