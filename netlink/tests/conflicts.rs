//! Address conflict detection on a real wire.
#![allow(clippy::unwrap_used)]

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use netlink::{
    Dad, Error, Link, MacvlanMode, MacvlanSpec, OperState, Socket,
    announce::Repeat,
    conflict::{Claim, PATIENCE, PROBES, probe},
    interface::{Plan, UninvitedIpv6, configure, refuse_conflicts},
    lab::{Frames, Lab},
};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 3);

struct Bench {
    lab: Lab,
    pod: Socket,
    peer: Socket,
    wire: Link,
    net1: Link,
}

impl Bench {
    fn new() -> Self {
        let lab = Lab::new().unwrap();
        let (host, pod, peer) =
            (lab.host.socket().unwrap(), lab.pod.socket().unwrap(), lab.peer.socket().unwrap());
        let master = host.link_by_name(Lab::MASTER).unwrap().unwrap();
        let net1 =
            host.create_macvlan(&MacvlanSpec::new("net1", master.index, MacvlanMode::Bridge), &pod).unwrap();
        let wire = peer.link_by_name(Lab::WIRE).unwrap().unwrap();
        Self { lab, pod, peer, wire, net1 }
    }

    fn give_peer(&self, address: Ipv4Addr) {
        self.peer.add_address(&self.wire, format!("{address}/24").parse().unwrap(), Dad::Kernel).unwrap();
    }

    fn probe(&self, addresses: &[Ipv4Addr]) -> Option<Claim> {
        probe(self.lab.pod.netns(), &self.net1, addresses).unwrap()
    }
}

fn plan(addresses: &[&str]) -> Plan {
    Plan {
        addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
        routes: vec![],
        dad: Dad::Skip,
        uninvited: UninvitedIpv6::Refuse,
        announce: Some(Repeat::default()),
    }
}

#[test]
fn a_peer_that_holds_one_of_the_addresses_is_named() {
    let bench = Bench::new();
    bench.give_peer(ADDRESS);
    bench.pod.set_up(&bench.net1).unwrap();
    let claim = bench.probe(&[[10, 1, 2, 77].into(), ADDRESS]);
    assert_eq!(claim, Some(Claim { address: ADDRESS, holder: bench.wire.mac.unwrap() }));
}

#[test]
fn another_link_of_the_same_master_that_holds_it_is_named() {
    let bench = Bench::new();
    let (host, other) = (bench.lab.host.socket().unwrap(), netlink::lab::NamedNetns::new().unwrap());
    let master = host.link_by_name(Lab::MASTER).unwrap().unwrap();
    let socket = other.socket().unwrap();
    let sibling =
        host.create_macvlan(&MacvlanSpec::new("net1", master.index, MacvlanMode::Bridge), &socket).unwrap();
    socket.add_address(&sibling, format!("{ADDRESS}/24").parse().unwrap(), Dad::Kernel).unwrap();
    socket.set_up(&sibling).unwrap();
    bench.pod.set_up(&bench.net1).unwrap();
    assert_eq!(bench.probe(&[ADDRESS]).unwrap().holder, sibling.mac.unwrap());
}

#[test]
fn a_free_address_is_free_within_a_bounded_time_whatever_else_is_on_the_wire() {
    let bench = Bench::new();
    bench.give_peer([10, 1, 2, 4].into());
    bench.pod.set_up(&bench.net1).unwrap();
    let flood = std::thread::scope(|scope| {
        let chatter = scope.spawn(|| {
            let frames = Frames::on(bench.lab.peer.netns(), &bench.wire).unwrap();
            let other = netlink::arp::Arp::probe(bench.wire.mac.unwrap(), [10, 1, 2, 200].into());
            let end = Instant::now() + Duration::from_millis(500);
            let mut sent = 0;
            while Instant::now() < end {
                frames.send(&other.to_frame(netlink::arp::BROADCAST)).unwrap();
                sent += 1;
                std::thread::sleep(Duration::from_micros(200));
            }
            sent
        });
        let start = Instant::now();
        assert_eq!(bench.probe(&[ADDRESS]), None);
        let took = start.elapsed();
        assert!(took >= PATIENCE * PROBES && took < Duration::from_millis(450), "{took:?}");
        chatter.join().unwrap()
    });
    assert!(flood > 100, "{flood}");
}

#[test]
fn each_probe_is_on_the_wire_as_often_as_said() {
    let bench = Bench::new();
    bench.pod.set_up(&bench.net1).unwrap();
    let sniffer = Frames::on(bench.lab.peer.netns(), &bench.wire).unwrap();
    assert_eq!(bench.probe(&[ADDRESS]), None);
    let frame = netlink::arp::Arp::probe(bench.net1.mac.unwrap(), ADDRESS).to_frame(netlink::arp::BROADCAST);
    assert_eq!(sniffer.count(&frame, 9, Duration::from_millis(200)).unwrap(), PROBES as usize);
}

#[test]
fn a_plan_with_a_held_address_is_refused_with_ipv6_off_and_no_address() {
    let bench = Bench::new();
    bench.give_peer(ADDRESS);
    let plan = plan(&["10.1.2.3/24"]);
    let error = refuse_conflicts(&bench.pod, &bench.net1, &plan).unwrap_err();
    let holder = bench.wire.mac.unwrap();
    assert!(matches!(&error, Error::AddressInUse { holder: found, .. } if *found == holder), "{error}");
    assert_eq!(
        error.to_string(),
        format!("address 10.1.2.3 for net1 is in use by another host, with MAC address {holder}")
    );
    // No IPv6 address came with setting it up.
    assert!(bench.pod.addresses(&bench.net1).unwrap().is_empty());
}

#[test]
fn a_free_plan_can_be_configured_afterwards_and_one_without_ipv4_is_not_probed() {
    let bench = Bench::new();
    let free = plan(&["10.1.2.3/24", "2001:db8::5/64"]);
    refuse_conflicts(&bench.pod, &bench.net1, &free).unwrap();
    configure(&bench.pod, &bench.net1, &free).unwrap();
    let found = bench.pod.addresses(&bench.net1).unwrap();
    for net in &free.addresses {
        assert!(found.iter().any(|address| address.net == *net), "{net}: {found:?}");
    }
    let start = Instant::now();
    refuse_conflicts(&bench.pod, &bench.net1, &plan(&["2001:db8::6/64"])).unwrap();
    assert!(start.elapsed() < PATIENCE);
}

#[test]
fn without_carrier_nobody_answers() {
    let bench = Bench::new();
    bench.give_peer(ADDRESS);
    bench.peer.set_down(&bench.wire).unwrap();
    bench.pod.set_up(&bench.net1).unwrap();
    // The carrier of the master is passed on a moment later.
    let is_up = || bench.pod.link_by_name("net1").unwrap().unwrap().oper_state == OperState::Up;
    let end = Instant::now() + Duration::from_secs(10);
    while is_up() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!is_up());
    assert_eq!(bench.probe(&[ADDRESS]), None);
}
